"""Blurry/sharp pairs made from sharp pictures: for a folder (generate.py sbdd), or while training.

A pair depends only on the seed, the picture's name and its number; everything that was drawn stands
in its record.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from data.augment import crop_and_turn, degrade
from data.photo_catalog import find_sharp
from data.synthesis.camera import NO_RESPONSE
from data.synthesis.kernels import KINDS, random_kernel
from data.synthesis.masks import MaskSource, Objects
from data.synthesis.pair import Pair, PairSettings, make_pair
from utils.errors import UserError
from utils.image import read_image

MILD_PX = (0.5, 4.0)  # extent of mild blur


@dataclass(frozen=True)
class Draw:
    """What is drawn for a pair, and how.

    size: side K of the kernels. length: extent of generated ones in px, none: as they come.
    kernels: names and arrays to draw from instead. strong, mild: fractions of the pairs whose
    kernels are as they come, and of at most 4 px; the rest has no blur at all (published: 1, 0).
    srgb_fraction: of the pairs, blur averages in sRGB space instead of linear light, as in GoPro's
    `blur`. Objects: see Objects.chosen. random_masks: objects are those of another picture.
    """

    size: int = 65
    length: float | None = None
    kernels: dict[str, np.ndarray] | None = None
    strong: float = 1.0
    mild: float = 0.0
    srgb_fraction: float = 0.0
    min_score: float = 0.9
    min_area: int = 4000
    max_objects: int = 5
    random_masks: bool = False


class Made(NamedTuple):
    """A pair, its record (plain values), and what it was made from."""

    pair: Pair
    record: dict
    masks: np.ndarray
    kernels: np.ndarray


class PairMaker:
    """Makes pairs of the pictures below a folder."""

    def __init__(
        self,
        folder: Path,
        masks: MaskSource,
        draw: Draw,
        settings: PairSettings,
        seed: int,
        min_side: int = 0,
        training: bool = False,
    ):
        pictures = find_sharp(folder, training)
        self.pictures = {str(path.relative_to(folder).with_suffix("")): path for path in pictures}
        if len(self.pictures) < len(pictures):
            raise UserError(f"{folder} holds pictures that differ only in their ending")
        self.names = list(self.pictures)
        self.masks = masks
        self.draw = draw
        self.settings = settings
        self.seed = seed
        self.min_side = max(min_side, draw.size + 1)
        if not 0 <= draw.strong + draw.mild <= 1:
            raise UserError(
                f"the fractions of strong and mild blur are {draw.strong:g} and {draw.mild:g}: "
                "together at most 1"
            )

    def make(self, name: str, number: int) -> Made | None:
        """The pair of a picture; None for a picture with a side that is not above `min_side`."""
        rng = np.random.default_rng((self.seed, zlib.crc32(name.encode()), number))
        picture = read_image(self.pictures[name])
        if min(picture.shape[:2]) <= self.min_side:
            return None
        source = name
        if self.draw.random_masks:
            source = self.names[int(rng.integers(len(self.names)))]
        masked_picture = picture
        if source != name:
            masked_picture = read_image(self.pictures[source])
        objects = self._objects(source, masked_picture)
        made = self._make(rng, picture, _fitted(objects.masks, picture.shape))
        made.record.update(
            picture=str(self.pictures[name]),
            masks_of=source,
            scores=[float(score) for score in objects.scores],
            seed=self.seed,
            number=number,
            name=name,
        )
        return made

    def patch(
        self, rng: np.random.Generator, name: str, size: int, zoom: tuple[float, float] = (1.0, 1.0)
    ) -> Made:
        """A pair of `size` px from a random part of a picture, enlarged by a factor from `zoom`.

        Objects may be cut.
        """
        picture = read_image(self.pictures[name])
        height, width = picture.shape[:2]
        side = size + self.draw.size - 1
        factor = 1.0
        if zoom != (1.0, 1.0):
            factor = max(math.exp(rng.uniform(*np.log(zoom))), side / min(height, width))
        source_side = round(side / factor)  # before it is enlarged
        if min(height, width) < source_side:
            raise UserError(
                f"{self.pictures[name]} is {width}x{height}: a patch of {size} px needs {side} px"
            )
        masks = self._objects(name, picture).masks
        top = int(rng.integers(height - source_side + 1))
        left = int(rng.integers(width - source_side + 1))
        rows = slice(top, top + source_side)
        columns = slice(left, left + source_side)
        picture = picture[rows, columns]
        masks = masks[:, rows, columns]
        if source_side != side:
            picture = _resized(picture, side)
            masks = _resized_masks(masks, side)
        return self._make(rng, picture, masks)

    def _objects(self, name: str, picture: np.ndarray) -> Objects:
        objects = self.masks(name, picture)
        return objects.chosen(self.draw.min_score, self.draw.min_area, self.draw.max_objects)

    def _make(self, rng: np.random.Generator, picture: np.ndarray, masks: np.ndarray) -> Made:
        names, kernels = self._draw_kernels(rng, len(masks) + 1)
        settings = self.settings
        if self.draw.srgb_fraction and rng.random() < self.draw.srgb_fraction:
            settings = replace(settings, response=NO_RESPONSE)
        pair = make_pair(picture, masks, kernels, rng, settings)
        record = {"kernels": names, "objects": len(masks), "settings": asdict(settings)}
        return Made(pair, record, masks, kernels)

    def _draw_kernels(self, rng: np.random.Generator, count: int) -> tuple[list[str], np.ndarray]:
        """Names and kernels [count,K,K], all of them strong, mild or none."""
        draw = self.draw
        kind = rng.random()
        if kind >= draw.strong + draw.mild:
            point = np.zeros((draw.size, draw.size), np.float32)
            point[draw.size // 2, draw.size // 2] = 1
            return ["none"] * count, np.repeat(point[None], count, 0)
        names = []
        kernels = []
        for _ in range(count):
            if kind >= draw.strong:
                name = "mild"
                kernel = random_kernel(rng, draw.size, length=float(rng.uniform(*MILD_PX)))
            elif draw.kernels:
                name = list(draw.kernels)[int(rng.integers(len(draw.kernels)))]
                kernel = draw.kernels[name]
            else:
                name = KINDS[int(rng.integers(len(KINDS)))]
                kernel = random_kernel(rng, draw.size, name, draw.length)
            names.append(name)
            kernels.append(kernel)
        return names, np.stack(kernels)


class SynthesisedPairs(Dataset):
    """Training pairs {blurry [3,S,S], sharp [3,S,S], name} made on the fly, RGB in [0,1].

    An item depends only on (seed, epoch, index). noise_fraction, jpeg_fraction: of the blurry
    pictures, see data/augment.py: degrade. vary(images, size, rng): changes a pair at random, see
    data/pairs.py: Variation. zoom: range of factors by which the sharp pictures are enlarged first,
    as cameras' pixels are seldom as sharp as those of small pictures.
    """

    def __init__(
        self,
        maker: PairMaker,
        size: int,
        noise_fraction: float = 0.0,
        jpeg_fraction: float = 0.0,
        vary: Callable = crop_and_turn,
        zoom: tuple[float, float] = (1.0, 1.0),
    ):
        self.maker = maker
        self.size = size
        self.noise_fraction = noise_fraction
        self.jpeg_fraction = jpeg_fraction
        self.vary = vary
        self.zoom = zoom

    def __len__(self) -> int:
        return len(self.maker.names)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.maker.seed, epoch, index))
        name = self.maker.names[index]
        pair = self.maker.patch(rng, name, self.size, self.zoom).pair
        blurry = degrade(rng, pair.blurry[None], self.noise_fraction, self.jpeg_fraction)[0]
        sharp = np.round(pair.sharp.clip(0, 1) * 255) / 255
        tensors = [
            torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32))
            for image in (blurry, sharp)
        ]
        blurry, sharp = self.vary(tensors, self.size, rng)
        return {"blurry": blurry, "sharp": sharp, "name": name}


def _fitted(masks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Masks [N,h,w] cut or padded with nothing at the bottom and right to a picture's shape."""
    height, width = shape[:2]
    masks = masks[:, :height, :width]
    return np.pad(masks, ((0, 0), (0, height - masks.shape[1]), (0, width - masks.shape[2])))


def _resized(picture: np.ndarray, side: int) -> np.ndarray:
    interpolation = cv2.INTER_AREA if len(picture) > side else cv2.INTER_CUBIC
    return cv2.resize(picture, (side, side), interpolation=interpolation)


def _resized_masks(masks: np.ndarray, side: int) -> np.ndarray:
    resized = [
        cv2.resize(np.uint8(mask), (side, side), interpolation=cv2.INTER_NEAREST) > 0
        for mask in masks
    ]
    return np.array(resized, bool).reshape(-1, side, side)
