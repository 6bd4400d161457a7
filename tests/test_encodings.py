"""Text is UTF-8, whatever the locale says."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import synthetic
from params_file import params_file
from PIL import Image
from test_workflow import copy_repository

from t2s.data.files import write_json

ROOT = Path(__file__).parents[1]
LOCALES = {"ja_JP.EUC-JP": "EUC-JP", "zh_CN.GBK": "GBK", "de_DE.ISO-8859-1": "ISO-8859-1", "C": ""}


@pytest.fixture(scope="session")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with locales, made here."""
    folder = tmp_path_factory.mktemp("locales")
    if (tool := shutil.which("localedef")) is None:
        pytest.skip("no localedef")
    for name, encoding in LOCALES.items():
        if encoding:
            language = name.partition(".")[0]
            done = subprocess.run([tool, "-i", language, "-f", encoding, str(folder / name)], check=False)
            if done.returncode:
                pytest.skip("no sources of locales")
    return folder


@pytest.fixture(params=LOCALES)
def locale(request: pytest.FixtureRequest, locales: Path) -> Mapping[str, str]:
    """The environment of a user with another locale. In that of C, Python does not turn to UTF-8 by itself."""
    others = {name: value for name, value in os.environ.items() if name not in ("LANG", "LC_CTYPE")}
    return others | {
        "LOCPATH": str(locales),
        "LC_ALL": request.param,
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    }


def run(folder: Path, environment: Mapping[str, str], *command: str) -> bytes:
    """What a module of this Python prints; it must end well."""
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def report(folder: Path, environment: Mapping[str, str], *commands: str) -> dict[Path, bytes]:
    """Run these commands of t2s on the results in `folder`, and return all files in it."""
    given = ["--params", params_file(synthetic.params()), "--results", str(folder)]
    for command in commands:
        out = ["--out", str(folder / "report.html")] if command == "report" else []
        run(ROOT, environment, "-m", "t2s", command, *given, *out)
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with everything that the page shows."""
    folder = tmp_path_factory.mktemp("results")
    synthetic.write(folder, synthetic.params()["study"])
    film = {"instruction": "push", "n_steps": 80, "success": False}
    write_json(folder / "films/blocks_object/t2s/seed0/films.json", {"task0": film})
    Image.new("P", (8, 8)).save(folder / "films/blocks_object/t2s/seed0/task0.gif")
    report(folder, os.environ, "metrics", "tables")
    run(ROOT, os.environ, "-m", "t2s", "figures", "--suite", "blocks_object", "--params",
        params_file(synthetic.params()), "--results", str(folder))  # fmt: skip
    report(folder, os.environ, "report")
    return folder


@pytest.mark.slow
def test_the_page_and_the_tables_are_the_same_bytes(locale: Mapping[str, str], finished: Path, tmp_path: Path) -> None:
    expected = report(finished, os.environ)
    assert "✗".encode() in expected[Path("report.html")]
    copy = shutil.copytree(finished, tmp_path / "copy")
    for name in ("report.html", "tables/headline.md"):
        (copy / name).unlink()
    assert report(copy, locale, "tables", "report") == expected


def test_the_workflow_is_planned(locale: Mapping[str, str], tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    assert b"Job stats:" in run(folder, locale, "-m", "snakemake", "--dry-run", "--cores", "1")


def test_a_character_that_the_terminal_lacks_is_replaced(locale: Mapping[str, str], tmp_path: Path) -> None:
    show = "import sys; from t2s import cli; cli.main(['--version']); print('\\u2717 \\udcff'); print('end')"
    assert run(tmp_path, locale, "-c", show).endswith(b"end\n")


def without_encoding(path: Path) -> Iterator[str]:
    """The calls in a file that read or write text in the encoding of the locale."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or any(word.arg == "encoding" for word in node.keywords):
            continue
        call, name = ast.unparse(node), ast.unparse(node.func)
        reads = name.endswith(".read_text") and not node.args
        writes = name.endswith(".write_text") and len(node.args) == 1
        opens = re.search(r"(^|\.)open$", name) and name != "os.open" and not re.search("'[rwa]b'", call)
        if reads or writes or opens:
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {call}"


def test_every_text_is_read_and_written_with_an_encoding() -> None:
    """Ruff's PLW1514 finds only those of which it knows the type."""
    assert [call for path in sorted((ROOT / "t2s").rglob("*.py")) for call in without_encoding(path)] == []
