"""The guides and the index: nothing in them is out of the reach of the tests, and every link leads somewhere."""

import re

import pytest

from guides import GUIDES, PLACES, ROOT, Block, blocks, unsaid

FOLDERS = ("docs", "jobs", "charts")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_every_command_of_a_guide_is_run_or_says_why_not(guide):
    found = [block for block in blocks(guide) if block.language == "console"]

    for block in found:
        assert block.kind in ("run", "not run"), block.text
        assert block.where in PLACES or block.kind == "not run", block.where
        assert len(block.where) > 4
        assert block.text.startswith("$ ")
    assert sum(block.kind == "run" for block in found) >= 2


def test_there_is_a_guide_for_each_kind_of_person():
    assert ["contributor", "engineer", "platform"] == [guide.stem for guide in GUIDES]


def links(page):
    """Where the links of a page lead, but for those to the web."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    found = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text)
    return [(page.parent / link).resolve() for link in found if "://" not in link]


def test_every_page_is_reached_from_the_index():
    reached, waiting = set(), [ROOT / "docs" / "README.md"]
    while waiting:
        page = waiting.pop()
        inside = sorted(page.glob("*.md")) if page.is_dir() else links(page) if page.suffix == ".md" else []
        reached.add(page)
        waiting += [one for one in inside if one not in reached]

    assert [] == [str(page.relative_to(ROOT)) for page in PAGES if page not in reached and "docs" in page.parts]


def test_the_index_itself_names_every_page_beside_it_and_every_reference():
    """A newcomer reads the index, and not what some other page happens to link."""
    index = ROOT / "docs" / "README.md"
    pages = [page for page in PAGES if page.parent in (index.parent, index.parent / "reference")]

    assert [] == [page.name for page in pages if page not in (index, *links(index))]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_between_pages_leads_to_a_file(page):
    assert [] == [link for link in links(page) if not link.exists()]


def test_a_block_is_read_as_people_would_read_it():
    block = Block("run", "local", "console", "$ ganger list\nNAME\n$ ganger run x  # exit code 1\n")

    assert [("ganger list", 0, ["NAME"]), ("ganger run x  # exit code 1", 1, [])] == block.commands()


def test_lines_have_to_stand_in_the_output_in_their_order():
    assert unsaid(["one", "two"], "one\n..two..\n") is None
    assert "one" == unsaid(["two", "one"], "one\ntwo\n")
    assert "three" == unsaid(["one", "three"], "one\ntwo\n")


def test_the_guides_are_where_the_readme_says():
    readme = (ROOT / "README.md").read_text()

    for path in ("docs/README.md", *(f"docs/guides/{guide.name}" for guide in GUIDES)):
        assert f"]({path})" in readme
