"""Published figures: the rows of a method's tables.yaml, and the runs that repeat them."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from utils.errors import UserError
from utils.evaluation.protocols import PROTOCOLS


@dataclass(frozen=True)
class PublishedRow:
    """A row of tables.yaml: published figures and the run that repeats them.

    dataset, network: the row's name; a table of one network names none. data_path is anchored at
    the repository, weights at its pretrain_models/; None where there are none. options: further
    options of test.py. value: {metric: published figure}, None where no text has them. tolerance:
    {metric: largest difference of a run that repeats it}. ours: {metric: figure measured here}.
    """

    dataset: str
    protocol: str
    remark: str
    data_path: Path | None = None
    weights: Path | None = None
    network: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    value: dict[str, float] | None = None
    tolerance: dict[str, float] | None = None
    ours: dict[str, float] | None = None

    @property
    def names(self) -> list[str]:
        """The data set and, where the row has one, the network."""
        return [self.dataset, self.network] if self.network else [self.dataset]

    @property
    def files(self) -> list[Path]:
        """What a run needs: data and weights, as far as the row has them."""
        return [path for path in (self.data_path, self.weights) if path]

    def is_repeated_by(
        self, weights: Path, data_path: Path, protocol: str, options: dict[str, Any]
    ) -> bool:
        """Whether a run repeats this row; protocol "" is any."""
        if not (self.value and self.weights and self.data_path):
            return False
        # a TensorFlow checkpoint is known by its folder
        if self.weights.name not in (weights.name, weights.parent.name):
            return False
        if data_path.resolve() != self.data_path.resolve():
            return False
        if protocol not in ("", self.protocol):
            return False
        return all(options.get(name) == value for name, value in self.options.items())


def read_tables(path: Path) -> list[PublishedRow]:
    """The rows of METHOD/tables.yaml."""
    root = _root(path)
    rows = []
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
        if entry["data_path"]:
            entry["data_path"] = root / entry["data_path"]
        if entry["weights"]:
            entry["weights"] = root / "pretrain_models" / entry["weights"]
        rows.append(PublishedRow(**entry))
    return rows


def paper_row(
    tables: Path,
    weights: Path | None,
    data_path: Path | None,
    protocol: str = "",
    options: dict[str, Any] | None = None,
) -> PublishedRow | None:
    """The row of tables.yaml that a run repeats; of several the one with the most options.

    protocol: it must be the row's, if given.
    """
    if weights is None or data_path is None:
        return None
    found = [
        row
        for row in read_tables(tables)
        if row.is_repeated_by(weights, data_path, protocol, options or {})
    ]
    return max(found, key=lambda row: len(row.options), default=None)


def score_as_asked(
    tables: Path,
    config: Any,
    folder: Path,
    restore_and_score: Callable[[Any], Any],
    score_folders: Callable[[Any], Any],
) -> Any:
    """What test.py of a method does: the published table, files that exist, or a restoration.

    Returns the scores, None for --table (see run_table).
    """
    if config.table:
        run_table(tables, config, folder, restore_and_score)
        return None
    if config.restored_dir or config.sharp_dir or config.blurry_dir:
        return score_folders(config)
    return restore_and_score(config)


def run_table(tables: Path, config: Any, folder: Path, run: Callable[[Any], Any]) -> None:
    """Run the rows of tables.yaml whose data and weights are there; print paper, ours, difference.

    config.table names the rows: `all`, a data set or a part of a network's name, in any case. run
    gets the configuration that repeats a row (see _as_published). A difference beyond the row's
    tolerance is marked by "!". A row that fails says why and does not end the others; at the end
    UserError is raised for it.
    """
    rows = read_tables(tables)
    chosen = _chosen(rows, config.table)
    root = _root(tables)
    heads = ["data set", "metric", "paper", "ours", "difference", "protocol", "remark"]
    if any(row.network for row in rows):
        heads.insert(1, "network")
    lines = [heads]
    failed = 0
    for row in chosen:
        ours: dict[str, float] = {}
        remark = row.remark
        missing = [str(path.relative_to(root)) for path in row.files if not path.exists()]
        if missing:
            remark = f"not run: needs {' and '.join(missing)}"
        elif row.value and row.data_path:
            try:
                scores = run(_as_published(config, row, folder))
                ours = scores.mean if scores else {}  # under torchrun the first process scores
            except UserError as error:
                failed += 1
                remark = f"failed: {error}"
        lines += _table_lines(row, ours, remark)
    print(format_table(lines))
    if failed:
        raise UserError(f"{failed} of {len(chosen)} rows failed, the remarks say why")


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the first row being the heads, as aligned text: figures right, words left."""
    columns = []
    for head, *cells in zip(*rows):
        column = [head, *cells]
        width = max(map(len, column))
        if any(cell[:1].isdigit() for cell in cells):
            columns.append([cell.rjust(width) for cell in column])
        else:
            columns.append([cell.ljust(width) for cell in column])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns))


def format_figure(metric: str, value: float | None, sign: str = "") -> str:
    """A metric's figure as text: dB with two digits, the others with four, "-" for none."""
    if value is None:
        return "-"
    digits = 2 if "psnr" in metric else 4
    return f"{value:{sign}.{digits}f}"


def _root(tables: Path) -> Path:
    """The repository of methods/METHOD/tables.yaml."""
    return tables.resolve().parents[2]


def _chosen(rows: list[PublishedRow], wanted: str) -> list[PublishedRow]:
    """The rows that --table names. Raises UserError where there are none."""
    word = wanted.lower()
    chosen = [
        row for row in rows if word in ("all", row.dataset.lower()) or word in row.network.lower()
    ]
    if not chosen:
        names = list(dict.fromkeys(row.dataset for row in rows))
        raise UserError(
            f"tables.yaml has no data set or network {wanted!r}: choose from {'; '.join(names)}; "
            "or part of a network's name"
        )
    return chosen


def _as_published(config: Any, row: PublishedRow, folder: Path) -> Any:
    """The configuration that repeats a row: in a folder of its own, in float32 unless told."""
    names = [re.sub(r"[^\w+.-]+", "_", name).strip("_") for name in row.names]
    changes = {
        "data_path": row.data_path,
        "weights": row.weights,
        "output_dir": (config.output_dir or folder).joinpath(*names),
    }
    if any(field.name == "protocol" for field in dataclasses.fields(config)):
        changes["protocol"] = row.protocol
    if config.precision == "auto":
        changes["precision"] = "fp32"
    return dataclasses.replace(config, **changes, **row.options)


def _table_lines(row: PublishedRow, ours: dict[str, float], remark: str) -> list[list[str]]:
    """A line per published metric of a row, beside our figures."""
    published = row.value or dict.fromkeys(PROTOCOLS[row.protocol].metrics)
    lines = []
    for metric, paper in published.items():
        value = ours.get(metric)
        figures = [format_figure(metric, paper), format_figure(metric, value)]
        if value is None or paper is None:
            figures.append("-")
        else:
            figures.append(format_figure(metric, value - paper, "+"))
            if abs(value - paper) > row.tolerance[metric]:
                figures[-1] += " !"
        lines.append([*row.names, metric, *figures, row.protocol, remark])
    return lines
