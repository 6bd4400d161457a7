import json
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from t2s import cli, params
from t2s.data import records, results

ROOT = Path(__file__).parent.parent
NAMES = ("README", "REPRODUCIBILITY", "CONTRIBUTING", "CHANGELOG", "results/README", "studies/README", "config/README")
PAGES = [*(ROOT / f"{name}.md" for name in NAMES), *sorted(ROOT.glob("docs/*.md"))]


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_is_linked_exists(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert [link for link in links if not link.startswith("http") and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_its_tables_are_those_of_the_studies(page):
    shown = re.findall(r"^<!-- (studies/\S+) -->\n(.*?)^<!-- end -->", page.read_text(), re.MULTILINE | re.DOTALL)
    assert [path for path, table in shown if table != (ROOT / path).read_text()] == []
    assert shown or page.name not in {"README.md", "REPRODUCIBILITY.md"} or page.parent != ROOT


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_the_shares_in_its_words_stand_in_a_table_of_the_results(page):
    tables = re.findall(r"^\|.*", (ROOT / "docs/results.md").read_text(), re.MULTILINE)
    known = set(re.findall(r"\d+\.\d+", "\n".join(tables)))
    text = re.sub(r"<!-- studies.*?<!-- end -->", "", (ROOT / page).read_text(), flags=re.DOTALL)
    words = re.findall(r"(\d+\.\d+) %", text)
    assert words
    assert [share for share in words if share not in known] == []


def test_every_test_that_a_page_names_exists():
    named = [found for page in PAGES for found in re.findall(r"(tests/\w+\.py)(?:::(\w+))?", page.read_text())]
    assert named
    missing = [name for path, name in named if name and f"def {name}(" not in (ROOT / path).read_text()]
    assert missing == []


@pytest.mark.parametrize("study", sorted(path.parent.name for path in ROOT.glob("studies/*/metrics.json")))
def test_every_finished_study_is_listed_with_the_versions_of_its_records(study):
    rows = (ROOT / "REPRODUCIBILITY.md").read_text().splitlines()
    (row,) = [line for line in rows if line.startswith(f"| [{study}](studies/{study}) |")]
    (versions,) = {json.dumps(versions) for versions in records.read([evidence(study)]).versions}
    assert [f"{k} {v}" for k, v in json.loads(versions).items() if k != "device" and f"{k} {v}" not in row] == []


def test_t2s_rolled_out_anew_gives_the_records_that_were_copied():
    anew = chains("blocks-anew", ["blocks_object"], ["t2s"])
    assert len(anew) == 10 * 6 * 20 + 55 * 20
    pd.testing.assert_frame_equal(anew, chains("blocks", ["blocks_object"], ["t2s"]))


def test_studies_that_say_so_hold_the_same_chains():
    study = params.read(str(ROOT / "studies/blocks-seeds/params.yaml"))["study"]
    both = [chains(name, study["suites"], study["methods"]) for name in ("blocks-seeds", "blocks")]
    assert len(both[0]) > 10000
    pd.testing.assert_frame_equal(*both)


def evidence(study):
    return ROOT / "studies" / study / results.EPISODES


def chains(study, suites, methods):
    """The episodes of these chains with seed 0, in the same order for every study."""
    whole = records.read([evidence(study)])
    chosen = whole[whole.suite.isin(suites) & whole.method.isin(methods) & (whole.seed == 0)]
    return chosen.sort_values(records.KEY).reset_index(drop=True)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "params.yaml", ROOT / "Makefile"], ids=name_of)
def test_commands_are_those_of_t2s(page):
    text = page.read_text()
    assert "python -m t2s" not in text
    known = {name for names in cli.COMMANDS.values() for name in names}
    called = re.findall(r"(?:^ {4}|`|\t@)t2s ([a-z]+)", text, re.MULTILINE)
    assert sorted(set(called) - known) == []


def test_the_studies_are_few_small_files():
    listed = subprocess.run(["git", "ls-files", "-z", "studies"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git here")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert len(paths) < 250
    assert sum(path.stat().st_size for path in paths) < 15e6
