"""Scores of restored files: computed by a named protocol, written as scores.json and scores.csv,
printed beside the paper's.
"""

import dataclasses
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from utils.checkpoint import VERSION
from utils.errors import UserError
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.registration import (
    SMALLEST,
    compare_aligned,
    compare_with_trajectory,
    unaligned_psnr,
)
from utils.files import natural_key, write_table, write_text
from utils.image import in_8bit, is_image, read_8bit, read_image
from utils.matlab import read_matlab
from utils.progress import Progress
from utils.report import MAX_PANELS, Example, spread, write_report


@dataclass(frozen=True)
class Triple:
    """Files of one image: the restored one, its ground truth (see read_truth) and the unrestored
    input.
    """

    name: str
    restored: Path
    sharp: Path
    blurry: Path | None = None


@dataclass
class Scores:
    """One row of metrics per image and their means; `input_mean` are the means of the unrestored
    input.

    figures: {what was scored: {metric: figure}} where a figure is of all rows together and no mean
    of them; the first counts as `mean`.
    """

    protocol: str
    rows: list[dict]
    weights: Path | None = None
    data_path: Path | None = None
    remark: str = ""
    paper: dict | None = (
        None  # the row of tables.yaml that this run repeats: {value, tolerance, ...}
    )
    figures: dict[str, dict[str, float]] | None = None
    arithmetic: str = ""  # what the network computed in, see utils/device.py
    mean: dict = field(init=False)
    input_mean: dict = field(init=False)

    def __post_init__(self) -> None:
        protocol = PROTOCOLS[self.protocol]
        metrics = [name for name in (*protocol.metrics, *protocol.details) if name in self.rows[0]]
        self.mean = {name: _mean([row[name] for row in self.rows]) for name in metrics}
        if self.figures:
            self.mean = next(iter(self.figures.values()))
        inputs = [f"input_{name}" for name in metrics if f"input_{name}" in self.rows[0]]
        self.input_mean = {
            name.removeprefix("input_"): _mean([row[name] for row in self.rows]) for name in inputs
        }

    def write(self, folder: Path) -> None:
        """scores.json and scores.csv; infinite values (identical images) stand as the string
        "inf".
        """
        summary = {
            "protocol": self.protocol,
            "n": len(self.rows),
            "mean": self.mean,
            "input_mean": self.input_mean or None,
            "figures": self.figures,
            "paper": self.paper and self.paper["value"],
            "data_path": self.data_path and str(self.data_path),
            "remark": self.remark,
            "weights": self.weights and str(self.weights),
            "arithmetic": self.arithmetic or None,
            "sha256": self.weights and sha256(self.weights),
            "version": VERSION,
            "rows": self.rows,
        }
        write_text(folder / "scores.json", json.dumps(_finite(summary), indent=1) + "\n")
        write_table(folder / "scores.csv", self.rows)

    def table(self) -> str:
        """The means as text: input, restored and, where the paper's figures are known, the
        difference from them.
        """
        if self.figures:
            columns = [
                [name, *(format_figure(metric, figures.get(metric)) for metric in self.mean)]
                for name, figures in self.figures.items()
            ]
            return "\n".join([self.title, format_table(list(zip(["", *self.mean], *columns)))])
        paper = self.paper["value"] if self.paper else {}
        head = [
            "",
            *(["input"] if self.input_mean else []),
            "restored",
            *(["paper", "difference"] if paper else []),
        ]
        lines = [head]
        for name, value in self.mean.items():
            line = [
                name,
                *([format_figure(name, self.input_mean.get(name))] if self.input_mean else []),
                format_figure(name, value),
            ]
            if paper:
                known = paper.get(name)
                line += [
                    format_figure(name, known),
                    "" if known is None else format_figure(name, value - known, sign="+"),
                ]
            lines.append(line)
        return "\n".join([self.title, format_table(lines)])

    @property
    def facts(self) -> dict[str, str]:
        """What a report says beside the table."""
        return {
            "data": str(self.data_path or ""),
            "weights": str(self.weights or ""),
            "remark": self.remark,
        }

    @property
    def title(self) -> str:
        """The line over a table: protocol, how many were scored, the remark."""
        return f"protocol {self.protocol}, {len(self.rows)} {PROTOCOLS[self.protocol].unit}" + (
            f", {self.remark}" if self.remark else ""
        )


def score_files(triples: list[Triple], protocol: str, workers: int = 0, **about) -> Scores:
    """Scores of restored files, `workers` at the same time (0 = one per core); `about` fills the
    other fields of Scores.

    The remark tells how many images could not be registered. Raises UserError naming a file of
    another size.
    """
    if not triples:
        raise UserError("nothing to score: no image has ground truth")
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # one image per core is faster than one image on all
    try:
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            work = pool.map(lambda triple: score(triple, protocol), triples)
            rows = list(Progress(work, "scoring", len(triples), unit="image", leave=False))
    finally:
        cv2.setNumThreads(threads)
    remarks = [about.pop("remark", "")]
    if failed := [row["name"] for row in rows if not row.get("aligned", True)]:
        remarks.append(
            f"{len(failed)} images could not be registered and were compared as they are: "
            f"{', '.join(failed)}"
        )
    if PROTOCOLS[protocol].aligned and triples[0].blurry:
        remarks.append("the input is compared unregistered, as published")
    return Scores(protocol, rows, remark="; ".join(filter(None, remarks)), **about)


def write_scored(
    folder: Path, scores: Scores, triples: list[Triple], config: str, title: str, report: bool
) -> None:
    """All that scoring files leaves: scores.json, scores.csv, config.yaml and report.html, with
    pictures where the input is known.
    """
    scores.write(folder)
    write_text(folder / "config.yaml", config)
    if report:
        examples = (
            [_example(triple) for triple in spread(triples, MAX_PANELS)]
            if triples and triples[0].blurry
            else []
        )
        write_report(folder / "report.html", title, examples, scores.facts, scores.table())
    print(f"results: {folder}")


def _example(triple: Triple) -> Example:
    restored = read_8bit(triple.restored)
    size = restored.shape[1::-1]
    blurry, sharp = (
        cv2.resize(picture, size)
        for picture in (read_8bit(triple.blurry), in_8bit(read_truth(triple.sharp)[0]))
    )
    return Example(triple.name, blurry, restored, sharp)


def score(triple: Triple, protocol: str) -> dict:
    """One row: metrics of the restored image and of its input."""
    frames, row = read_truth(triple.sharp), {"name": triple.name}
    if PROTOCOLS[protocol].aligned:
        restored, frames = read_8bit(triple.restored), [in_8bit(frame) for frame in frames]
        if min(*restored.shape[:2], *frames[0].shape[:2]) < SMALLEST:
            raise UserError(
                f"{triple.restored} or {triple.sharp} has a side below {SMALLEST} px, which "
                f"protocol {protocol} needs"
            )
        if protocol == "realblur":
            check_size(triple.restored, restored, triple.sharp, frames[0])
            found = compare_aligned(restored, frames[0])
        else:
            found = compare_with_trajectory(restored, frames)
        row |= {
            "psnr": found.psnr,
            "ssim": found.ssim,
            "aligned": found.aligned,
            "frame": found.frame,
        }
        return row | (
            {"input_psnr": unaligned_psnr(read_8bit(triple.blurry), frames[found.frame])}
            if triple.blurry
            else {}
        )
    for prefix, path in (("", triple.restored), ("input_", triple.blurry)):
        if path is not None:
            row |= {
                prefix + name: value
                for name, value in compare(path, frames[0], triple.sharp, protocol).items()
            }
    return row


def read_truth(path: Path) -> list[np.ndarray]:
    """The sharp frames [H,W,3] 8-bit of a picture file, of a folder of pictures or of a .mat file
    (GroundTruth [H,W,3,N]).
    """
    if path.is_dir():
        return [
            read_image(file)
            for file in sorted(
                filter(is_image, path.iterdir()), key=lambda file: natural_key(file.name)
            )
        ]
    if path.suffix != ".mat":
        return [read_image(path)]
    frames = read_matlab(path, "GroundTruth")
    if frames.ndim != 4 or frames.shape[2] != 3:
        raise UserError(f"{path}: GroundTruth has shape {frames.shape}, [H,W,3,N] is expected")
    if frames.dtype != np.uint8:
        frames = np.round(frames * (255 if frames.max() <= 1 else 1)).astype(np.uint8)
    return list(np.moveaxis(frames, -1, 0))


def check_size(path: Path, image: np.ndarray, sharp_path: Path, sharp: np.ndarray) -> None:
    """Raises UserError that names both files of different sizes."""
    if image.shape != sharp.shape:
        raise UserError(
            f"{path} is {image.shape[1]}x{image.shape[0]}, but {sharp_path} "
            f"{sharp.shape[1]}x{sharp.shape[0]}"
        )


def check_given(restored_dir: Path | None, sharp_dir: Path | None) -> None:
    """Raises UserError unless both folders that scoring needs are given."""
    if not (restored_dir and sharp_dir):
        raise UserError(
            "to score files give --restored_dir (-r) and --sharp_dir (-s), and --blurry_dir (-b) "
            "for the input's figures"
        )


def check_paired(
    folder: Path,
    files: Collection[str],
    wanted: Collection[str],
    known: Collection[str],
    sharp_dir: Path,
) -> None:
    """Raises UserError that names the first of the `wanted` images missing in a folder, or of its
    files that has no ground truth.
    """
    if missing := [name for name in wanted if name not in files]:
        raise UserError(
            f"{folder} lacks {len(missing)} of the {len(wanted)} images to score, the first is "
            f"{missing[0]}"
        )
    if extra := [name for name in files if name not in known]:
        raise UserError(
            f"{folder} holds {len(extra)} images without ground truth in {sharp_dir}, the first "
            f"is {extra[0]}"
        )


def paper_row(
    tables: Path,
    weights: Path | None,
    data_path: Path | None,
    protocol: str = "",
    options: dict | None = None,
) -> dict | None:
    """The row of a tables.yaml that a run with these weights, data and options repeats, if there is
    one; of several the most special.

    protocol: it must be the row's, if given. A TensorFlow checkpoint is known by its folder.
    """
    found = []
    for row in read_tables(tables):
        if not (weights and data_path and row["value"] and row["weights"] and row["data_path"]):
            continue
        same = (
            row["weights"].name in (weights.name, weights.parent.name)
            and data_path.resolve() == row["data_path"].resolve()
        )
        wanted = row.get("options", {})
        if (
            same
            and protocol in ("", row["protocol"])
            and all((options or {}).get(name) == value for name, value in wanted.items())
        ):
            found.append(row)
    return max(found, key=lambda row: len(row.get("options", {})), default=None)


def read_tables(path: Path) -> list[dict]:
    """Rows of a method's tables.yaml with `data_path` and `weights` anchored at the repository."""
    root = path.resolve().parents[2]
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    anchors = {"data_path": root, "weights": root / "pretrain_models"}
    return [
        {**row, **{key: row[key] and base / row[key] for key, base in anchors.items()}}
        for row in rows
    ]


def run_table(tables: Path, config: Any, folder: Path, run: Callable[[Any], Scores | None]) -> None:
    """Run the rows of a tables.yaml (`all`, or those of a data set or a network, in any case) whose
    data and weights are in place.

    config.table names the rows; run gets the configuration that repeats a row. Prints paper / ours
    / difference of every row; a difference beyond the row's tolerance is marked by "!". Rows that
    fail say why; then, at the end, UserError.
    """
    rows, wanted = read_tables(tables), config.table
    word = wanted.lower()
    chosen = [
        row
        for row in rows
        if word in ("all", row["dataset"].lower()) or word in row.get("network", "").lower()
    ]
    if not chosen:
        names = list(dict.fromkeys(row["dataset"] for row in rows))
        raise UserError(
            f"tables.yaml has no data set or network {wanted!r}: choose from {'; '.join(names)}; "
            "or part of a network's name"
        )
    lines = [["data set", *(["network"] if any("network" in row for row in rows) else [])]]
    lines[0] += ["metric", "paper", "ours", "difference", "protocol", "remark"]
    root, failed = tables.resolve().parents[2], 0
    for row in chosen:
        missing = [
            str(path.relative_to(root))
            for key in ("data_path", "weights")
            if (path := row[key]) and not path.exists()
        ]
        scores, remark = (
            None,
            f"not run: needs {' and '.join(missing)}" if missing else row["remark"],
        )
        if not missing and row["value"] and row["data_path"]:
            try:
                scores = run(_as_published(config, row, folder))
            except UserError as error:
                failed, remark = failed + 1, f"failed: {error}"
        lines += _table_lines(
            row, scores.mean if scores else {}, remark
        )  # under torchrun the first process scores
    print(format_table(lines))
    if failed:
        raise UserError(f"{failed} of {len(chosen)} rows failed, the remarks say why")


def _as_published(config: Any, row: dict, folder: Path) -> Any:
    """The configuration that repeats a row of tables.yaml, with a folder of its own; in float32
    unless told otherwise.
    """
    parts = [row["dataset"], *([row["network"]] if "network" in row else [])]
    names = [re.sub(r"[^\w+.-]+", "_", part).strip("_") for part in parts]
    known = {field.name for field in dataclasses.fields(config)}
    chosen = {
        "data_path": row["data_path"],
        "weights": row["weights"],
        "output_dir": (config.output_dir or folder).joinpath(*names),
    }
    chosen |= {"protocol": row["protocol"]} if "protocol" in known else {}
    chosen |= {"precision": "fp32"} if config.precision == "auto" else {}
    return dataclasses.replace(config, **chosen, **row.get("options", {}))


def _table_lines(row: dict, ours: dict[str, float], remark: str) -> list[list[str]]:
    """A line per published metric of a row, beside our figures."""
    lines = []
    for metric, paper in (
        row["value"] or dict.fromkeys(PROTOCOLS[row["protocol"]].metrics)
    ).items():
        value = ours.get(metric)
        difference = None if value is None or paper is None else value - paper
        figures = [
            format_figure(metric, paper),
            format_figure(metric, value),
            format_figure(metric, difference, "+"),
        ]
        if difference is not None and abs(difference) > row["tolerance"][metric]:
            figures[-1] += " !"
        names = [row["dataset"], *([row["network"]] if "network" in row else [])]
        lines.append([*names, metric, *figures, row["protocol"], remark])
    return lines


def sha256(path: Path) -> str:
    """Hash of a file's content; of a folder, or of the prefix of a TensorFlow checkpoint, of its
    files one after the other.
    """
    digest = hashlib.sha256()
    several = sorted(path.glob("*") if path.is_dir() else path.parent.glob(f"{path.name}.*"))
    for part in [path] if path.is_file() else several:
        digest.update(part.read_bytes())
    return digest.hexdigest()


def format_table(rows: list[list[str]]) -> str:
    """Rows of cells, the first row being the heads, as aligned text: figures to the right, words to
    the left.
    """
    columns = []
    for head, *cells in zip(*rows):
        width = max(map(len, (head, *cells)))
        figures = any(cell[:1].isdigit() for cell in cells)
        columns.append(
            [cell.rjust(width) if figures else cell.ljust(width) for cell in (head, *cells)]
        )
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
    return (
        "-" if value is None else f"{value:{sign}.2f}" if "psnr" in name else f"{value:{sign}.4f}"
    )


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
