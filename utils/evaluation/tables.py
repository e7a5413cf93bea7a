"""Published figures: the rows of a method's tables.yaml, and the runs that repeat them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from utils.evaluation.blur_variant import UNTOLD
from utils.evaluation.protocols import PROTOCOLS

# options that change a network's result, at the values that leave it as it is
AS_PUBLISHED = {"scale": 1, "strength": 1, "only_blurry": False, "guard": False}


@dataclass(frozen=True)
class RunRecord:
    """How figures were computed, for tables; "" and None where it does not apply.

    parameters: of the network. blur: GoPro's variant by the pixels, see blur_variant.py. seconds:
    per image, with reading and writing. applied: {option: value} of AS_PUBLISHED, as they were.
    """

    parameters: int | None = None
    blur: str = ""
    tiles: str = ""
    ensemble: str = ""
    seconds: float | None = None
    applied: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedRow:
    """A row of tables.yaml: published figures and the run that repeats them.

    dataset, network: the row's name; a table of one network names none. data_path is anchored at
    the repository, weights at its pretrain_models/; None where there are none. parts: several data
    sets whose means are averaged, instead of data_path. restored_dir: restored files to score
    against the sharp ones in data_path, without a network. options: further options of test.py.
    images: how many a whole run scores; parameters: of the network; both None where unknown. value:
    {metric: published figure}, None where no text has them. tolerance: {metric: largest difference
    of a run that repeats it}. ours: {metric: figure measured here}. source: of the figures, a text
    or a picture of a table. download: the name by which download.py gets the data, where it is not
    that of data_path.
    """

    dataset: str
    protocol: str
    remark: str
    data_path: Path | None = None
    weights: Path | None = None
    network: str = ""
    parts: tuple[Path, ...] = ()
    restored_dir: Path | None = None
    images: int | None = None
    parameters: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    value: dict[str, float] | None = None
    tolerance: dict[str, float] | None = None
    ours: dict[str, float] | None = None
    source: str = "text"
    download: str = ""

    @property
    def names(self) -> list[str]:
        """The data set and, where the row has one, the network."""
        return [self.dataset, self.network] if self.network else [self.dataset]

    @property
    def files(self) -> list[Path]:
        """What a run needs: data and weights, as far as the row has them."""
        needed = (self.data_path, *self.parts, self.restored_dir, self.weights)
        return [path for path in needed if path]

    @property
    def data_paths(self) -> list[Path]:
        """The data sets of a run, one by one."""
        return [self.data_path] if self.data_path else list(self.parts)

    def objection(self, count: int, record: RunRecord) -> str:
        """Why figures of a run over `count` images can't be compared with the row; "" if they
        can.
        """
        if self.images and count != self.images:
            return f"{count} of {self.images} {PROTOCOLS[self.protocol].unit} were scored"
        if self.parameters and record.parameters not in (None, self.parameters):
            return (
                f"the weights hold a network of {record.parameters:,} parameters, the row's has "
                f"{self.parameters:,}"
            )
        wanted = self.options.get("blur_folder")
        if record.blur not in ("", UNTOLD, wanted):
            return f"the pixels say {record.blur}, the row is of {wanted}"
        changed = [
            f"--{name} {value}"
            for name, value in record.applied.items()
            if value != AS_PUBLISHED[name]
        ]
        return f"{' '.join(changed)} changes what the network does" if changed else ""

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
    root = repository(path)
    rows = []
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
        entry["parts"] = tuple(root / part for part in entry.get("parts", ()))
        for name in ("data_path", "restored_dir"):
            if entry.get(name):
                entry[name] = root / entry[name]
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


def compared_row(
    row: PublishedRow | None, count: int, record: RunRecord
) -> tuple[PublishedRow | None, str]:
    """(the row, "") where a run over `count` images can be compared with it, else (None, why)."""
    objection = row.objection(count, record) if row else ""
    if not objection:
        return row, ""
    return None, f"not compared with the paper: {objection}"


def count_parameters(network: Any) -> int:
    """Of a torch module."""
    return sum(parameter.numel() for parameter in network.parameters())


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


def repository(tables: Path) -> Path:
    """The repository of methods/METHOD/tables.yaml."""
    return tables.resolve().parents[2]
