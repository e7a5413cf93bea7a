"""Scores of restored files: computed by a named protocol, written as scores.json and scores.csv, printed beside the paper's."""

import csv
import hashlib
import io
import json
import math
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from tqdm import tqdm

from utils.checkpoint import VERSION
from utils.errors import UserError
from utils.files import write_text
from utils.image import read_image
from utils.protocol import PROTOCOLS


@dataclass(frozen=True)
class Triple:
    """Files of one image: the restored one, its ground truth and the unrestored input."""

    name: str
    restored: Path
    sharp: Path
    blurry: Path | None = None


@dataclass
class Scores:
    """One row of metrics per image and their means; `input_mean` are the means of the unrestored input."""

    protocol: str
    rows: list[dict]
    weights: Path | None = None
    data_path: Path | None = None
    remark: str = ""
    paper: dict | None = None  # the row of tables.yaml that this run repeats: {value, tolerance, ...}
    mean: dict = field(init=False)
    input_mean: dict = field(init=False)

    def __post_init__(self) -> None:
        metrics = PROTOCOLS[self.protocol].metrics
        self.mean = {name: _mean([row[name] for row in self.rows]) for name in metrics}
        inputs = [f"input_{name}" for name in metrics if f"input_{name}" in self.rows[0]]
        self.input_mean = {name.removeprefix("input_"): _mean([row[name] for row in self.rows]) for name in inputs}

    def write(self, folder: Path) -> None:
        """scores.json and scores.csv; infinite values (identical images) stand as the string "inf"."""
        summary = {
            "protocol": self.protocol,
            "n": len(self.rows),
            "mean": self.mean,
            "input_mean": self.input_mean or None,
            "paper": self.paper and self.paper["value"],
            "data_path": self.data_path and str(self.data_path),
            "remark": self.remark,
            "weights": self.weights and str(self.weights),
            "sha256": self.weights and sha256(self.weights),
            "version": VERSION,
            "rows": self.rows,
        }
        write_text(folder / "scores.json", json.dumps(_finite(summary), indent=1) + "\n")
        table = io.StringIO()
        writer = csv.DictWriter(table, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(folder / "scores.csv", table.getvalue())

    def table(self) -> str:
        """The means as text: input, restored and, where the paper's figures are known, the difference from them."""
        paper = self.paper["value"] if self.paper else {}
        head = ["", *(["input"] if self.input_mean else []), "restored", *(["paper", "difference"] if paper else [])]
        lines = [head]
        for name, value in self.mean.items():
            line = [name, *([format_figure(name, self.input_mean.get(name))] if self.input_mean else []), format_figure(name, value)]
            if paper:
                known = paper.get(name)
                line += [format_figure(name, known), "" if known is None else format_figure(name, value - known, sign="+")]
            lines.append(line)
        title = f"protocol {self.protocol}, {len(self.rows)} images" + (f", {self.remark}" if self.remark else "")
        return "\n".join([title, format_table(lines)])


def score_files(triples: list[Triple], protocol: str, **about) -> Scores:
    """Scores of restored files; `about` fills the other fields of Scores. Raises UserError naming a file of another size."""
    if not triples:
        raise UserError("nothing to score: no image has ground truth")

    def score(triple: Triple) -> dict:
        sharp, row = read_image(triple.sharp), {"name": triple.name}
        for prefix, path in (("", triple.restored), ("input_", triple.blurry)):
            if path is not None:
                row |= {prefix + name: value for name, value in compare(path, sharp, triple.sharp, protocol).items()}
        return row

    with ThreadPoolExecutor(2) as pool:  # OpenCV and the decoders release the interpreter
        rows = list(tqdm(pool.map(score, triples), "scoring", len(triples), unit="image", disable=None, leave=False))
    return Scores(protocol, rows, **about)


def check_size(path: Path, image: np.ndarray, sharp_path: Path, sharp: np.ndarray) -> None:
    """Raises UserError that names both files of different sizes."""
    if image.shape != sharp.shape:
        raise UserError(f"{path} is {image.shape[1]}x{image.shape[0]}, but {sharp_path} {sharp.shape[1]}x{sharp.shape[0]}")


def check_paired(folder: Path, files: Collection[str], wanted: Collection[str], known: Collection[str], sharp_dir: Path) -> None:
    """Raises UserError that names the first of the `wanted` images missing in a folder, or of its files that has no ground truth."""
    if missing := [name for name in wanted if name not in files]:
        raise UserError(f"{folder} lacks {len(missing)} of the {len(wanted)} images to score, the first is {missing[0]}")
    if extra := [name for name in files if name not in known]:
        raise UserError(f"{folder} holds {len(extra)} images without ground truth in {sharp_dir}, the first is {extra[0]}")


def paper_row(tables: Path, weights: Path | None, data_path: Path | None) -> dict | None:
    """The row of a tables.yaml that a run with these weights on this data repeats, if there is one."""
    for row in read_tables(tables):
        same_data = data_path is not None and data_path.resolve() == row["data_path"].resolve()
        if weights is not None and row["value"] and weights.name == row["weights"].name and same_data:
            return row
    return None


def read_tables(path: Path) -> list[dict]:
    """Rows of a method's tables.yaml with `data_path` and `weights` anchored at the repository."""
    root = path.resolve().parents[2]
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    anchors = {"data_path": root, "weights": root / "pretrain_models"}
    return [{**row, **{key: row[key] and base / row[key] for key, base in anchors.items()}} for row in rows]


def sha256(path: Path) -> str:
    """Hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def format_table(rows: list[list[str]]) -> str:
    """Rows of cells, the first row being the heads, as aligned text: figures to the right, words to the left."""
    columns = []
    for head, *cells in zip(*rows):
        width = max(map(len, (head, *cells)))
        figures = any(cell[:1].isdigit() for cell in cells)
        columns.append([cell.rjust(width) if figures else cell.ljust(width) for cell in (head, *cells)])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns))


def compare(path: Path, sharp: np.ndarray, sharp_path: Path, protocol: str) -> dict[str, float]:
    """Metrics of an image file against sharp pixels, whose file is named in errors."""
    image = read_image(path)
    check_size(path, image, sharp_path, sharp)
    try:
        return PROTOCOLS[protocol].score(image, sharp)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def format_figure(name: str, value: float | None, sign: str = "") -> str:
    """A metric as text: dB with two digits, the others with four, "-" for none."""
    return "-" if value is None else f"{value:{sign}.2f}" if "psnr" in name else f"{value:{sign}.4f}"


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
