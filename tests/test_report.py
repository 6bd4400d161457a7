"""Properties of the page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import synthetic
from params_file import params_file
from PIL import Image

from t2s.data.files import write_json
from t2s.report import report


def run(command: str, folder: Path, *options: str, sections: dict[str, Any] | None = None) -> str:
    arguments = ["--params", params_file(sections or synthetic.params()), "--results", str(folder), *options]
    whole = [sys.executable, "-m", "t2s", command, *arguments]
    return subprocess.run(whole, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with everything that the page shows."""
    folder = tmp_path_factory.mktemp("results")
    synthetic.write(folder, synthetic.params()["study"])
    run("metrics", folder)
    run("tables", folder)
    run("figures", folder, "--suite", "blocks_object")
    films = folder / "films" / "blocks_object" / "t2s" / "seed0"
    films.mkdir(parents=True)
    for task in range(2):
        Image.new("P", (8, 8)).save(films / f"task{task}.gif")
    facts = {"instruction": "pick up the <red> cube", "n_steps": 80}
    write_json(
        films / "films.json",
        {"task0": facts | {"success": True}, "task1": facts | {"success": False}},
    )
    run("report", folder, "--out", str(folder / "report.html"))
    return folder


class Sources(HTMLParser):
    """Collects where the page's pictures, scripts and styles come from."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("img", "script", "link", "iframe"):
            self.found += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_no_other_file(results: Path) -> None:
    sources = Sources()
    sources.feed((results / "report.html").read_text())
    assert len(sources.found) == 7 + 2
    assert all(source.startswith("data:image/") for source in sources.found)


def test_the_page_is_the_same_bytes_each_time(results: Path) -> None:
    before = (results / "report.html").read_bytes()
    run("report", results, "--out", str(results / "report.html"))
    assert (results / "report.html").read_bytes() == before


def test_films_say_how_they_ended(results: Path) -> None:
    page = (results / "report.html").read_text()
    assert page.count("✓ success") == page.count("✗ failure") == 1
    assert "pick up the &lt;red&gt; cube" in page


def test_the_page_says_what_was_reconstructed_and_with_which_versions(results: Path) -> None:
    page = (results / "report.html").read_text()
    assert "What was reconstructed" in page
    assert "mujoco 3.3.2" in page
    assert "n_tasks: 3" in page


def test_the_page_says_where_the_numbers_come_from(results: Path, tmp_path: Path) -> None:
    """Of a study that is older than provenance.json it says what the records say."""
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    code = {"commit": "c0ffee", "changed": ["t2s/stages/learn.py"], "sha256": "d1" * 32}
    machine = {"cpu": "Xeon", "n_cpus": 2, "gpus": ["H100"], "python": "3.11.7", "platform": "Linux"}
    packages = {"torch": "2.13.0+cpu"}
    write_json(folder / "provenance.json", {"code": code, "machine": machine, "packages": packages, "params": {}})
    run("report", folder, "--out", str(folder / "report.html"))
    page, older = ((path / "report.html").read_text() for path in (folder, results))
    assert "commit c0ffee, with changes in t2s/stages/learn.py; digest of the code that affects numbers d1d1" in page
    assert "Xeon, 2 CPUs, H100, Python 3.11.7, Linux" in page
    assert "torch: 2.13.0+cpu" in page
    assert "Code:" not in older


def test_methods_keep_the_order_of_the_study(results: Path) -> None:
    assert list(report.read_summary(results)["blocks_object"]) == ["t2s", "sequential"]


def test_the_mean_over_several_suites_comes_first(tmp_path: Path) -> None:
    sections = synthetic.params(n_tasks=1)
    sections["study"]["suites"] = ["blocks_object", "blocks_goal"]
    synthetic.write(tmp_path, sections["study"])
    for command, *options in (["metrics"], ["tables"], ["report", "--out", str(tmp_path / "report.html")]):
        run(command, tmp_path, *options, sections=sections)
    titles = re.findall(r"<h2 id=.*?>(.*?)</h2>", (tmp_path / "report.html").read_text())
    assert titles[:3] == ["mean over the suites", "blocks_object: 1 task", "blocks_goal: 1 task"]


def test_the_summary_is_printed(results: Path) -> None:
    text = run("report", results, "--summary")
    assert [line.split()[1] for line in text.splitlines()[1:3]] == ["t2s", "sequential"]
    assert "FWT" in text
    assert text.splitlines()[-1].endswith("report.html")


def test_results_that_are_not_there_yet_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no '.*tasks.csv'; run `snakemake"):
        report.read_summary(tmp_path)
