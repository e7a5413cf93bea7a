"""Write the tables of published figures into docs/reproducing.md and the methods' READMEs.

    python -m methods.tables

The figures come from methods/METHOD/tables.yaml alone; in a page they stand between `<!-- tables:
METHOD -->` and `<!-- end -->`.
"""

import re
import shlex

import yaml

from methods import METHODS
from utils.config import ROOT
from utils.files import write_text

_HEADS = ("data set", "published", "tolerance", "protocol", "command", "measured here", "remark")
_BLOCK = re.compile(r"(<!-- tables: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Rewrite every block of every page."""
    for page in pages():
        write_text(page, filled(page.read_text(encoding="utf-8")))


def pages() -> list:
    """The pages that hold such blocks."""
    folders = sorted({method.folder for method in METHODS.values()})
    return [
        ROOT / "docs" / "reproducing.md",
        *(ROOT / "methods" / folder / "README.md" for folder in folders),
    ]


def filled(text: str) -> str:
    """The page's text with its blocks written anew."""
    return _BLOCK.sub(lambda block: block[1] + table(block[2]) + "\n" + block[3], text)


def table(method: str) -> str:
    """A method's published figures as a Markdown table."""
    rows = yaml.safe_load((ROOT / "methods" / method / "tables.yaml").read_text(encoding="utf-8"))
    named = any("network" in row for row in rows)
    heads = list(_HEADS)
    if named:
        heads.insert(0, "network")
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in rows:
        cells = _cells(method, row)
        if named:
            cells.insert(0, row["network"])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(method: str, row: dict) -> list[str]:
    """The cells of a row, from the data set on."""
    value = tolerance = "no text source"
    if row["value"]:
        value = _figures(row["value"])
        tolerance = _figures(row["tolerance"])
    command = "-"
    if row["data_path"]:
        command = f"`python test.py {method} --table {shlex.quote(row['dataset'])}`"
    protocol = f"`{row['protocol']}`"
    return [row["dataset"], value, tolerance, protocol, command, _measured(row), row["remark"]]


def _measured(row: dict) -> str:
    """The figures measured here, or what measuring them needs."""
    if row.get("ours"):
        return _figures(row["ours"])
    needs = []
    if row["data_path"]:
        needs.append(f"`{row['data_path']}`")
    if row["weights"]:
        needs.append(f"`pretrain_models/{row['weights']}`")
    if needs:
        return f"not run here: needs {' and '.join(needs)}"
    return "not run here"


def _figures(values: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "-"


if __name__ == "__main__":
    main()
