"""Keep a finished run as a study: its evidence in a few small files that belong in git.

Reads: a folder of results, and the params of the run.
Writes: studies/{name}/ with params.yaml, provenance.json, metrics.json, headline.json, the compressed records
(t2s.data.results), the tables in Markdown and the figures as PNG. `make evidence` makes the other formats from these.
Nothing is written unless the run is complete and its records reproduce its metrics.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from t2s import params
from t2s.data import results
from t2s.data.files import files_below, read_json, write_text
from t2s.workflow.plan import Plan

STUDIES = Path("studies")
METRICS = ("metrics.json", "headline.json")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("name", help="name of the new study")
    parser.add_argument(
        "--params", nargs="+", default=["params.yaml"], help="params files of the run; values in later files win"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of results of the run")


def main(args: argparse.Namespace) -> None:
    """Check the run, and write the study."""
    sections = params.read(*args.params)
    plan = Plan(sections, str(args.results))
    study = free(STUDIES / args.name)
    check(plan, args.results)
    with tempfile.TemporaryDirectory(dir=STUDIES, prefix=f".{args.name}.partial") as folder:
        kept = Path(folder) / args.name
        write(kept, plan, args.results, sections)
        confirm(kept, args.results)
        shutil.rmtree(study, ignore_errors=True)  # holds at most a params file
        kept.rename(study)
    size = sum(path.stat().st_size for path in files_below(study))
    print(f"kept {study}, {size / 1e6:.1f} MB; to commit it: git add {study}")


def free(study: Path) -> Path:
    """Return `study`, if a study can be kept there.

    Raises: ValueError for a name that is not allowed, or a study that is finished.
    """
    if re.fullmatch(r"[a-z0-9][a-z0-9-]*", study.name) is None or study.parent != STUDIES:
        raise ValueError(
            f"expected a name of lower-case letters, digits and hyphens, got '{study.relative_to(STUDIES)}'"
        )
    there = [path.name for path in study.iterdir() if path.name != "params.yaml"] if study.is_dir() else []
    if there:
        raise ValueError(
            f"{study}: expected no finished study, got {sorted(there)}; remove it with `git rm -r {study}`"
        )
    return study


def check(plan: Plan, folder: Path) -> None:
    """Check that every file of the run is there and that it was made with the plan's params.

    Raises: ValueError in one line if not.
    """
    made = ["provenance.json", *METRICS]
    wanted = [*plan.episodes(), *plan.learned(), *plan.losses(), *plan.benchmarks(), *plan.tables(), *plan.figures()]
    missing = [path for path in [*(f"{folder}/{name}" for name in made), *wanted] if not Path(path).is_file()]
    if missing:
        raise ValueError(
            f"{folder}: expected a finished run, but {len(missing)} files are missing, the first is {missing[0]};"
            " run `snakemake --cores all`"
        )
    ran_with = read_json(folder / "provenance.json", {"params": dict})["params"]
    if other := list(differences(plan.producing(), ran_with)):
        raise ValueError(f"{folder}: expected the params of the run, got others: {'; '.join(other[:3])}")


def differences(given: Any, ran_with: Any, key: str = "") -> Iterator[str]:
    """The keys whose values differ, with both values."""
    if isinstance(given, dict) and isinstance(ran_with, dict):
        for name in sorted({*given, *ran_with}):
            yield from differences(given.get(name), ran_with.get(name), f"{key}.{name}".lstrip("."))
    elif given != ran_with:
        yield f"{key} is {given!r}, the run had {ran_with!r}"


def write(kept: Path, plan: Plan, folder: Path, sections: dict[str, Any]) -> None:
    """Write all files of the study to `kept`. In its params, the `sections`, ablations still name their base."""
    results.write(kept, folder, plan.study)
    write_text(kept / "params.yaml", yaml.safe_dump(sections, sort_keys=False))
    shown = [path for path in [*plan.tables(), *plan.figures()] if path.endswith((".md", ".png"))]
    for path in [*shown, *(f"{folder}/{name}" for name in ("provenance.json", *METRICS))]:
        target = kept / Path(path).relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def confirm(kept: Path, folder: Path) -> None:
    """Check that the kept records reproduce the metrics of the run.

    Raises: ValueError if they do not.
    """
    with tempfile.TemporaryDirectory() as scratch:
        again = Path(shutil.copytree(kept, Path(scratch) / "study"))
        command = [sys.executable, "-m", "t2s", "metrics", "--params", str(again / "params.yaml")]
        command += ["--results", str(again)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise ValueError(done.stderr.strip().removeprefix("error: "))
        other = [name for name in METRICS if (again / name).read_bytes() != (folder / name).read_bytes()]
    if other:
        raise ValueError(
            f"{folder / other[0]}: expected the values that the records give, got others; run `snakemake --cores all`"
        )
