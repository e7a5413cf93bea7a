"""Clips made while training: exposures over sharp videos of real motion.

A video is brought to a high frame rate once, by optical flow, and kept in a memory-mapped file;
every sample is then a mean of frames in linear light, of any length and at any distance from the
next, as the sets of the field are made from high-speed cameras.
"""

import glob
import itertools
import math
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from data.augment import crop_and_turn, degrade
from data.catalog import Video
from data.synthesis.camera import NO_RESPONSE, STANDARD, Response
from data.synthesis.exposure import InBetween, exposure_times
from utils.errors import UserError
from utils.files import atomic_path
from utils.image import resize_to
from utils.progress import Progress
from utils.video import FrameFolder, VideoFile

# frames are shrunk to this first: compression and a phone's sharpening would not be a sharp target
LONGEST = 640
STEP = 1.5  # px of motion between two frames of the high rate, about
MAX_BETWEEN = 8  # frames per interval at most
UNBLURRED_FRACTION, PLAIN_FRACTION = (
    0.2,
    0.2,
)  # of the samples: no blur; means of whole frames; the rest are interpolated exposures
PLAIN_FRAMES = (3, 5, 7, 9)  # odd, so that a real frame is the middle
LONGEST_EXPOSURE = 9.0  # frame intervals
MAX_MOMENTS = 33  # of one exposure at most


@dataclass(frozen=True)
class HighRateVideo:
    """Frames [N,H,W,3] uint8; every `rate`-th is a real one."""

    name: str
    frames: np.ndarray
    rate: int

    @property
    def real_frames(self) -> int:
        return (len(self.frames) - 1) // self.rate + 1


class ExposedVideos(Dataset):
    """Blurry/sharp clips {blurry [T,3,S,S], sharp [T,3,S,S], video, frames} of exposures over sharp
    videos, RGB in [0,1].

    A fifth of the clips is not blurred, a fifth are means of 3-9 whole frames, the rest exposures
    of 0.5-9 intervals; the time from one exposure to the next is at least its length. Every video
    counts alike, whatever its length, `PER_VIDEO` times per epoch. The ground truth is always a
    real frame. srgb_fraction: of the clips, averages of pixel values instead of light, as in
    GoPro's `blur`. An item depends only on (seed, epoch, index).
    """

    PER_VIDEO = 32

    def __init__(
        self,
        videos: Iterable[Video],
        frames: int,
        size: int,
        seed: int,
        cache: Path,
        max_frames: int = 0,
        srgb_fraction: float = 0.0,
    ):
        self.frames, self.size, self.seed, self.srgb_fraction = frames, size, seed, srgb_fraction
        self.videos = [
            high_rate(video, cache, max_frames) for video in Progress(videos, "raising frame rates")
        ]
        for video in self.videos:
            if min(video.frames.shape[1:3]) < size or video.real_frames < 2 * frames:
                raise UserError(
                    f"{video.name}: {video.real_frames} frames of "
                    f"{video.frames.shape[2]}x{video.frames.shape[1]} are not enough"
                )

    def __len__(self) -> int:
        return self.PER_VIDEO * len(self.videos)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        video = self.videos[index % len(self.videos)]
        moments, stride = self._draw_exposure(rng, video)
        reach = -(-int(moments.max()) // video.rate)  # real frames
        first = int(rng.integers(reach, video.real_frames - reach - (self.frames - 1) * stride))
        middles = video.rate * (first + stride * np.arange(self.frames))
        side, top, left = self._draw_crop(
            rng, video, middles[0] + moments[0], middles[-1] + moments[-1]
        )
        part = np.s_[top : top + side, left : left + side]
        response = (
            NO_RESPONSE if self.srgb_fraction and rng.random() < self.srgb_fraction else STANDARD
        )
        linear, blurry_linear, sharp_linear = response.linear(_VALUES), [], []
        for middle in middles:
            blurry_linear.append(
                sum(linear[video.frames[moment][part]] for moment in middle + moments)
                / len(moments)
            )
            sharp_linear.append(linear[video.frames[middle][part]])
        blurry, sharp = (self._encoded(clip, response) for clip in (blurry_linear, sharp_linear))
        if rng.random() < 0.5:  # time has no direction in an exposure
            blurry, sharp, middles = blurry[::-1], sharp[::-1], middles[::-1]
        clips = (
            degrade(rng, blurry, noise_fraction=0.3, jpeg_fraction=0.2),
            np.round(sharp * 255) / 255,
        )
        blurry, sharp = crop_and_turn(
            [torch.from_numpy(np.float32(clip)).permute(0, 3, 1, 2) for clip in clips],
            self.size,
            rng,
        )
        return {
            "blurry": blurry,
            "sharp": sharp,
            "video": video.name,
            "frames": [str(middle // video.rate) for middle in middles],
        }

    def _draw_exposure(
        self, rng: np.random.Generator, video: HighRateVideo
    ) -> tuple[np.ndarray, int]:
        """Moments of an exposure around its middle, in frames of the high rate, and the stride to
        the next in real frames.
        """
        longest = (video.real_frames - 2) // self.frames  # all exposures side by side must fit
        kind = rng.random()
        if kind < UNBLURRED_FRACTION:
            return np.zeros(1, int), int(rng.integers(1, min(4, longest) + 1))
        if kind < UNBLURRED_FRACTION + PLAIN_FRACTION and longest >= PLAIN_FRAMES[0]:
            exposure = int(rng.choice([count for count in PLAIN_FRAMES if count <= longest]))
            moments = (np.arange(exposure) - exposure // 2) * video.rate
        else:
            exposure = math.exp(
                rng.uniform(math.log(0.5), math.log(min(LONGEST_EXPOSURE, longest)))
            )
            count = 2 * min(int(exposure * video.rate / 2), MAX_MOMENTS // 2) + 1
            moments = np.round(exposure_times(0, exposure * video.rate, count)).astype(int)
        shortest = math.ceil(exposure)
        return moments, int(rng.integers(shortest, min(2 * shortest, longest) + 1))

    def _draw_crop(
        self, rng: np.random.Generator, video: HighRateVideo, first: int, last: int
    ) -> tuple[int, int, int]:
        """(side, top, left): half of the crops are any, half that of four which changes most
        between two moments.

        So a fixed camera's moving hands are seen.
        """
        height, width = video.frames.shape[1:3]
        side = min(
            round(self.size * (1 if rng.random() < 0.5 else rng.uniform(1, 1.6))), height, width
        )
        places = np.stack(
            [rng.integers(0, height - side + 1, 4), rng.integers(0, width - side + 1, 4)], 1
        )
        if rng.random() < 0.5:
            return side, *map(int, places[0])
        ends = [video.frames[moment].astype(np.int16) for moment in (first, last)]
        changes = [
            np.abs(
                np.subtract(*(end[top : top + side : 4, left : left + side : 4] for end in ends))
            ).mean()
            for top, left in places
        ]
        return side, *map(int, places[int(np.argmax(changes))])

    def _encoded(self, clip_linear: list[np.ndarray], response: Response) -> np.ndarray:
        """Encoded frames [T,S,S,3] of linear ones of any size."""
        if len(clip_linear[0]) != self.size:
            clip_linear = [
                cv2.resize(frame, (self.size, self.size), interpolation=cv2.INTER_AREA)
                for frame in clip_linear
            ]
        return response.encoded(np.stack(clip_linear))


class ExposedFrames(Dataset):
    """Blurry/sharp pairs {blurry [3,S,S], sharp [3,S,S], name}: the single frames of
    ExposedVideos.
    """

    def __init__(
        self,
        videos: Iterable[Video],
        size: int,
        seed: int,
        cache: Path,
        max_frames: int = 0,
        srgb_fraction: float = 0.0,
    ):
        self.clips = ExposedVideos(videos, 1, size, seed, cache, max_frames, srgb_fraction)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        clip = self.clips[key]
        return {
            "blurry": clip["blurry"][0],
            "sharp": clip["sharp"][0],
            "name": f"{clip['video']}/{clip['frames'][0]}",
        }


def high_rate(video: Video, cache: Path, max_frames: int = 0) -> HighRateVideo:
    """A sharp video with about `STEP` pixels of motion between frames, from its file in `cache`,
    which is made on the first call.
    """
    source = video.open()
    path = video.file or video.blurry[0]
    identity = (
        f"{path.resolve()} {path.stat().st_mtime_ns} {source.count} {max_frames} "
        f"{LONGEST} {STEP} {MAX_BETWEEN}"
    )
    name = f"{video.name}_{zlib.crc32(identity.encode()):08x}"
    if not (found := list(cache.glob(f"{glob.escape(name)}_x*.npy"))):
        count, rate = _survey(source, max_frames)
        found = [cache / f"{name}_x{rate}.npy"]
        with atomic_path(found[0]) as temporary:
            _write_high_rate(temporary, itertools.islice(source, count), count, rate)
    return HighRateVideo(
        video.name,
        np.load(found[0], mmap_mode="r", allow_pickle=False),
        int(found[0].stem.rpartition("_x")[2]),
    )


def _survey(source: VideoFile | FrameFolder, max_frames: int) -> tuple[int, int]:
    """Number of frames to use and the rate their motion asks for, from every eighth pair."""
    motions, before, count = [0.0], None, 0
    for pixels in itertools.islice(source, max_frames or None):
        if count % 8 < 2:
            frame = _prepared(pixels)
            if count % 8:
                motions.append(InBetween(before, frame).motion)
            before = frame
        count += 1
    return count, min(max(math.ceil(max(motions) / STEP), 1), MAX_BETWEEN)


def _write_high_rate(path: Path, source: Iterable[np.ndarray], count: int, rate: int) -> None:
    target, before = None, None
    for index, pixels in enumerate(source):
        frame = _prepared(pixels)
        if target is None:
            target = np.lib.format.open_memmap(
                path, "w+", np.uint8, ((count - 1) * rate + 1, *frame.shape)
            )
            with (
                open(path, "r+b") as file
            ):  # a full disk is an error here; a page that finds no place later kills the process
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        if before is not None and rate > 1:
            between = InBetween(before, frame)
            for step in range(1, rate):
                target[(index - 1) * rate + step] = np.round(between.at(step / rate) * 255)
        target[index * rate] = np.round(frame * 255)
        before = frame
    target.flush()


def _prepared(pixels: np.ndarray) -> np.ndarray:
    pixels = resize_to(pixels, LONGEST)
    return pixels.astype(np.float32) / np.iinfo(pixels.dtype).max


_VALUES = np.arange(256, dtype=np.uint8)
