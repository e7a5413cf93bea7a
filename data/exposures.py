"""Clips made while training: exposures over sharp videos of real motion.

Every sample is a mean of frames of a high rate (data/high_rate.py) in linear light, of any length
and at any distance from the next, as the sets of the field are made from high-speed cameras.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from data.augment import crop_and_turn, degrade
from data.catalog import Video
from data.high_rate import HighRateVideo, high_rate
from data.realistic import compressed_clip
from data.synthesis.camera import NO_RESPONSE, STANDARD
from data.synthesis.development import Camera
from data.synthesis.exposure import exposure_times
from data.synthesis.realism import Realism, draw_camera_of, draw_clean, without_noise
from utils.errors import UserError
from utils.progress import Progress

# Of the samples, the rest are interpolated exposures:
UNBLURRED_FRACTION = 0.2
PLAIN_FRACTION = 0.2  # means of whole frames
PLAIN_FRAMES = (3, 5, 7, 9)  # odd, so that a real frame is the middle
OVERLAPPING_FRACTION = 0.4  # exposures longer than the time to the next, with `realism`
LONGEST_EXPOSURE = 9.0  # frame intervals
MAX_FRAMES_PER_EXPOSURE = 33  # of the high rate
_PIXEL_VALUES = np.arange(256, dtype=np.uint8)


class ExposedVideos(Dataset):
    """Clips {blurry [T,3,S,S], sharp [T,3,S,S], video, frames} of exposures over sharp videos.

    RGB in [0,1]. A fifth of the clips is not blurred, a fifth are means of 3-9 whole frames, the
    rest exposures of 0.5-9 intervals; the time from one exposure to the next is at least its
    length. Every video counts alike, whatever its length, `PER_VIDEO` times per epoch. The ground
    truth is always a real frame. A clip lies in one scene; scenes shorter than two frames per frame
    of the clip are left out. srgb_fraction: of the clips, averages in sRGB space instead of linear
    light, as in GoPro's `blur`. realism: cameras, compression and sharp neighbours as it says (its
    own fraction of averages in sRGB space holds then); none: mild noise and JPEG, one length of
    exposure for all frames. An item depends only on (seed, epoch, index).
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
        realism: Realism | None = None,
    ):
        self.realism = realism
        self.frames = frames
        self.size = size
        self.seed = seed
        self.srgb_fraction = srgb_fraction
        self.videos = [
            high_rate(video, cache, max_frames) for video in Progress(videos, "raising frame rates")
        ]
        self._scenes = []  # long enough, of every video
        for video in self.videos:
            fewest = max(2 * frames, frames + 2)
            scenes = [scene for scene in video.scenes if len(scene) >= fewest]
            if min(video.frames.shape[1:3]) < size or not scenes:
                where = " (its longest scene)" if video.cuts else ""
                raise UserError(
                    f"{video.name}: {max(map(len, video.scenes))} frames of "
                    f"{video.frames.shape[2]}x{video.frames.shape[1]} are not enough{where}: sharp "
                    f"videos of {fewest} frames or more, {size} px high and wide, are needed"
                )
            self._scenes.append(scenes)

    def __len__(self) -> int:
        return self.PER_VIDEO * len(self.videos)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        video = self.videos[index % len(self.videos)]
        scene = self._draw_scene(rng, index % len(self.videos))
        offsets, stride = self._draw_exposure(rng, video.rate, len(scene))
        reach = -(-int(offsets.max()) // video.rate)  # real frames
        first = int(rng.integers(reach, len(scene) - reach - (self.frames - 1) * stride))
        middles = video.rate * (scene[first] + stride * np.arange(self.frames))
        window = self._draw_window(rng, video, middles[0] + offsets[0], middles[-1] + offsets[-1])
        exposures = [offsets] * self.frames
        if self.realism and rng.random() < self.realism.sharp_neighbours:
            exposures = _with_sharp_neighbours(rng, exposures)
        realism = self.realism
        clean = realism and len(offsets) == 1 and draw_clean(rng, realism, 0)
        if clean:
            realism = without_noise(realism)
        camera = self._draw_camera(rng, realism)
        blurry, sharp = self._expose(rng, video, middles, exposures, window, camera)  # [T,S,S,3]
        if rng.random() < 0.5:  # time has no direction in an exposure
            blurry = blurry[::-1]
            sharp = sharp[::-1]
            middles = middles[::-1]
        if realism:
            blurry = compressed_clip(rng, blurry, realism)
        else:
            blurry = degrade(rng, blurry, noise_fraction=0.3, jpeg_fraction=0.2)
        sharp = np.round(sharp * 255) / 255
        clips = [torch.from_numpy(np.float32(clip)).permute(0, 3, 1, 2) for clip in (blurry, sharp)]
        blurry, sharp = crop_and_turn(clips, self.size, rng)
        return {
            "blurry": blurry,
            "sharp": sharp,
            "video": video.name,
            "frames": [str(middle // video.rate) for middle in middles],
        }

    def _draw_scene(self, rng: np.random.Generator, index: int) -> range:
        """A scene of a video, by its length; nothing is drawn where there is one."""
        scenes = self._scenes[index]
        if len(scenes) == 1:
            return scenes[0]
        lengths = np.array([len(scene) for scene in scenes])
        return scenes[int(rng.choice(len(scenes), p=lengths / lengths.sum()))]

    def _draw_exposure(
        self, rng: np.random.Generator, rate: int, real_frames: int
    ) -> tuple[np.ndarray, int]:
        """The frames of an exposure in a scene and the stride to the next exposure.

        The frames are counted at the high rate from the exposure's middle, the stride in real
        frames.
        """
        longest = (real_frames - 2) // self.frames  # all exposures side by side must fit
        kind = rng.random()
        if kind < UNBLURRED_FRACTION:
            return np.zeros(1, int), int(rng.integers(1, min(4, longest) + 1))
        if kind < UNBLURRED_FRACTION + PLAIN_FRACTION and longest >= PLAIN_FRAMES[0]:
            exposure = int(rng.choice([count for count in PLAIN_FRAMES if count <= longest]))
            offsets = (np.arange(exposure) - exposure // 2) * rate
        else:
            logarithm = rng.uniform(math.log(0.5), math.log(min(LONGEST_EXPOSURE, longest)))
            exposure = math.exp(logarithm)
            half = min(int(exposure * rate / 2), MAX_FRAMES_PER_EXPOSURE // 2)
            times = exposure_times(0, exposure * rate, 2 * half + 1)
            offsets = np.round(times).astype(int)
        min_stride = math.ceil(exposure)
        max_stride = min(2 * min_stride, longest)
        if self.realism and rng.random() < OVERLAPPING_FRACTION:
            min_stride = 1
        return offsets, int(rng.integers(min_stride, max_stride + 1))

    def _draw_window(
        self, rng: np.random.Generator, video: HighRateVideo, first: int, last: int
    ) -> tuple[slice, slice]:
        """Rows and columns of a square crop.

        Half of the crops are any, half the one of four which changes most from the first to the
        last frame, so that a fixed camera's moving hands are seen.
        """
        height, width = video.frames.shape[1:3]
        zoom = 1 if rng.random() < 0.5 else rng.uniform(1, 1.6)
        side = min(round(self.size * zoom), height, width)
        tops = rng.integers(0, height - side + 1, 4)
        lefts = rng.integers(0, width - side + 1, 4)
        windows = [np.s_[top : top + side, left : left + side] for top, left in zip(tops, lefts)]
        if rng.random() < 0.5:
            return windows[0]
        start = video.frames[first].astype(np.int16)
        end = video.frames[last].astype(np.int16)
        changes = [
            np.abs(start[window][::4, ::4] - end[window][::4, ::4]).mean() for window in windows
        ]
        return windows[int(np.argmax(changes))]

    def _draw_camera(self, rng: np.random.Generator, realism: Realism | None) -> Camera:
        if realism:
            return draw_camera_of(rng, realism)
        if self.srgb_fraction and rng.random() < self.srgb_fraction:
            return Camera(NO_RESPONSE)
        return Camera(STANDARD)

    def _expose(
        self,
        rng: np.random.Generator,
        video: HighRateVideo,
        middles: np.ndarray,
        exposures: Sequence[np.ndarray],
        window: tuple[slice, slice],
        camera: Camera,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The exposures around the middles and their middle frames, [T,S,S,3] in [0,1].

        exposures: the frames of each, counted from its middle.
        """
        linear_of = camera.light(_PIXEL_VALUES)
        blurry = []
        sharp = []
        for middle, offsets in zip(middles, exposures, strict=True):
            total = sum(linear_of[video.frames[index][window]] for index in middle + offsets)
            light = self._resized(total / len(offsets))
            blurry.append(camera.developed(light, rng))
            sharp_light = self._resized(linear_of[video.frames[middle][window]])
            sharp.append(camera.curve.encoded(sharp_light))
        return np.stack(blurry), np.stack(sharp)

    def _resized(self, image: np.ndarray) -> np.ndarray:
        if len(image) == self.size:
            return image
        return cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA)


class ExposedFrames(Dataset):
    """Pairs {blurry [3,S,S], sharp [3,S,S], name}: the single frames of ExposedVideos."""

    def __init__(
        self,
        videos: Iterable[Video],
        size: int,
        seed: int,
        cache: Path,
        max_frames: int = 0,
        srgb_fraction: float = 0.0,
        realism: Realism | None = None,
    ):
        self.clips = ExposedVideos(videos, 1, size, seed, cache, max_frames, srgb_fraction, realism)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        clip = self.clips[key]
        return {
            "blurry": clip["blurry"][0],
            "sharp": clip["sharp"][0],
            "name": f"{clip['video']}/{clip['frames'][0]}",
        }


def _with_sharp_neighbours(
    rng: np.random.Generator, exposures: list[np.ndarray]
) -> list[np.ndarray]:
    """The exposures of a clip, frames beside its middle without blur or with much less of it.

    At least one neighbour of the middle frame is such a frame.
    """
    changed = list(exposures)
    middle = len(exposures) // 2
    others = [index for index in range(len(exposures)) if index != middle]
    if not others:
        return changed
    certain = others[int(rng.integers(len(others)))]
    for index in others:
        if index != certain and rng.random() < 0.4:
            continue
        offsets = exposures[index]
        fraction = 0.0 if rng.random() < 0.5 else rng.uniform(0.1, 0.5)
        kept = np.abs(offsets) <= fraction * np.abs(offsets).max()
        changed[index] = offsets[kept]
    return changed
