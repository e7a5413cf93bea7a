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
    heads = [
        *(["network"] if named else []),
        "data set",
        "published",
        "tolerance",
        "protocol",
        "command",
        "measured here",
        "remark",
    ]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in rows:
        value, tolerance = (
            _figures(row[key]) if row["value"] else "no text source"
            for key in ("value", "tolerance")
        )
        needs = " and ".join(
            f"`{name}`"
            for name in (row["data_path"], row["weights"] and f"pretrain_models/{row['weights']}")
            if name
        )
        ours = (
            _figures(row["ours"])
            if row.get("ours")
            else f"not run here: needs {needs}"
            if needs
            else "not run here"
        )
        command = (
            f"`python test.py {method} --table {shlex.quote(row['dataset'])}`"
            if row["data_path"]
            else "-"
        )
        cells = [
            row["dataset"],
            value,
            tolerance,
            f"`{row['protocol']}`",
            command,
            ours,
            row["remark"],
        ]
        lines.append(f"| {' | '.join([row['network'], *cells] if named else cells)} |")
    return "\n".join(lines)


def _figures(values: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "-"


if __name__ == "__main__":
    main()
