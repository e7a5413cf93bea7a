"""Scores of restored files by a named protocol, as scores.json, scores.csv and text."""

import json
import math
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from utils.checkpoint import VERSION
from utils.errors import UserError
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.registration import (
    SMALLEST,
    compare_aligned,
    compare_with_trajectory,
    enlarged,
    unaligned_psnr,
)
from utils.evaluation.tables import PublishedRow, RunRecord, format_figure, format_table
from utils.files import natural_key, sha256, write_table, write_text
from utils.image import in_8bit, is_image, read_8bit, read_image
from utils.matlab import read_matlab
from utils.progress import Progress
from utils.report import MAX_PANELS, Example, spread, write_report


@dataclass(frozen=True)
class Triple:
    """Files of one image: restored, ground truth (see read_truth) and, where known, the input."""

    name: str
    restored: Path
    sharp: Path
    blurry: Path | None = None


@dataclass
class Scores:
    """One row of metrics per image and their means.

    paper: the published row that this run repeats. figures: {what was scored: {metric: figure}}
    where a figure is of all rows together and no mean of them; the first counts as `mean`.
    arithmetic: what the network computed in, see utils/device.py. record: how else. input_mean: the
    means of the unrestored input.
    """

    protocol: str
    rows: list[dict]
    weights: Path | None = None
    data_path: Path | None = None
    remark: str = ""
    paper: PublishedRow | None = None
    figures: dict[str, dict[str, float]] | None = None
    arithmetic: str = ""
    record: RunRecord = field(default_factory=RunRecord)
    mean: dict[str, float] = field(init=False)
    input_mean: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        protocol = PROTOCOLS[self.protocol]
        first = self.rows[0]
        metrics = [name for name in (*protocol.metrics, *protocol.details) if name in first]
        of_input = [name for name in metrics if f"input_{name}" in first]
        self.mean = {name: self._mean(name) for name in metrics}
        self.input_mean = {name: self._mean(f"input_{name}") for name in of_input}
        if self.figures:
            self.mean = next(iter(self.figures.values()))

    def write(self, folder: Path) -> None:
        """Write scores.json and scores.csv; infinite values (identical images) become "inf"."""
        summary = {
            "protocol": self.protocol,
            "n": len(self.rows),
            "mean": self.mean,
            "input_mean": self.input_mean or None,
            "figures": self.figures,
            "paper": self.paper and self.paper.value,
            "data_path": self.data_path and str(self.data_path),
            "remark": self.remark,
            "weights": self.weights and str(self.weights),
            "arithmetic": self.arithmetic or None,
            "run": asdict(self.record),
            "videos": self.videos() or None,
            "sha256": self.weights and sha256(self.weights),
            "version": VERSION,
            "rows": self.rows,
        }
        write_text(folder / "scores.json", json.dumps(as_json(summary), indent=1) + "\n")
        write_table(folder / "scores.csv", self.rows)

    def gains(self) -> dict[str, float]:
        """{image: dB of PSNR gained over the input}, of images whose input was scored."""
        known = [row for row in self.rows if "psnr" in row and "input_psnr" in row]
        return {row["name"]: row["psnr"] - row["input_psnr"] for row in known}

    def table(self) -> str:
        """The means as text: input, restored and, where known, the paper's and the difference."""
        columns = self.figures or self._columns()
        published = self.paper.value if self.paper and not self.figures else {}
        lines = [["", *columns]]
        for metric in self.mean:
            cells = [format_figure(metric, column.get(metric)) for column in columns.values()]
            lines.append([metric, *cells])
        if published:
            lines[0].append("difference")
            for line, (metric, value) in zip(lines[1:], self.mean.items()):
                known = metric in published
                line.append(format_figure(metric, value - published[metric], "+") if known else "")
        tables = [self.title, format_table(lines)]
        if videos := self.videos():
            rows = [
                [name, *(format_figure(metric, means[metric]) for metric in self.mean)]
                for name, means in videos.items()
            ]
            tables.append(format_table([["mean of a video", *self.mean], *rows]))
        return "\n".join(tables)

    def videos(self) -> dict[str, dict[str, float]]:
        """{video: means over its frames} where the protocol is one of videos."""
        if not PROTOCOLS[self.protocol].by_video:
            return {}
        frames: dict[str, list[dict]] = {}
        for row in self.rows:
            frames.setdefault(row["name"].rpartition("/")[0], []).append(row)
        return {
            video: {metric: float(np.mean([row[metric] for row in rows])) for metric in self.mean}
            for video, rows in frames.items()
            if video
        }

    @property
    def metadata(self) -> dict[str, str]:
        """What a report says beside the table."""
        return {
            "data": str(self.data_path or ""),
            "weights": str(self.weights or ""),
            "remark": self.remark,
        }

    @property
    def title(self) -> str:
        """The line over a table: protocol, how many were scored, the remark."""
        unit = PROTOCOLS[self.protocol].unit
        remark = f", {self.remark}" if self.remark else ""
        return f"protocol {self.protocol}, {len(self.rows)} {unit}{remark}"

    def _columns(self) -> dict[str, dict[str, float]]:
        columns = {
            "input": self.input_mean,
            "restored": self.mean,
            "paper": self.paper.value if self.paper else {},
        }
        return {head: column for head, column in columns.items() if column}

    def _mean(self, name: str) -> float:
        return float(np.mean([row[name] for row in self.rows]))


def score_files(
    triples: list[Triple],
    protocol: str,
    workers: int = 0,
    resize_factor: int = 1,
    metrics: Sequence[str] | None = None,
    **about,
) -> Scores:
    """Scores of restored files, `workers` at the same time (0 = one per core).

    resize_factor: the restored pictures are enlarged first (protocol realblur). metrics: see
    Protocol.score. `about` fills the other fields of Scores. The remark tells how many images could
    not be registered. Raises UserError naming a file of another size.
    """
    if not triples:
        raise UserError("nothing to score: no image has ground truth")
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # one image per core is faster than one image on all
    try:
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            score = partial(_score, protocol=protocol, factor=resize_factor, metrics=metrics)
            work = pool.map(score, triples)
            rows = list(Progress(work, "scoring", len(triples), unit="image", leave=False))
    finally:
        cv2.setNumThreads(threads)
    remarks = [about.pop("remark", "")]
    failed = [row["name"] for row in rows if not row.get("aligned", True)]
    if failed:
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
    """Write all that scoring files leaves: scores.json, scores.csv, config.yaml and report.html.

    The report has pictures where the input is known.
    """
    scores.write(folder)
    write_text(folder / "config.yaml", config)
    if report:
        with_input = [triple for triple in triples if triple.blurry]
        examples = [_example(triple) for triple in spread(with_input, MAX_PANELS)]
        page = folder / "report.html"
        write_report(page, title, examples, scores.metadata, scores.table(), gains=scores.gains())
    print(f"results: {folder}")


def read_truth(path: Path) -> list[np.ndarray]:
    """The sharp frames [H,W,3] 8-bit of a picture file, a folder of pictures or a .mat file.

    A .mat file holds GroundTruth [H,W,3,N].
    """
    if path.is_dir():
        files = [file for file in path.iterdir() if is_image(file)]
        return [read_image(file) for file in sorted(files, key=lambda file: natural_key(file.name))]
    if path.suffix != ".mat":
        return [read_image(path)]
    frames = read_matlab(path, "GroundTruth")
    if frames.ndim != 4 or frames.shape[2] != 3:
        raise UserError(f"{path}: GroundTruth has shape {frames.shape}, [H,W,3,N] is expected")
    if frames.dtype != np.uint8:
        scale = 255 if frames.max() <= 1 else 1
        frames = np.round(frames * scale).astype(np.uint8)
    return list(np.moveaxis(frames, -1, 0))


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
    """Raises UserError for a `wanted` image that a folder lacks, or a file without ground truth."""
    missing = [name for name in wanted if name not in files]
    extra = [name for name in files if name not in known]
    if missing:
        raise UserError(
            f"{folder} lacks {len(missing)} of the {len(wanted)} images to score, the first is "
            f"{missing[0]}"
        )
    if extra:
        raise UserError(
            f"{folder} holds {len(extra)} images without ground truth in {sharp_dir}, the first "
            f"is {extra[0]}"
        )


def _score(
    triple: Triple, protocol: str, factor: int = 1, metrics: Sequence[str] | None = None
) -> dict[str, str | float]:
    """One row: the metrics of the restored image and, as input_*, those of its input."""
    row: dict[str, str | float] = {"name": triple.name}
    if PROTOCOLS[protocol].aligned:
        return row | _score_aligned(triple, protocol, factor)
    sharp = read_truth(triple.sharp)[0]
    row |= _compare(triple.restored, sharp, triple.sharp, protocol, metrics)
    if triple.blurry:
        of_input = _compare(triple.blurry, sharp, triple.sharp, protocol, metrics)
        row |= {f"input_{name}": value for name, value in of_input.items()}
    return row


def _score_aligned(triple: Triple, protocol: str, factor: int) -> dict[str, float]:
    """The figures of `realblur` and `kohler`; the input's PSNR is that of the unregistered one."""
    frames = [in_8bit(frame) for frame in read_truth(triple.sharp)]
    restored = read_8bit(triple.restored)
    if factor > 1:
        restored = enlarged(restored, factor)
    if min(*restored.shape[:2], *frames[0].shape[:2]) < SMALLEST:
        raise UserError(
            f"{triple.restored} or {triple.sharp} has a side below {SMALLEST} px, which "
            f"protocol {protocol} needs"
        )
    if protocol == "realblur":
        _check_size(triple.restored, restored, triple.sharp, frames[0])
        found = compare_aligned(restored, frames[0])
    else:
        found = compare_with_trajectory(restored, frames)
    row = found._asdict()
    if triple.blurry:
        row["input_psnr"] = unaligned_psnr(read_8bit(triple.blurry), frames[found.frame])
    return row


def _compare(
    path: Path,
    sharp: np.ndarray,
    sharp_path: Path,
    protocol: str,
    metrics: Sequence[str] | None,
) -> dict[str, float]:
    """Metrics of an image file against sharp pixels, whose file is named in errors."""
    image = read_image(path)
    _check_size(path, image, sharp_path, sharp)
    try:
        return PROTOCOLS[protocol].score(image, sharp, metrics)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _check_size(path: Path, image: np.ndarray, sharp_path: Path, sharp: np.ndarray) -> None:
    """Raises UserError that names both files of different sizes."""
    if image.shape != sharp.shape:
        raise UserError(
            f"{path} is {image.shape[1]}x{image.shape[0]}, but {sharp_path} "
            f"{sharp.shape[1]}x{sharp.shape[0]}"
        )


def _example(triple: Triple) -> Example:
    restored = read_8bit(triple.restored)
    sharp = in_8bit(read_truth(triple.sharp)[0])
    size = restored.shape[1::-1]
    blurry = cv2.resize(read_8bit(triple.blurry), size)
    return Example(triple.name, blurry, restored, cv2.resize(sharp, size))


def as_json(value: object) -> object:
    """The value with words for what JSON has no numbers for: inf, nan."""
    if isinstance(value, dict):
        return {key: as_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_json(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
