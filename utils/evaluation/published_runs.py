"""test.py --table: run the rows of tables.yaml, and print paper, ours and difference.

Every row ends as compared, or with the one reason why it is not. table.md and table.csv hold the
same, and how each figure was computed.
"""

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils import distributed
from utils.download.table import how_to_get
from utils.errors import UserError
from utils.evaluation.compared_files import check_alone
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.tables import (
    PublishedRow,
    RunRecord,
    format_figure,
    format_table,
    read_tables,
    repository,
)
from utils.files import write_table, write_text

COMPARED = "compared"
NO_FIGURE = "no figure in text to compare with"


@dataclass(frozen=True)
class Outcome:
    """What became of a row.

    result: COMPARED or the reason why not. mean: our figures, {} where it was not run. count: how
    many were scored.
    """

    row: PublishedRow
    result: str
    mean: dict[str, float] = dataclasses.field(default_factory=dict)
    count: int | None = None
    record: RunRecord = RunRecord()
    arithmetic: str = ""
    failed: bool = False

    def cells(self) -> list[dict[str, str]]:
        """A line per published metric: {column: text}."""
        row = self.row
        record = self.record
        settings = {
            "scored": self._scored(),
            "protocol": row.protocol,
            "parameters": f"{record.parameters:,}" if record.parameters else "-",
            "data": self._data(),
            "arithmetic": self.arithmetic or "-",
            "tiles": record.tiles or "-",
            "ensemble": record.ensemble or "-",
            "s/image": f"{record.seconds:.3g}" if record.seconds else "-",
            "result": self.result,
            "remark": row.remark,
        }
        published = row.value or dict.fromkeys(PROTOCOLS[row.protocol].metrics)
        lines = []
        for metric, paper in published.items():
            figures = {
                "metric": metric,
                "paper": format_figure(metric, paper),
                "ours": format_figure(metric, self.mean.get(metric)),
                "difference": self._difference(metric, paper),
            }
            lines.append({"data set": row.dataset, "network": row.network, **figures, **settings})
        return lines

    def _scored(self) -> str:
        """1111 of 1111; "?" for a number that is not known."""
        if self.count is None:
            return "-"
        return f"{self.count} of {self.row.images or '?'}"

    def _data(self) -> str:
        """The data set's variant, as asked for and as the pixels say."""
        asked = self.row.options.get("blur_folder", "")
        told = self.record.blur
        if told and told != asked:
            return f"{asked}, {told}"
        return f"{asked}, by its pixels too" if told else asked or "-"

    def _difference(self, metric: str, paper: float | None) -> str:
        """Ours minus the paper's where they may be compared; "!" beyond the row's tolerance."""
        ours = self.mean.get(metric)
        if ours is None or paper is None or self.result != COMPARED:
            return "-"
        text = format_figure(metric, ours - paper, "+")
        return f"{text} !" if abs(ours - paper) > self.row.tolerance[metric] else text


def score_as_asked(
    tables: Path,
    config: Any,
    folder: Path,
    restore_and_score: Callable[[Any], Any],
    score_folders: Callable[[Any], Any],
    compare_folders: Callable[[Any], None],
) -> Any:
    """What test.py of a method does: the published table, a comparison of results, scores of files
    that exist, or a restoration.

    Returns the scores, None for --table (see run_table) and --compare.
    """
    check_alone(config)
    if config.compare:
        return compare_folders(config)

    def run(config: Any) -> Any:
        if config.restored_dir or config.sharp_dir or config.blurry_dir:
            return score_folders(config)
        return restore_and_score(config)

    if not config.table:
        return run(config)
    run_table(tables, config, folder, run)
    return None


def run_table(tables: Path, config: Any, folder: Path, run: Callable[[Any], Any]) -> None:
    """Run the rows of tables.yaml whose data and weights are there, and print and write them all.

    config.table names the rows: `all`, a data set or a part of a network's name, in any case. run
    gets the configuration that repeats a row (see _as_published) and returns Scores. A row that
    fails says why and does not end the others; at the end UserError is raised for it.
    """
    chosen = chosen_rows(tables, config.table)
    folder = config.output_dir or folder
    root = repository(tables)
    outcomes = [_outcome(row, config, folder, run, root) for row in chosen]
    if distributed.is_main():
        lines = [line for outcome in outcomes for line in outcome.cells()]
        print(format_table(_on_screen(lines)))
        write_table(folder / "table.csv", lines)
        write_text(folder / "table.md", _as_markdown(lines))
        print(f"the same with all settings: {folder / 'table.md'} and table.csv")
    failed = sum(outcome.failed for outcome in outcomes)
    if failed:
        raise UserError(f"{failed} of {len(chosen)} rows failed, the results say why")


def _outcome(
    row: PublishedRow, config: Any, folder: Path, run: Callable[[Any], Any], root: Path
) -> Outcome:
    """Run a row if it can be run."""
    missing = [path for path in row.files if not path.exists()]
    if missing:
        return Outcome(row, _what_is_missing(row, missing, root))
    if not row.data_paths or not (row.weights or row.restored_dir):
        return Outcome(row, "not run: no data and weights of its own" if row.value else NO_FIGURE)
    found = []
    try:
        for data_path in row.data_paths:
            found.append(run(_as_published(config, row, data_path, folder)))
    except UserError as error:
        return Outcome(row, f"failed: {error}", failed=True)
    found = [scores for scores in found if scores]  # under torchrun the first process scores
    if not found:
        return Outcome(row, "")
    count = sum(len(scores.rows) for scores in found)
    record = _joined([scores.record for scores in found])
    means = {
        metric: float(np.mean([scores.mean[metric] for scores in found]))
        for metric in found[0].mean
    }
    reason = row.objection(count, record) if row.value else NO_FIGURE
    result = f"not compared: {reason}" if reason else COMPARED
    return Outcome(row, result, means, count, record, found[0].arithmetic)


def _joined(records: list[RunRecord]) -> RunRecord:
    """One record of the parts of a row: the first one's, with the mean of the seconds."""
    seconds = [record.seconds for record in records if record.seconds]
    return dataclasses.replace(records[0], seconds=float(np.mean(seconds)) if seconds else None)


def _what_is_missing(row: PublishedRow, missing: list[Path], root: Path) -> str:
    """What a row that can't run needs, and how to get that."""
    names = " and ".join(str(path.relative_to(root)) for path in missing)
    calls = []
    for path in missing:
        calls.append(how_to_get(path, row.download if path == row.data_path else ""))
    return "; ".join([f"not run: needs {names}", *dict.fromkeys(filter(None, calls))])


def chosen_rows(tables: Path, wanted: str) -> list[PublishedRow]:
    """The rows that --table names: of a data set, else of a network by a part of its name.

    Raises UserError where there are none.
    """
    rows = read_tables(tables)
    word = wanted.lower()
    chosen = [row for row in rows if word in ("all", row.dataset.lower())]
    chosen = chosen or [row for row in rows if word in row.network.lower()]
    if not chosen:
        names = list(dict.fromkeys(row.dataset for row in rows))
        raise UserError(
            f"tables.yaml has no data set or network {wanted!r}: choose from {'; '.join(names)}; "
            "or part of a network's name"
        )
    return chosen


def _as_published(config: Any, row: PublishedRow, data_path: Path, folder: Path) -> Any:
    """The configuration that repeats a row: in a folder of its own, in float32 unless told."""
    names = [re.sub(r"[^\w+.-]+", "_", name).strip("_") for name in row.names]
    if row.parts:
        names.append(data_path.name)
    changes = {"table": None, "output_dir": folder.joinpath(*names)}
    if row.restored_dir:
        changes |= {"restored_dir": row.restored_dir, "sharp_dir": data_path}
    else:
        changes |= {"data_path": data_path, "weights": row.weights}
    if any(field.name == "protocol" for field in dataclasses.fields(config)):
        changes["protocol"] = row.protocol
    if config.precision == "auto":
        changes["precision"] = "fp32"
    return dataclasses.replace(config, **changes, **row.options)


def _on_screen(lines: list[dict[str, str]]) -> list[list[str]]:
    """The columns that fit on a screen, "network" only where a row names one."""
    heads = ["data set", "network", "metric", "paper", "ours", "difference", "scored"]
    heads += ["protocol", "result", "remark"]
    if not any(line["network"] for line in lines):
        heads.remove("network")
    return [heads, *([line[head] for head in heads] for line in lines)]


def _as_markdown(lines: list[dict[str, str]]) -> str:
    heads = list(lines[0])
    rows = [heads, ["---"] * len(heads), *([line[head] for head in heads] for line in lines)]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)
