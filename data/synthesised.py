"""Blurry/sharp pairs made from sharp pictures: one by one for a folder (generate.py sbdd), or while
training.

A pair depends only on the seed, the picture's name and its number; everything that was drawn stands
in its record.
"""

import math
import zlib
from collections.abc import Callable, Sequence
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
from data.synthesis.masks import MaskSource
from data.synthesis.pair import Pair, PairSettings, make_pair
from utils.errors import UserError
from utils.image import read_image

MILD_PX = (0.5, 4.0)  # extent of mild blur


@dataclass(frozen=True)
class Draw:
    """What is drawn for a pair, and how.

    size: side K of the kernels. length: extent of generated ones in px, none: as they come.
    kernels: names and arrays to draw from instead. strong, mild: shares of the pairs whose kernels
    are as they come, and of at most 4 px; the rest has no blur at all (published: 1, 0). encoded:
    share of the pairs whose blur averages the picture's own values instead of light, as in GoPro's
    `blur`. Objects: see Objects.chosen.
    """

    size: int = 65
    length: float | None = None
    kernels: dict[str, np.ndarray] | None = None
    strong: float = 1.0
    mild: float = 0.0
    encoded: float = 0.0
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
    ):
        pictures = find_sharp(folder)
        self.pictures = {str(path.relative_to(folder).with_suffix("")): path for path in pictures}
        if len(self.pictures) < len(pictures):
            raise UserError(f"{folder} holds pictures that differ only in their ending")
        self.names = list(self.pictures)
        self.masks, self.draw, self.settings, self.seed = masks, draw, settings, seed
        self.min_side = max(min_side, draw.size + 1)
        if not 0 <= draw.strong + draw.mild <= 1:
            raise UserError(
                f"the shares of strong and mild blur are {draw.strong:g} and {draw.mild:g}: "
                "together at most 1"
            )

    def make(self, name: str, number: int) -> Made | None:
        """The pair of a picture; None for a picture with a side that is not above the least."""
        rng = np.random.default_rng((self.seed, zlib.crc32(name.encode()), number))
        picture = read_image(self.pictures[name])
        if min(picture.shape[:2]) <= self.min_side:
            return None
        source = self.names[int(rng.integers(len(self.names)))] if self.draw.random_masks else name
        objects = self.masks(
            source, read_image(self.pictures[source]) if source != name else picture
        )
        objects = objects.chosen(self.draw.min_score, self.draw.min_area, self.draw.max_objects)
        masks = objects.masks
        if masks.shape[1:] != picture.shape[:2]:  # of another picture
            masks = _fitted(masks, picture.shape[:2])
        made = self._make(rng, picture, masks)
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
        """A pair of `size` px from a random part of a picture, enlarged by a factor drawn from
        `zoom`; its objects may be cut.
        """
        picture, side = read_image(self.pictures[name]), size + self.draw.size - 1
        factor = (
            max(math.exp(rng.uniform(*np.log(zoom))), side / min(picture.shape[:2]))
            if zoom != (1.0, 1.0)
            else 1.0
        )
        own = round(side / factor)
        if min(picture.shape[:2]) < own:
            raise UserError(
                f"{self.pictures[name]} is {picture.shape[1]}x{picture.shape[0]}: a patch of "
                f"{size} px needs {side} px"
            )
        objects = self.masks(name, picture).chosen(
            self.draw.min_score, self.draw.min_area, self.draw.max_objects
        )
        top, left = (int(rng.integers(length - own + 1)) for length in picture.shape[:2])
        part = np.s_[top : top + own, left : left + own]
        picture, masks = picture[part], objects.masks[(slice(None), *part)]
        if own != side:
            picture = cv2.resize(
                picture,
                (side, side),
                interpolation=cv2.INTER_AREA if own > side else cv2.INTER_CUBIC,
            )
            masks = [
                cv2.resize(np.uint8(mask), (side, side), interpolation=cv2.INTER_NEAREST) > 0
                for mask in masks
            ]
            masks = np.array(masks, bool).reshape(-1, side, side)
        return self._make(rng, picture, masks)

    def _make(self, rng: np.random.Generator, picture: np.ndarray, masks: np.ndarray) -> Made:
        names, kernels = self._kernels(rng, len(masks) + 1)
        stored = bool(self.draw.encoded) and rng.random() < self.draw.encoded
        settings = replace(self.settings, response=NO_RESPONSE) if stored else self.settings
        pair = make_pair(picture, masks, kernels, rng, settings)
        record = {"kernels": names, "objects": len(masks), "settings": asdict(settings)}
        return Made(pair, record, masks, kernels)

    def _kernels(self, rng: np.random.Generator, count: int) -> tuple[list[str], np.ndarray]:
        draw, kind = self.draw, rng.random()
        if kind >= draw.strong + draw.mild:
            still = np.zeros((draw.size, draw.size), np.float32)
            still[draw.size // 2, draw.size // 2] = 1
            return ["none"] * count, np.repeat(still[None], count, 0)
        names, kernels = [], []
        for _ in range(count):
            if kind >= draw.strong:
                names.append("mild")
                kernels.append(random_kernel(rng, draw.size, length=float(rng.uniform(*MILD_PX))))
            elif draw.kernels:
                names.append(list(draw.kernels)[int(rng.integers(len(draw.kernels)))])
                kernels.append(draw.kernels[names[-1]])
            else:
                names.append(KINDS[int(rng.integers(len(KINDS)))])
                kernels.append(random_kernel(rng, draw.size, names[-1], draw.length))
        return names, np.stack(kernels)


class SynthesisedPairs(Dataset):
    """Training pairs {blurry [3,S,S], sharp [3,S,S], name} made on the fly, RGB in [0,1]; depend
    only on (seed, epoch, index).

    noise_fraction, jpeg_fraction: of the blurry pictures, see data/augment.py: degrade. vary(images,
    size, rng): changes a pair at random, see data/pairs.py: Variation. zoom: range of factors by
    which the sharp pictures are enlarged first, as cameras' pixels are seldom as sharp as those of
    small pictures.
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
        self.maker, self.size, self.shares, self.vary, self.zoom = (
            maker,
            size,
            (noise_fraction, jpeg_fraction),
            vary,
            zoom,
        )

    def __len__(self) -> int:
        return len(self.maker.names)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.maker.seed, epoch, index))
        name = self.maker.names[index]
        pair = self.maker.patch(rng, name, self.size, self.zoom).pair
        blurry = degrade(rng, pair.blurry[None], *self.shares)[0]
        sharp = np.round(pair.sharp.clip(0, 1) * 255) / 255
        tensors = [
            torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32))
            for image in (blurry, sharp)
        ]
        blurry, sharp = self.vary(tensors, self.size, rng)
        return {"blurry": blurry, "sharp": sharp, "name": name}


def _fitted(masks: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Masks [N,h,w] cut or padded with nothing at the bottom and right to a size."""
    masks = masks[:, : size[0], : size[1]]
    return np.pad(masks, ((0, 0), (0, size[0] - masks.shape[1]), (0, size[1] - masks.shape[2])))
