import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_linked_exists(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert [link for link in links if not link.startswith("http") and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_tables_are_those_of_the_studies(page):
    shown = re.findall(r"^<!-- (studies/.*) -->\n(.*?)^<!-- end -->", page.read_text(), re.MULTILINE | re.DOTALL)
    assert [path for path, table in shown if table != (ROOT / path).read_text()] == []
    assert shown or page.name != "README.md"
