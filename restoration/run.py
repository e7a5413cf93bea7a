"""What a run that restores files does besides restoring: records, scores, contact sheet, report.

A method resolves its command line once, into a Job; pictures.py and videos.py restore what it
names.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from data.photo_catalog import CONTACT_SHEET
from utils.contact_sheet import contact_sheet
from utils.device import arithmetic
from utils.errors import UserError
from utils.evaluation.blur_variant import told_by_pixels
from utils.evaluation.protocols import PROTOCOLS, Protocol
from utils.evaluation.scoring import Scores, Triple, read_truth, score_files
from utils.evaluation.tables import (
    AS_PUBLISHED,
    PublishedRow,
    RunRecord,
    compared_row,
    count_parameters,
    paper_row,
)
from utils.files import write_text
from utils.image import in_8bit, read_8bit
from utils.options import QUALITY
from utils.report import Example, amount, spread, write_report
from utils.video import VideoFile
from utils.video_encoding import USUAL, Encoding
from utils.video_part import VideoPart, opened

Item = TypeVar("Item")
PREVIEW_S = 10.0  # of a video
PIXEL_SAMPLES = 40  # pictures by which GoPro's blur is told


@dataclass(frozen=True)
class Job:
    """What a command line asks for, resolved once.

    title: of the report. config: the resolved configuration as YAML, for config.yaml. remark: what
    is to be known about the data. protocol: how results are compared with the ground truth, None
    where there is none. tables, options: a method's tables.yaml, and what its rows are recognised
    by. start, end: of the part of a video file that is restored, see utils/video_part.py; encoding:
    of its result; preview: PREVIEW_S of it beside the input. format, quality: of pictures, png or
    jpg. skip_existing: results that exist stay. window: frames that each window restores, with a
    protocol of windows. part: "K/N", the inputs that this run restores, which other runs for the
    other parts know nothing of; "" for all.
    """

    data_path: Path
    output_dir: Path
    title: str
    config: str
    remark: str = ""
    protocol: str | None = None
    tables: Path | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    skip_existing: bool = False
    report: bool = True
    window: int = 0
    part: str = ""
    start: str = ""
    end: str = ""
    encoding: Encoding = USUAL
    preview: bool = False
    format: str = "png"
    quality: int = QUALITY

    def opened(self, path: Path) -> VideoFile | VideoPart:
        """A video file, as far as it is to be restored."""
        return opened(path, self.start, self.end, PREVIEW_S if self.preview else None)

    def own_part(self, items: Sequence[Item]) -> list[Item]:
        """The inputs of this run's part: every N-th, starting with the K-th."""
        if not self.part:
            return list(items)
        number, count = part_of(self.part)
        return list(items[number - 1 :: count])


def part_of(text: str) -> tuple[int, int]:
    """(K, N) of "K/N"; raises UserError for anything else."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(f"--part {text}: give K/N with K from 1 to N, as 3/8")
    return int(found[1]), int(found[2])


def of_files(config: object, pictures: bool, videos: bool, scored: bool) -> dict[str, object]:
    """A configuration's options for the files of a Job.

    pictures, videos: what the inputs are. scored: whether results are compared with ground truth.
    Raises UserError for options that do not fit the inputs or each other.
    """
    names = ("start", "end", "preview", "format", "quality")
    options = {name: getattr(config, name) for name in names if hasattr(config, name)}
    if not options:
        return {}
    options["encoding"] = Encoding(config.codec or "", config.crf, config.lossless)
    if config.codec and not videos:
        raise UserError(f"--codec {config.codec} is of video files, not of pictures")
    if pictures and (options["start"] or options["end"] or options["preview"]):
        raise UserError("--start, --end and --preview are of video files, not of pictures")
    as_jpeg = options["format"] == "jpg"
    if as_jpeg and videos:
        raise UserError("--format jpg is of photos and folders of frames, not of video files")
    if as_jpeg and scored:
        raise UserError(
            "--format jpg would change the scores, as results are compared with ground truth as "
            "they are written: leave it out"
        )
    if options["quality"] is None:
        options["quality"] = QUALITY
    elif not as_jpeg:
        raise UserError(f"--quality {options['quality']} is of JPEG: add --format jpg")
    return options


@dataclass
class Results:
    """What restoring gave.

    triples: written files with their ground truth, for scoring. examples: pictures to show. speed:
    a sentence; seconds: per picture, None if nothing was restored. tiles: in words. mistakes: what
    is wrong with the files that were left out. details: more lines for the table of scores. remark:
    what is to be known about how they were restored, "" for nothing. videos: (input, result) files
    to play.
    """

    triples: list[Triple] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    speed: str = ""
    seconds: float | None = None
    tiles: str = ""
    mistakes: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    remark: str = ""
    videos: list[tuple[Path, Path]] = field(default_factory=list)


class Stopwatch:
    """Counts what was done within how many seconds; `sentence` tells it."""

    def __init__(self, noun: str, device: torch.device):
        self.noun = noun
        self.device = device
        self.done = 0
        self.started = time.monotonic()

    @property
    def seconds_each(self) -> float | None:
        """Until now; None if nothing was done."""
        return (time.monotonic() - self.started) / self.done if self.done else None

    def sentence(self) -> str:
        """12 frames in 3.4 s, 3.53 frames/s with reading and writing (cpu); of nothing done ""."""
        if not self.done:
            return ""
        seconds = time.monotonic() - self.started
        if self.done > seconds:
            rate = f"{self.done / seconds:.2f} {self.noun}s/s"
        else:
            rate = f"{seconds / self.done:.2f} s each"
        return (
            f"{amount(self.done, self.noun)} in {seconds:.1f} s, {rate} with reading and writing "
            f"({self.device})"
        )


def improvement(
    protocol: Protocol, blurry: np.ndarray, restored: np.ndarray, sharp: np.ndarray
) -> str:
    """A sentence for the report: the PSNR of the blurry and of the restored picture [H,W,3]."""
    before, after = (protocol.psnr(image, sharp) for image in (blurry, restored))
    return f"PSNR {before:.2f} dB before, {after:.2f} dB after (protocol {protocol.name})"


def score(job: Job, restorer, results: Results) -> Scores | None:
    """Score the written files by the job's protocol; scores.json and scores.csv lie beside them."""
    if not job.protocol:
        return None
    row = paper_row(job.tables, restorer.weights, job.data_path, job.protocol, dict(job.options))
    ensemble = getattr(restorer, "ensemble", False)
    record = RunRecord(
        count_parameters(restorer.network),
        _blur_by_pixels(row, results.triples),
        results.tiles,
        f"{restorer.ensemble_views} views" if ensemble else "none",
        results.seconds,
        {name: getattr(restorer, name) for name in AS_PUBLISHED},
    )
    row, objection = compared_row(row, len(results.triples), record)
    scores = score_files(
        results.triples,
        job.protocol,
        arithmetic=arithmetic(restorer.device, restorer.dtype),
        weights=restorer.weights,
        data_path=job.data_path,
        remark="; ".join(filter(None, (job.remark, results.remark, objection))),
        paper=row,
        record=record,
    )
    scores.write(job.output_dir)
    return scores


def _blur_by_pixels(row: PublishedRow | None, triples: Sequence[Triple]) -> str:
    """Which of GoPro's two blurs a run of a published row restored; "" of other rows."""
    if row is None or row.dataset.lower() != "gopro":
        return ""
    chosen = [triple for triple in spread(triples, PIXEL_SAMPLES) if triple.blurry]
    return told_by_pixels(
        (read_8bit(triple.blurry), in_8bit(read_truth(triple.sharp)[0])) for triple in chosen
    )


def finish_part(job: Job) -> None:
    """Say what a run for a part leaves to the run that has all results."""
    print(
        f"part {job.part} is done: {job.output_dir}. When all are, run the same command without "
        "--part and with --skip_existing for scores and report"
    )


def finish(job: Job, restorer, results: Results, scores: Scores | None) -> None:
    """Write config.yaml, contact_sheet.jpg and report.html, print the scores, say where all is."""
    write_text(job.output_dir / "config.yaml", job.config)
    lines = [scores.table(), *results.details] if scores else []
    table = "\n".join(lines)
    if table:
        print(table)
    found = restorer.fallbacks.sentence()
    if found:
        print(found)
    hint = ""
    if results.examples:
        contact_sheet(job.output_dir / CONTACT_SHEET, results.examples)
    if results.examples and job.report:
        metadata = {
            "input": str(job.data_path),
            "weights": str(restorer.weights),
            "arithmetic": arithmetic(restorer.device, restorer.dtype),
            "scale": str(restorer.scale),
            "speed": results.speed,
            "guard": found.removeprefix("guard: "),
            "data": job.remark,
        }
        if scores:
            metadata["scored"] = _scored(job, restorer, scores)
        write_report(
            job.output_dir / "report.html",
            job.title,
            results.examples,
            metadata,
            table,
            gains=scores.gains() if scores else None,
            videos=[pair for pair in results.videos if pair[1].suffix == ".mp4"],
        )
        hint = " (open report.html there)"
    print(f"results: {job.output_dir}{hint}")


def _scored(job: Job, restorer, scores: Scores) -> str:
    """How many were scored, and of how many that the published figure is of: 3 of 1,111 images."""
    row = paper_row(job.tables, restorer.weights, job.data_path, job.protocol, dict(job.options))
    unit = PROTOCOLS[scores.protocol].unit
    of_published = f" of {row.images:,}" if row and row.images else ""
    return f"{len(scores.rows):,}{of_published} {unit}"
