import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "REPRODUCIBILITY.md", *sorted(ROOT.glob("docs/*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_linked_exists(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert [link for link in links if not link.startswith("http") and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_tables_are_those_of_the_studies(page):
    shown = re.findall(r"^<!-- (studies/.*) -->\n(.*?)^<!-- end -->", page.read_text(), re.MULTILINE | re.DOTALL)
    assert [path for path, table in shown if table != (ROOT / path).read_text()] == []
    assert shown or page.parent != ROOT


def test_every_test_that_a_page_names_exists():
    named = [found for page in PAGES for found in re.findall(r"(tests/\w+\.py)(?:::(\w+))?", page.read_text())]
    assert named
    missing = [name for path, name in named if name and f"def {name}(" not in (ROOT / path).read_text()]
    assert missing == []


def test_the_versions_that_are_named_are_those_of_the_records():
    page = (ROOT / "REPRODUCIBILITY.md").read_text()
    lines = [line for path in ROOT.glob("studies/quick/episodes/**/*.jsonl") for line in path.read_text().splitlines()]
    (versions,) = {json.dumps(json.loads(line)["versions"]) for line in lines}
    named = {f"{name} {version}" for name, version in json.loads(versions).items() if name != "device"}
    assert {text for text in named if text not in page} == set()
