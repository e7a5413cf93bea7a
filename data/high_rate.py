"""Sharp videos at a high frame rate: by optical flow, once, into a memory-mapped file."""

import glob
import itertools
import math
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.catalog import Video
from data.synthesis.exposure import InBetween
from utils.files import atomic_path, write_text
from utils.image import resize_to
from utils.scenes import CutDetector
from utils.video import FrameFolder, VideoFile

# Frames are shrunk to this side first: compression and a phone's sharpening would not be a sharp
# target.
LONGEST = 640
STEP = 1.5  # px of motion between two frames of the high rate, about
MAX_RATE = 8  # frames of the high rate per interval of the video


@dataclass(frozen=True)
class HighRateVideo:
    """Frames [N,H,W,3] uint8; every `rate`-th is a real one.

    cuts: indices of the real frames that begin another scene.
    """

    name: str
    frames: np.ndarray
    rate: int
    cuts: tuple[int, ...] = ()

    @property
    def real_frames(self) -> int:
        return (len(self.frames) - 1) // self.rate + 1

    @property
    def scenes(self) -> list[range]:
        """The real frames of each scene."""
        ends = (0, *self.cuts, self.real_frames)
        return [range(first, last) for first, last in itertools.pairwise(ends)]


def high_rate(video: Video, cache: Path, max_frames: int = 0) -> HighRateVideo:
    """A sharp video with about `STEP` pixels of motion between frames.

    It lies in a file in `cache`, which is written on the first call, with its cuts beside it.
    """
    source = video.open()
    path = video.file or video.blurry[0]
    identity = (
        f"{path.resolve()} {path.stat().st_mtime_ns} {source.count} {max_frames} "
        f"{LONGEST} {STEP} {MAX_RATE} cuts"
    )
    name = f"{video.name}_{zlib.crc32(identity.encode()):08x}"
    cached = next(cache.glob(f"{glob.escape(name)}_x*.npy"), None)
    if cached is None or not cached.with_suffix(".cuts").is_file():
        count, rate, cuts = _survey(source, max_frames)
        cached = cache / f"{name}_x{rate}.npy"
        write_text(cached.with_suffix(".cuts"), " ".join(map(str, cuts)))
        with atomic_path(cached) as temporary:
            _write_high_rate(temporary, itertools.islice(source, count), count, rate)
    rate = int(cached.stem.rpartition("_x")[2])
    cuts = tuple(map(int, cached.with_suffix(".cuts").read_text().split()))
    frames = np.load(cached, mmap_mode="r", allow_pickle=False)
    return HighRateVideo(video.name, frames, rate, cuts)


def _survey(source: VideoFile | FrameFolder, max_frames: int) -> tuple[int, int, list[int]]:
    """Number of frames to use, the rate their motion asks for, and where scenes begin.

    The motion is that of every eighth pair.
    """
    max_motion = 0.0
    previous = None
    count = 0
    cuts = []
    begins_scene = CutDetector()
    for pixels in itertools.islice(source, max_frames or None):
        if begins_scene(pixels):
            cuts.append(count)
        if count % 8 < 2:
            frame = _prepared(pixels)
            if count % 8 and count not in cuts:
                max_motion = max(max_motion, InBetween(previous, frame).motion)
            previous = frame
        count += 1
    return count, min(max(math.ceil(max_motion / STEP), 1), MAX_RATE), cuts


def _write_high_rate(path: Path, source: Iterable[np.ndarray], count: int, rate: int) -> None:
    target = None
    previous = None
    for index, pixels in enumerate(source):
        frame = _prepared(pixels)
        if target is None:
            target = _new_array_file(path, ((count - 1) * rate + 1, *frame.shape))
        if previous is not None and rate > 1:
            between = InBetween(previous, frame)
            for step in range(1, rate):
                target[(index - 1) * rate + step] = np.round(between.at(step / rate) * 255)
        target[index * rate] = np.round(frame * 255)
        previous = frame
    target.flush()


def _new_array_file(path: Path, shape: tuple[int, ...]) -> np.memmap:
    array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    with open(path, "r+b") as file:
        # A full disk is an error here; a page that can't be written later kills the process.
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _prepared(pixels: np.ndarray) -> np.ndarray:
    pixels = resize_to(pixels, LONGEST)
    return pixels.astype(np.float32) / np.iinfo(pixels.dtype).max
