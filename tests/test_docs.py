"""Pages for people: links lead somewhere, paragraphs are short, words are the field's."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST_PARAGRAPH = 60  # words
PRIVATE_WORDS = re.compile(
    r"\b(doors?|house|second lessons?|appraises?|appraised|circumstances?)\b", re.IGNORECASE
)
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
LIST_ITEM = re.compile(r"^ *(?:[*+-]|\d+\.) ", re.MULTILINE)


def pages() -> list[Path]:
    """All Markdown files that git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / path for path in listed.stdout.split("\0") if path]


def user_pages() -> list[Path]:
    """Those outside tests/."""
    return [page for page in pages() if (ROOT / "tests") not in page.parents]


def name(page: Path) -> str:
    """A page's path in the repository."""
    return str(page.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """The names that a page's headings have in links, made as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+)$", FENCED.sub("", text), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)  # a link shows its text
        base = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
        anchor = base
        number = 0
        while anchor in found:
            number += 1
            anchor = f"{base}-{number}"
        found.add(anchor)
    return found


def broken_links(page: Path, text: str) -> list[str]:
    """The page's relative links (and pictures) that lead to no file or to no heading."""
    broken = []
    for link in LINK.findall(FENCED.sub("", text)):
        if re.match(r"\w+:", link):  # https:, mailto:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists():
            broken.append(link)
            continue
        if not anchor:
            continue
        target_text = target.read_text(encoding="utf-8") if path else text
        if anchor not in anchors(target_text):
            broken.append(link)
    return broken


def long_paragraphs(text: str, longest: int = LONGEST_PARAGRAPH) -> list[str]:
    """The paragraphs of more words than that; a list item counts as one, blocks, tables and
    headings do not count.
    """
    found = []
    for paragraph in re.split(r"\n\s*\n", FENCED.sub("\n\n", text)):
        lines = [line for line in paragraph.splitlines() if not re.match(r" *(\||#)", line)]
        for part in LIST_ITEM.split("\n".join(lines)):
            shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", part)
            if len(shown.split()) > longest:
                found.append(part)
    return found


def figures(text: str) -> set[str]:
    """Measured pairs such as `25.48 -> 27.64 dB`, whatever the breaks between lines."""
    return set(re.findall(r"[\d.]+ -> [\d.]+ dB", " ".join(text.split())))


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_lead_somewhere(page):
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_a_planted_broken_link_is_seen():
    page = ROOT / "README.md"
    text = """# One thing: `a`, b
[file](docs/commands.md) [here](#one-thing-a-b)
[there](docs/conventions.md#folder-layouts---layout-normally-auto)
![picture](docs/before_after.jpg) [outside](https://example.org/none)
[gone](docs/none.md) [lost](#two) [lost](docs/commands.md#none) ![gone](docs/none.png)
```text
[not a link](docs/none.md)
```
"""
    assert broken_links(page, text) == [
        "docs/none.md", "#two", "docs/commands.md#none", "docs/none.png",
    ]  # fmt: skip


@pytest.mark.parametrize("page", user_pages(), ids=name)
def test_paragraphs_are_short(page):
    assert long_paragraphs(page.read_text(encoding="utf-8")) == []


def test_a_planted_long_paragraph_is_seen():
    sixty = "word " * 60
    item = f"* {sixty}\n"
    block = f"```text\n{sixty}\n\n{sixty}{sixty}\n```"
    assert long_paragraphs(f"{sixty}\n\n{item}{item}\n| {sixty}{sixty} |\n{block}") == []
    assert len(long_paragraphs(f"{sixty}more\n\n{sixty}\n\n* {sixty}more\n{item}")) == 2


@pytest.mark.parametrize("page", pages(), ids=name)
def test_words_are_the_fields(page):
    assert PRIVATE_WORDS.findall(page.read_text(encoding="utf-8")) == []


def test_planted_private_words_are_seen():
    planted = (
        "The door of this House, a second lesson; appraise the circumstances. Houses, indoors."
    )
    assert len(PRIVATE_WORDS.findall(planted)) == 5


def test_figures_of_the_readme_stand_among_those_measured():
    readme = figures((ROOT / "README.md").read_text(encoding="utf-8"))
    measured = figures((ROOT / "docs" / "measured.md").read_text(encoding="utf-8"))
    assert readme and readme <= measured


def test_a_planted_figure_is_seen():
    assert figures("from 1.00 -> 2.00\ndB, 3 -> 4 frames") == {"1.00 -> 2.00 dB"}
