"""Exposure stacks of single pictures, and training shots that are exposed anew every time."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from data.irp import CACHE_BYTES
from data.shot_features import auxiliary_targets_of, detail_of, label_features_of
from data.synthesis.kernels import tremor
from data.synthesis.masks import MaskSource
from data.synthesis.stack import RATIOS, Sensor, brightened, expose_picture, sense
from utils.evaluation.metrics import ssim
from utils.evaluation.protocols import PROTOCOLS
from utils.image import in_8bit, read_image, to_8bit, to_tensor


class Scene(NamedTuple):
    """A scene that can be exposed.

    sharp: its picture [h,w,3], 8-bit. expose: gives the Exposure at a `ratio`. metadata: what was
    drawn for the scene, as it is stored in its record.
    """

    sharp: np.ndarray
    expose: functools.partial
    metadata: dict


@dataclass(frozen=True)
class SceneDraw:
    """Ranges that a scene is drawn from, evenly on a logarithmic scale.

    blur: extent of the camera's path over the longest exposure, px; an object's own is half as
    long. still: fraction of the scenes without camera motion. photons: electrons at full scale,
    longest exposure; read_noise in electrons. max_objects: maximum of objects that move by
    themselves.
    """

    blur: tuple[float, float] = (2.0, 40.0)
    still: float = 0.1
    photons: tuple[float, float] = (500.0, 20000.0)
    read_noise: float = 2.0
    kernel_size: int = 65
    max_objects: int = 2

    def sensor(self, rng: np.random.Generator) -> Sensor:
        return Sensor(log_uniform(rng, self.photons), self.read_noise)

    def scene(
        self,
        picture: np.ndarray,
        masks: np.ndarray,
        size: tuple[int, int],
        rng: np.random.Generator,
    ) -> Scene:
        """A part of `size` (height, width) of a picture [H,W,3] with objects of masks [N,H,W].

        The picture must be larger than the part by kernel_size - 1.
        """
        height, width = size
        margin = self.kernel_size // 2
        top = int(rng.integers(picture.shape[0] - height - 2 * margin + 1))
        left = int(rng.integers(picture.shape[1] - width - 2 * margin + 1))
        rows = slice(top, top + height + 2 * margin)
        columns = slice(left, left + width + 2 * margin)
        picture = picture[rows, columns]
        masks = masks[:, rows, columns]
        masks = masks[masks.any((1, 2))]
        extents, paths = self._motion(len(masks), rng)
        pixels = in_8bit(picture)
        metadata = {"extent_px": extents, "objects": len(masks), "top": top, "left": left}
        return Scene(
            pixels[margin : margin + height, margin : margin + width],
            functools.partial(expose_picture, picture, masks, paths, size=self.kernel_size),
            metadata,
        )

    def _motion(
        self, objects: int, rng: np.random.Generator
    ) -> tuple[list[float], list[np.ndarray]]:
        """Extents in px and paths [M,2] of the camera and of every object."""
        extents = [0.0]
        if rng.random() >= self.still:
            extents = [log_uniform(rng, self.blur)]
        paths = [extents[0] * _unit_path(rng)]
        for _ in range(objects):  # an object's own motion on top of the camera's
            extents.append(log_uniform(rng, self.blur) / 2)
            paths.append(_fitted(paths[0] + extents[-1] * _unit_path(rng), self.kernel_size))
        return extents, paths


class FreshShots(Dataset):
    """Items as LabelledShots gives them with features, of pictures that are exposed anew each time.

    They depend only on (seed, epoch, index). Nobody restored them: their label is NaN, and their
    label_features (data/shot_features.py) nearly determine what it would be.
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
        self.pictures = pictures
        self.masks = masks
        self.draw = draw
        self.patch = patch
        self.seed = seed
        self.bracket = bracket
        self._decoded: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # pictures and masks
        self._free_bytes = CACHE_BYTES

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index, 2))
        sensor = self.draw.sensor(rng)
        ratios = rng.choice(RATIOS, self.bracket, replace=False).tolist()
        picture, masks = augmented(*self._picture(index), rng)
        scene = self.draw.scene(picture, masks, (self.patch, self.patch), rng)
        detail = detail_of(scene.sharp)
        extent = scene.metadata["extent_px"][0]
        images = []
        targets = []
        label_features = []
        for ratio in ratios:
            stored = sense(scene.expose(ratio=ratio).blurred_linear, ratio, sensor, rng)
            psnr, similarity = _input_quality(stored, ratio, scene.sharp)
            images.append(to_tensor(stored))
            targets.append(auxiliary_targets_of(sensor.photons, extent, ratio, detail))
            label_features.append(
                label_features_of(ratio, sensor.photons, detail, psnr, similarity)
            )
        return {
            "image": torch.stack(images),
            "ratio": np.float32(ratios),
            "label": np.full(self.bracket, np.nan, np.float32),
            "name": f"{self.pictures[index][0]} {epoch}",
            "auxiliary_targets": np.stack(targets),
            "label_features": np.stack(label_features),
        }

    def _picture(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [H,W,3] and masks [N,H,W], cached as long as there is room."""
        if index not in self._decoded:
            name, path = self.pictures[index]
            picture = np.array(read_image(path))
            masks = self.masks(name, picture).chosen(max_objects=self.draw.max_objects).masks
            size = picture.nbytes + masks.nbytes
            if size > self._free_bytes:
                return picture, masks
            self._decoded[index] = picture, masks
            self._free_bytes -= size
        return self._decoded[index]


def augmented(
    picture: np.ndarray, masks: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A picture [H,W,3], its colours in a random order, and its masks [N,H,W], turned together.

    One of the eight turns and mirrorings, evenly.
    """
    turns = int(rng.integers(4))
    picture = np.rot90(picture[..., rng.permutation(3)], turns)
    masks = np.rot90(masks, turns, (1, 2))
    if rng.random() < 0.5:
        return picture[:, ::-1], masks[..., ::-1]
    return picture, masks


def log_uniform(rng: np.random.Generator, bounds: Sequence[float]) -> float:
    """A value of a range, evenly on a logarithmic scale."""
    return math.exp(rng.uniform(*np.log(bounds)))


def _input_quality(stored: np.ndarray, ratio: float, sharp: np.ndarray) -> tuple[float, float]:
    """PSNR in dB and SSIM of a brightened shot against the sharp picture, both [h,w,3] 8-bit."""
    bright = torch.from_numpy(brightened(stored, ratio).clip(0, 1))
    pixels = to_8bit(bright.permute(2, 0, 1))
    return PROTOCOLS["image"].psnr(pixels, sharp), ssim(pixels, sharp)


def _unit_path(rng: np.random.Generator) -> np.ndarray:
    """A hand's tremor [M,2] with an extent of 1 px."""
    path = tremor(rng)
    return path / np.ptp(path, axis=0).max()


def _fitted(path: np.ndarray, size: int) -> np.ndarray:
    """A path that fits into a kernel."""
    return path * min(1.0, (size - 5) / 2 / np.abs(path - path.mean(0)).max())
