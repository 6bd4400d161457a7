"""The command `t2s`: what it lists, what it says of mistakes, and that the package can be installed."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from t2s import cli

ROOT = Path(__file__).parents[1]
FILES = {path.stem: path.parent.name for folder in cli.COMMANDS for path in (ROOT / "t2s" / folder).glob("[!_]*.py")}
MODULES = {name: importlib.import_module(f"t2s.{folder}.{name}") for name, folder in FILES.items()}


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int | str | None, str]:
    """Exit status, and what is printed on stderr."""
    try:
        status: int | str | None = cli.main(argv)
    except SystemExit as end:
        status = end.code
    return status, capsys.readouterr().err


def test_every_file_of_a_command_is_a_command() -> None:
    assert {name: folder for folder, names in cli.COMMANDS.items() for name in names} == FILES


@pytest.mark.parametrize("name", FILES)
def test_every_command_describes_itself_and_all_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.run([name, "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: t2s {name} ")
    parser = argparse.ArgumentParser()
    MODULES[name].arguments(parser)
    assert [action.dest for action in parser._actions if not action.help] == []


PRINTED = sorted(
    {
        command
        for folder, suffix in [("t2s", "*.py"), ("workflow", "*.smk")]
        for path in (ROOT / folder).rglob(suffix)
        for command in re.findall(r"run `([^`]+)`", path.read_text(encoding="utf-8"))
    }
)


@pytest.mark.parametrize("command", PRINTED)
def test_a_command_that_a_message_says_to_run_can_run_as_it_is(command: str) -> None:
    program, *words = command.split()
    if program == "snakemake":
        assert "--cores" in words
    elif program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif program == "t2s":
        parser = cli.Parser()
        MODULES[words[0]].arguments(parser)
        parser.parse_args(words[1:])


def test_messages_say_what_to_run() -> None:
    assert {"snakemake", "t2s"} <= {command.split()[0] for command in PRINTED}


def test_the_help_lists_every_command_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == cli.run([]) == 0
    lines = capsys.readouterr().out.splitlines()
    for folder, title in cli.TITLES.items():
        group = lines[lines.index(title) + 1 :][: len(cli.COMMANDS[folder])]
        assert [line.split()[0] for line in group] == list(cli.COMMANDS[folder])


def test_the_help_imports_nothing_that_is_slow() -> None:
    show = "from t2s import cli; cli.main(['--help']); import sys; print(*sorted(sys.modules))"
    command = [sys.executable, "-c", show]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert time.perf_counter() - start < 2  # 0.05 s on an idle machine
    assert not {"numpy", "torch", "pandas", "pydantic", "yaml"} & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["lern"], "error: unknown command 'lern'; did you mean 'learn'?; see `t2s --help`\n"),
        (["docktor"], "error: unknown command 'docktor'; did you mean 'doctor'?; see `t2s --help`\n"),
        (["learn", "--sute", "x"], "error: unknown option '--sute'; did you mean '--suite'?; see `t2s learn --help`\n"),
        (["learn", "--par=x"], "error: unknown option '--par'; did you mean '--params'?; see `t2s learn --help`\n"),
        (["--hlep"], "error: unknown option '--hlep'; did you mean '--help'?; see `t2s --help`\n"),
        (["demos", "--task", "x"], "error: argument --task: invalid int value: 'x'; see `t2s demos --help`\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_with_the_nearest_match(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, *argv) == (2, line)


def test_an_unknown_command_without_a_match_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    status, line = said(capsys, "xyz")
    assert status == 2
    assert line.startswith("error: unknown command 'xyz'; have label, download, demos, ")
    assert line.count("\n") == 1


def test_an_expected_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    status, line = said(capsys, "language", "--suite", "blocks_objekt", "--out", "x")
    assert status == 1
    assert line.startswith("error: unknown suite 'blocks_objekt'; have ['blocks_goal'")
    status, line = said(capsys, "estimate", "--params", "nope.yaml")
    assert (status, line.count("\n")) == (1, 1)


def test_a_wheel_holds_all_files_of_the_package_and_its_command_works(tmp_path: Path) -> None:
    """Built without a network, by the setuptools that is installed; installed without the dependencies."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "t2s", tmp_path / "t2s", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(tmp_path)]
    subprocess.run(build, check=True)
    venv.create(tmp_path / "venv", with_pip=False)
    (wheel,) = tmp_path.glob("t2s-*.whl")
    target = tmp_path / "venv" / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", str(target), str(wheel)], check=True)
    kept = {path.relative_to(tmp_path) for path in (tmp_path / "t2s").rglob("*") if path.is_file()}
    assert sorted(kept - {path.relative_to(target) for path in target.rglob("*")}) == []
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(tmp_path / "venv/bin/python"), "-m", "t2s", "--help"]
    done = subprocess.run(command, cwd=tmp_path / "venv", env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: t2s COMMAND")
