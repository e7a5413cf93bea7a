"""The result of a video file: alone or beside its input, and going on after an interruption."""

import dataclasses
from pathlib import Path

import av
import numpy as np
import torch

from restoration.image import ImageRestorer
from restoration.run import Job
from restoration.video import VideoRestorer
from utils.checkpoint import VERSION
from utils.files import sha256
from utils.resumable_writer import ResumableWriter
from utils.side_by_side import SideBySide
from utils.video import VideoFile
from utils.video_part import VideoPart

# Members of a restorer that change no result, or that stand under another name.
_NO_SETTINGS = ("network", "device", "weights", "memory", "fallbacks")


def video_target(job: Job, source: Path) -> Path:
    """Where a video file's result goes."""
    preview = ".preview" if job.preview else ""
    return job.output_dir / f"{source.stem}{preview}{job.encoding.suffix}"


class VideoResult:
    """Writes the frames of a result; the first `frames` are there from an interrupted run.

    tile, border: see origin_of.
    """

    def __init__(
        self,
        job: Job,
        restorer: ImageRestorer | VideoRestorer,
        source: VideoFile | VideoPart,
        tile: int,
        border: bool = True,
    ):
        target = video_target(job, source.path)
        origin = origin_of(job, restorer, source.path, tile, border)
        self._pair = SideBySide(source) if job.preview else None
        self._writer = ResumableWriter(target, self._pair or source, job.encoding, origin)
        self.frames = self._writer.frames

    def write(
        self, before: np.ndarray, after: np.ndarray, timestamp: int, duration: int = 0
    ) -> None:
        """Add a frame [H,W,3] of the input and its result, see VideoWriter.write."""
        written = self._pair.joined(before, after) if self._pair else after
        self._writer.write(written, timestamp, duration)

    def __enter__(self) -> "VideoResult":
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.__exit__(*error)


def origin_of(
    job: Job, restorer: ImageRestorer | VideoRestorer, path: Path, tile: int, border: bool = True
) -> dict[str, str]:
    """By name: the input and the weights (hashes of their content), options, versions.

    tile: side of the tiles that the network works in, which may follow from the free memory.
    """
    settings = {
        field.name: getattr(restorer, field.name)
        for field in dataclasses.fields(restorer)
        if field.name not in _NO_SETTINGS
    }
    settings |= {name: getattr(job, name) for name in ("start", "end", "preview")}
    settings |= dataclasses.asdict(job.encoding)
    settings |= {
        "input": sha256(path),
        "weights": restorer.weights and sha256(restorer.weights),
        "device": restorer.device.type,
        "tiles": tile,
        "border": border,
        "versions": f"blurlab {VERSION}, torch {torch.__version__}, av {av.__version__}",
    }
    return {name: str(value) for name, value in settings.items()}
