"""Write what a program knows into the pages: tables of published figures, and training recipes.

    python -m methods.tables

The figures come from methods/METHOD/tables.yaml alone; in a page they stand between `<!-- tables:
METHOD -->` and `<!-- end -->`. What train.py prints with --explain stands between `<!-- recipe:
METHOD --model NAME -->` and `<!-- end -->`.
"""

import re
import shlex

from methods import METHODS
from methods.explain import documented
from utils.config import ROOT
from utils.download.table import find_path
from utils.evaluation.tables import PublishedRow, read_tables
from utils.files import write_text

_HEADS = (
    "data set",
    "published",
    "tolerance",
    "protocol",
    "scored",
    "command",
    "measured here",
    "remark",
)
_BLOCK = re.compile(r"(<!-- tables: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_RECIPE = re.compile(r"(<!-- recipe: ([^\n]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Rewrite every block of every page."""
    for page in pages():
        write_text(page, filled(page.read_text(encoding="utf-8")))


def pages() -> list:
    """The pages that hold such blocks."""
    folders = sorted({method.folder for method in METHODS.values()})
    return [
        ROOT / "docs" / "recipes.md",
        ROOT / "docs" / "reproducing.md",
        *(ROOT / "methods" / folder / "README.md" for folder in folders),
    ]


def filled(text: str) -> str:
    """The page's text with its blocks written anew."""
    text = _BLOCK.sub(lambda block: block[1] + table(block[2]) + "\n" + block[3], text)
    return _RECIPE.sub(
        lambda block: f"{block[1]}```text\n{documented(block[2])}\n```\n{block[3]}", text
    )


def table(method: str) -> str:
    """A method's published figures as a Markdown table."""
    rows = read_tables(ROOT / "methods" / method / "tables.yaml")
    heads = list(_HEADS)
    named = any(row.network for row in rows)
    if named:
        heads.insert(0, "network")
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in rows:
        cells = _cells(method, row)
        if named:
            cells.insert(0, row.network)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(method: str, row: PublishedRow) -> list[str]:
    """A row's cells but for the network's name."""
    value = tolerance = "no text source"
    if row.value:
        value = _figures(row.value)
        tolerance = _figures(row.tolerance)
    command = "-"
    if row.data_paths:
        command = f"`python test.py {method} --table {shlex.quote(row.dataset)}`"
    measured = "not run here"
    if row.ours:
        measured = _figures(row.ours)
    elif row.weights and (entry := find_path(row.weights)) and entry.never_published:
        measured += ": its weights were never published as far as known"
    elif row.files:
        needs = " and ".join(f"`{path.relative_to(ROOT)}`" for path in row.files)
        measured += f": needs {needs}"
    scored = f"{row.images:,}" if row.images else "-"
    protocol = f"`{row.protocol}`"
    return [row.dataset, value, tolerance, protocol, scored, command, measured, row.remark]


def _figures(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "-"


if __name__ == "__main__":
    main()
