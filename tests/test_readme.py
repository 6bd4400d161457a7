import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_every_file_that_is_linked_exists():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_numbers_are_those_of_the_study():
    shown = README.split("<!-- headline -->\n")[1].split("<!-- end -->")[0]
    assert shown == (ROOT / "studies/quick/tables/headline.md").read_text()
