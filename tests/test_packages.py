"""Packages are what Python imports: another one on the path, and edited files, do not pass for the pinned version."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2s import packages
from t2s.data import origin

ROOT = Path(__file__).parents[1]
DEMOS = ["t2s", "demos", "--suite", "blocks_object", "--task", "0", "--params", "params.yaml"]


def run(module: str, *arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    given = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    return subprocess.run(
        command, cwd=cwd, env=given, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def fake(folder: Path, name: str) -> Path:
    """A package of this name that says it is another version."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text('__version__ = "1.5.2"\n', encoding="utf-8")
    return folder


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of bddl, with its metadata, from which Python imports it."""
    place = packages.folder("bddl")
    for folder in (place, *place.parent.glob("bddl-*.dist-info")):
        shutil.copytree(folder, tmp_path / folder.name)
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(tmp_path)])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bddl", raising=False)
    packages.version.cache_clear()
    yield tmp_path / "bddl"
    packages.version.cache_clear()


@pytest.mark.parametrize("name", packages.DISTRIBUTIONS)
def test_the_installed_packages_are_those_that_are_pinned(name: str) -> None:
    pins = {name.replace("_", "-"): pinned for name, pinned in origin.pins(ROOT / "constraints.txt").items()}
    assert packages.version(name).partition("+")[0] == pins[packages.DISTRIBUTIONS[name]]


def test_files_as_they_were_installed_have_the_version_of_the_metadata(copied: Path) -> None:
    os.utime(copied / "__init__.py", (0, 0))
    (copied / "own.py").touch()  # nothing of the package imports it
    assert packages.version("bddl") == "1.0.1"


@pytest.mark.parametrize("edit", ["changed", "missing"])
def test_an_edited_file_is_part_of_the_version(copied: Path, edit: str) -> None:
    path = copied / "parsing.py"
    path.unlink()
    if edit == "changed":
        path.write_text("#", encoding="utf-8")
    version = packages.version("bddl")
    assert re.fullmatch(r"1\.0\.1\+edited\.[0-9a-f]{8}", version)
    assert packages.installed("bddl") == version
    path.write_text("another edit", encoding="utf-8")
    packages.version.cache_clear()
    assert packages.version("bddl") not in {version, "1.0.1"}


def test_a_package_without_metadata_beside_it_is_an_error(copied: Path) -> None:
    shutil.rmtree(next(copied.parent.glob("bddl-*.dist-info")))
    with pytest.raises(ValueError, match=r"package 'bddl': no metadata in .*; run `.* pip install --force-reinstall"):
        packages.version("bddl")


def test_a_package_that_is_linked_into_site_packages_is_the_installed_one(copied: Path) -> None:
    copied.rename(copied.parent / "store")
    copied.symlink_to(copied.parent / "store")
    assert packages.version("bddl") == "1.0.1"


def test_an_editable_install_of_another_copy_is_an_error(
    tmp_path: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(fake(tmp_path / "clone", "bddl"))
    with pytest.raises(ValueError, match=r"package 'bddl': expected in .*, got .*clone/bddl; run `.* pip install "):
        packages.check()


def test_a_package_that_is_missing_is_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(packages.DISTRIBUTIONS, "no_such_package", "no-such-package")
    with pytest.raises(ValueError, match=r"no package 'no_such_package'; run `rm -f \.venv/\.stamp; make setup`"):
        packages.check()
    assert packages.installed("no-such-package-either") is None


@pytest.mark.parametrize("name", ["libero", "robosuite", "torch"])
def test_another_package_on_pythonpath_is_one_line_before_a_command_starts(tmp_path: Path, name: str) -> None:
    done = run(*DEMOS, PYTHONPATH=f"{tmp_path}/none:{fake(tmp_path, name)}")
    assert done.returncode == 1
    expected = (
        rf"error: package '{name}': expected in \S+site-packages, got {tmp_path}/{name}; run `unset PYTHONPATH`\n"
    )
    assert re.fullmatch(expected, done.stderr)


def test_a_module_of_the_name_of_a_package_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "mujoco.py").touch()
    assert f"got {tmp_path}/mujoco.py; run `unset PYTHONPATH`" in run(*DEMOS, PYTHONPATH=str(tmp_path)).stderr


def test_another_package_in_the_present_folder_is_one_line_and_the_remedy_mends_it(tmp_path: Path) -> None:
    fake(tmp_path, "libero")
    done = run(*DEMOS, cwd=tmp_path)
    assert done.stderr.endswith(f"got {tmp_path}/libero; run `export PYTHONSAFEPATH=1`\n")
    assert "no params file" in run(*DEMOS, cwd=tmp_path, PYTHONSAFEPATH="1").stderr


def test_another_package_on_pythonpath_is_one_line_before_any_job(tmp_path: Path) -> None:
    done = run("snakemake", "--dry-run", "--cores", "1", PYTHONPATH=str(fake(tmp_path, "libero")))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: package 'libero': expected in ")
    assert "Traceback" not in done.stderr


def test_the_doctor_names_another_package_on_pythonpath(tmp_path: Path) -> None:
    done = run("t2s", "doctor", "--only", "packages", PYTHONPATH=str(fake(tmp_path, "robosuite")))
    (line,) = done.stdout.splitlines()
    assert line.startswith("wrong  package 'robosuite': expected in ")
    assert line.endswith("to fix it: run `unset PYTHONPATH`")


def test_every_rule_that_simulates_runs_again_if_the_simulator_changes() -> None:
    rules = [part for path in sorted((ROOT / "workflow/rules").glob("*.smk")) for part in rules_of(path)]
    simulating = [rule for rule in rules if re.search(r"t2s (demos|evaluate|film) ", rule)]
    assert len(simulating) == 4
    assert all("simulator=SIMULATOR," in rule for rule in simulating)


def rules_of(path: Path) -> list[str]:
    return re.split(r"^ *(?:use )?rule ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
