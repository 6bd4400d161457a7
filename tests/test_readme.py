import json
import re
from pathlib import Path

import pytest

from t2s import params

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "REPRODUCIBILITY.md", *sorted(ROOT.glob("docs/*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_linked_exists(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert [link for link in links if not link.startswith("http") and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_tables_are_those_of_the_studies(page):
    shown = re.findall(r"^<!-- (studies/\S+) -->\n(.*?)^<!-- end -->", page.read_text(), re.MULTILINE | re.DOTALL)
    assert [path for path, table in shown if table != (ROOT / path).read_text()] == []
    assert shown or page.parent != ROOT


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_the_shares_in_its_words_stand_in_a_table_of_the_results(page):
    tables = re.findall(r"^\|.*", (ROOT / "docs/results.md").read_text(), re.MULTILINE)
    known = set(re.findall(r"\d+\.\d+", "\n".join(tables)))
    words = re.findall(r"(\d+\.\d+) %", (ROOT / page).read_text())
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
    paths = ROOT.glob(f"studies/{study}/episodes/**/*.jsonl")
    (versions,) = {json.dumps(json.loads(line)["versions"]) for path in paths for line in path.read_text().splitlines()}
    assert [f"{k} {v}" for k, v in json.loads(versions).items() if k != "device" and f"{k} {v}" not in row] == []


def test_t2s_rolled_out_anew_gives_the_records_that_were_copied():
    assert len(episodes("blocks-anew", "blocks_object/t2s/seed0")) == 10 + 55
    assert episodes("blocks-anew", "blocks_object/t2s/seed0") == episodes("blocks", "blocks_object/t2s/seed0")


@pytest.mark.parametrize("suite", ["blocks_object", "blocks_goal", "blocks_spatial"])
def test_studies_that_say_so_hold_the_same_chain(suite):
    for method in params.read(str(ROOT / "studies/blocks-seeds/params.yaml"))["study"]["methods"]:
        chain = f"{suite}/{method}/seed0"
        assert len(episodes("blocks-seeds", chain)) == 10 + 55
        assert episodes("blocks-seeds", chain) == episodes("blocks", chain)


def episodes(study, chain):
    folder = ROOT / f"studies/{study}/episodes/{chain}"
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.jsonl")}
