"""Exposure stacks of single pictures: what is drawn for a scene, and training shots that are
exposed anew every time.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from data.irp import CACHE_BYTES, circumstances_of, detail_of, facts_of
from data.synthesis.kernels import tremor
from data.synthesis.masks import MaskSource
from data.synthesis.stack import RATIOS, Sensor, brightened, expose_picture, sense
from utils.evaluation.metrics import ssim
from utils.evaluation.protocols import PROTOCOLS
from utils.image import read_image, to_8bit, to_tensor


@dataclass(frozen=True)
class SceneDraw:
    """Ranges that a scene is drawn from, evenly on a logarithmic scale.

    blur: extent of the camera's path over the longest exposure, px; an object's own is half as
    long. still: share of scenes without camera motion. photons: electrons at full scale, longest
    exposure; read_noise in electrons. max_objects: that move by themselves.
    """

    blur: tuple[float, float] = (2.0, 40.0)
    still: float = 0.1
    photons: tuple[float, float] = (500.0, 20000.0)
    read_noise: float = 2.0
    kernel_size: int = 65
    max_objects: int = 2

    def sensor(self, rng: np.random.Generator) -> Sensor:
        return Sensor(drawn(rng, self.photons), self.read_noise)

    def scene(
        self,
        picture: np.ndarray,
        masks: np.ndarray,
        size: tuple[int, int],
        rng: np.random.Generator,
    ) -> "Moment":
        """A part of `size` (height, width) of a picture [H,W,3] whose objects have masks [N,H,W];
        large enough for the kernel.
        """
        margin = self.kernel_size // 2
        top, left = (
            int(rng.integers(side - length - 2 * margin + 1))
            for side, length in zip(picture.shape, size)
        )
        part = np.s_[top : top + size[0] + 2 * margin, left : left + size[1] + 2 * margin]
        picture, masks = picture[part], masks[(slice(None), *part)]
        masks = masks[masks.any((1, 2))]
        extents = [0.0 if rng.random() < self.still else drawn(rng, self.blur)]
        paths = [extents[0] * _unit_path(rng)]
        for _ in masks:  # an object's own motion on top of the camera's
            extents.append(drawn(rng, self.blur) / 2)
            paths.append(_fitted(paths[0] + extents[-1] * _unit_path(rng), self.kernel_size))
        expose = functools.partial(expose_picture, picture, masks, paths, size=self.kernel_size)
        pixels = picture if picture.dtype == np.uint8 else np.uint8(np.round(picture / 257))
        sharp = pixels[margin : margin + size[0], margin : margin + size[1]]
        return Moment(
            sharp, expose, {"extent_px": extents, "objects": len(masks), "top": top, "left": left}
        )


class Moment(NamedTuple):
    """What a scene is: its sharp picture [h,w,3] (8-bit), how it is exposed at a ratio, and what
    was drawn for it.
    """

    sharp: np.ndarray
    expose: functools.partial
    facts: dict


class FreshShots(Dataset):
    """Items as LabelledShots gives them, of pictures that are exposed anew every time; depend only
    on (seed, epoch, index).

    Nobody restored them: their label is NaN, and `circumstances` (data/irp.py) tell what it would
    be.
    """

    def __init__(
        self,
        pictures: Sequence[tuple[str, Path]],
        masks: MaskSource,
        draw: SceneDraw,
        patch: int,
        seed: int,
        bracket: int = 1,
    ):
        self.pictures, self.masks, self.draw, self.patch, self.seed, self.bracket = (
            pictures,
            masks,
            draw,
            patch,
            seed,
            bracket,
        )
        self._read: dict[
            int, tuple[np.ndarray, np.ndarray]
        ] = {}  # pictures and masks that were decoded before
        self._room = CACHE_BYTES

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index, 2))
        sensor, ratios = (
            self.draw.sensor(rng),
            rng.choice(RATIOS, self.bracket, replace=False).tolist(),
        )
        moment = self.draw.scene(*turned(*self._picture(index), rng), (self.patch, self.patch), rng)
        detail, extent = detail_of(moment.sharp), moment.facts["extent_px"][0]
        images, facts, circumstances = [], [], []
        for ratio in ratios:
            stored = sense(moment.expose(ratio=ratio).blurred_linear, ratio, sensor, rng)
            bright = to_8bit(
                torch.from_numpy(brightened(stored, ratio).clip(0, 1)).permute(2, 0, 1)
            )
            quality = PROTOCOLS["image"].psnr(bright, moment.sharp), ssim(bright, moment.sharp)
            images.append(to_tensor(stored))
            facts.append(facts_of(sensor.photons, extent, ratio, detail))
            circumstances.append(circumstances_of(ratio, sensor.photons, detail, *quality))
        return {
            "image": torch.stack(images),
            "ratio": np.float32(ratios),
            "label": np.full(self.bracket, np.nan, np.float32),
            "name": f"{self.pictures[index][0]} {epoch}",
            "facts": np.stack(facts),
            "circumstances": np.stack(circumstances),
        }

    def _picture(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [H,W,3] and masks [N,H,W]; kept for the next time as long as there is room."""
        if index not in self._read:
            name, path = self.pictures[index]
            picture = np.array(read_image(path))
            masks = self.masks(name, picture).chosen(max_objects=self.draw.max_objects).masks
            if picture.nbytes + masks.nbytes > self._room:
                return picture, masks
            self._read[index] = picture, masks
            self._room -= picture.nbytes + masks.nbytes
        return self._read[index]


def turned(
    picture: np.ndarray, masks: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A picture [H,W,3] and its masks [N,H,W] turned, perhaps mirrored, with the colours in another
    order.
    """
    turns = int(rng.integers(4))
    picture, masks = (
        np.rot90(picture[..., rng.permutation(3)], turns),
        np.rot90(masks, turns, (1, 2)),
    )
    return (picture[:, ::-1], masks[..., ::-1]) if rng.random() < 0.5 else (picture, masks)


def drawn(rng: np.random.Generator, bounds: Sequence[float]) -> float:
    """A value of a range, evenly on a logarithmic scale."""
    return math.exp(rng.uniform(*np.log(bounds)))


def _unit_path(rng: np.random.Generator) -> np.ndarray:
    """A hand's tremor [M,2] with an extent of 1 px."""
    path = tremor(rng)
    return path / np.ptp(path, axis=0).max()


def _fitted(path: np.ndarray, size: int) -> np.ndarray:
    """A path that fits into a kernel."""
    return path * min(1.0, (size - 5) / 2 / np.abs(path - path.mean(0)).max())
