"""Where the shots that inference.py judges come from: picture files, or the frames of a video.

Both kinds of sources have a `count` (None where it is unknown), yield their shots one after the
other, and give the pixels of judged shots again.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.irp import find_shots
from data.photo_catalog import pictures_by_name
from utils.errors import UserError
from utils.files import atomic_path
from utils.image import in_8bit, is_image, read_8bit, write_image
from utils.video import VideoFile, is_video


@dataclass(frozen=True)
class Shot:
    """A shot to judge.

    pixels: [H,W,3], 8-bit, as stored. ratio: how many times too dark they are. path: of a picture
    on disk. time: of a video's frame, seconds.
    """

    name: str
    pixels: np.ndarray
    ratio: float
    path: Path | None = None
    time: float | None = None


@dataclass(frozen=True)
class JudgedShot:
    """A shot without its pixels, and its predicted restoration potential.

    reason: what a person sees in it.
    """

    name: str
    potential: float
    ratio: float
    path: Path | None = None
    time: float | None = None
    reason: str = ""


class PictureSource:
    """Picture files below a folder, by name; `ratio` where `ratios` does not have a file's own."""

    def __init__(self, root: Path, files: dict[str, Path], ratio: float, ratios: dict[Path, float]):
        self.root = root
        self.files = files
        self.ratio = ratio
        self.ratios = ratios
        self.count = len(files)

    def __iter__(self) -> Iterator[Shot]:
        for name, path in self.files.items():
            yield Shot(name, read_8bit(path), self.ratios.get(path, self.ratio), path)

    def pictures(self, wanted: Sequence[JudgedShot]) -> Iterator[tuple[JudgedShot, np.ndarray]]:
        """The wanted shots with their pixels."""
        for shot in wanted:
            yield shot, read_8bit(shot.path)

    def save(self, shot: JudgedShot, pixels: np.ndarray, folder: Path) -> None:
        """Copy the file as it is, to its relative path."""
        with atomic_path(folder / shot.path.relative_to(self.root)) as copy:
            shutil.copyfile(shot.path, copy)


class VideoSource:
    """The frames of a video file, as shots of one exposure ratio."""

    def __init__(self, path: Path, ratio: float):
        self.video = VideoFile(path, as_bt709=True)
        self.ratio = ratio
        self.count = self.video.count

    def __iter__(self) -> Iterator[Shot]:
        for index, (timestamp, _, pixels) in enumerate(self.video.timed()):
            seconds = float(timestamp * self.video.time_base)
            yield Shot(f"frame_{index:06d}", in_8bit(pixels), self.ratio, time=seconds)

    def pictures(self, wanted: Sequence[JudgedShot]) -> Iterator[tuple[JudgedShot, np.ndarray]]:
        """The wanted shots with their pixels, in the video's order; it is read once more."""
        judged = {shot.name: shot for shot in wanted}
        for shot in self:
            if shot.name in judged:
                yield judged[shot.name], shot.pixels

    def save(self, shot: JudgedShot, pixels: np.ndarray, folder: Path) -> None:
        """Write the frame as PNG."""
        write_image(folder / f"{shot.name}.png", pixels)


Source = PictureSource | VideoSource


def find_source(path: Path, leave_out: Path, ratio: float | None) -> Source:
    """The shots of an image, of a folder of images, or of a video file.

    leave_out: a folder of earlier results. ratio: of all shots; None: 1, or what a stack's file
    names say. Raises UserError where there are no shots.
    """
    if path.is_file() and is_video(path):
        return VideoSource(path, ratio or 1.0)
    if path.is_file() and is_image(path):
        return PictureSource(path.parent, {path.stem: path}, ratio or 1.0, {})
    if not path.is_dir():
        raise UserError(f"there is no image, folder of images or video file at {path}")
    ratios = {}
    if ratio is None:
        for shots in find_shots(path).values():
            ratios |= {shot.path: shot.ratio for shot in shots}
    files = pictures_by_name(path, leave_out)
    if ratios:  # other pictures beside stacks are no shots
        files = {name: file for name, file in files.items() if file in ratios}
    return PictureSource(path, files, ratio or 1.0, ratios)
