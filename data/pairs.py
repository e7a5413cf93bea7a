"""Training patches from pairs of pictures on disk, and how they are varied."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from data.augment import crop_and_turn
from data.photo_catalog import Picture, find_sharp
from utils.errors import UserError
from utils.image import image_size, read_image, to_tensor

NOISE_8BIT = 2.0  # spread of the noise's standard deviation, grey levels (DeepDeblur)


class FolderPairs(Dataset):
    """Patches {blurry [3,S,S], sharp [3,S,S], name}, RGB in [0,1]; an item depends only on (seed,
    epoch, index).

    tile, step: the pictures are taken apart into tiles of `tile` px every `step` px first and an
    item is a patch of a tile, so that large pictures count more, as in the published recipes of
    Restormer and NAFNet; tile 0: an item is a patch of a picture.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        size: int,
        seed: int,
        vary: "Variation",
        tile: int = 0,
        step: int = 256,
    ):
        self.pictures, self.size, self.seed, self.vary, self.tile = pictures, size, seed, vary, tile
        self.items = [
            (index, corner)
            for index, picture in enumerate(pictures)
            for corner in _corners(picture, tile, step)
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        number, (top, left) = self.items[index]
        picture = self.pictures[number]
        pixels = [read_image(path) for path in (picture.blurry, picture.sharp)]
        if pixels[0].shape != pixels[1].shape:
            raise UserError(
                f"{picture.blurry} is {pixels[0].shape[1]}x{pixels[0].shape[0]}, {picture.sharp} "
                "another size"
            )
        if self.tile:
            pixels = [image[top : top + self.tile, left : left + self.tile] for image in pixels]
        if min(pixels[0].shape[:2]) < self.size:
            size = f"{pixels[0].shape[1]}x{pixels[0].shape[0]}"
            raise UserError(
                f"{picture.blurry}{' in tiles' * bool(self.tile)} is {size}: lower --patch_size "
                f"{self.size}"
            )
        blurry, sharp = self.vary([to_tensor(image) for image in pixels], self.size, rng)
        return {"blurry": blurry, "sharp": sharp, "name": picture.name}


@dataclass(frozen=True)
class Variation:
    """A random patch of a pair, changed at random. turn: left-right, up-down, transposed; mirror:
    left-right alone (each p 0.5).

    colour: the channels in random order and the saturation of HSV times U(0.5, 1.5), both images
    alike; noise: on the blurry one, of a standard deviation |N(0, 2)| grey levels (Nah et al.,
    PyTorch edition).
    """

    mirror: bool = False
    turn: bool = False
    colour: bool = False
    noise: bool = False

    def __call__(self, images: list[Tensor], size: int, rng: np.random.Generator) -> list[Tensor]:
        """[blurry, sharp] [3,size,size] of images [3,H,W]."""
        blurry, sharp = crop_and_turn(
            images, size, rng, mirror=self.mirror or self.turn, turn=self.turn
        )
        if self.colour:
            order, factor = torch.from_numpy(rng.permutation(3)), rng.uniform(0.5, 1.5)
            blurry, sharp = (_saturated(image[order], factor) for image in (blurry, sharp))
        if self.noise:
            deviation = abs(rng.normal(0, NOISE_8BIT)) / 255
            blurry = (
                blurry + torch.from_numpy(rng.normal(0, deviation, blurry.shape).astype(np.float32))
            ).clamp(0, 1)
        return [blurry, sharp]


class NoBlurPairs(Dataset):
    """The data rule of the No-Blur U-Net: sharp pictures at 800x600, cut into 12 tiles of 200x200,
    blurred by one of six Gaussians.

    The tile is then resized to `size` px (published 128). The Gaussians' widths were not published:
    0.5 to 3 px here.
    """

    SIZE, TILE, SIGMAS = (800, 600), 200, (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)

    def __init__(self, folder: Path, size: int, seed: int, vary: Variation):
        self.pictures, self.size, self.seed, self.vary = find_sharp(folder), size, seed, vary
        self.columns = self.SIZE[0] // self.TILE
        self.tiles = self.columns * (self.SIZE[1] // self.TILE)

    def __len__(self) -> int:
        return len(self.pictures) * self.tiles

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        number, place = divmod(index, self.tiles)
        pixels = cv2.resize(
            read_image(self.pictures[number]), self.SIZE, interpolation=cv2.INTER_AREA
        )
        top, left = (self.TILE * step for step in divmod(place, self.columns))
        tile = pixels[top : top + self.TILE, left : left + self.TILE]
        blurred = cv2.GaussianBlur(tile, (0, 0), float(rng.choice(self.SIGMAS)))
        images = [
            to_tensor(cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA))
            for image in (blurred, tile)
        ]
        blurry, sharp = self.vary(images, self.size, rng)
        return {"blurry": blurry, "sharp": sharp, "name": f"{self.pictures[number].stem}_{place}"}


def _saturated(image: Tensor, factor: float) -> Tensor:
    """The image [3,H,W] with the saturation of HSV times a factor, clipped."""
    hsv = cv2.cvtColor(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2HSV)
    hsv[..., 1] = (hsv[..., 1] * factor).clip(0, 1)
    return torch.from_numpy(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)).permute(2, 0, 1).contiguous()


def _corners(picture: Picture, tile: int, step: int) -> list[tuple[int, int]]:
    """Top left corners of a picture's tiles; the last ones of a row and a column end at its
    border.
    """
    if not tile:
        return [(0, 0)]
    starts = [
        sorted({*range(0, max(side - tile, 0) + 1, step), max(side - tile, 0)})
        for side in image_size(picture.blurry)
    ]
    return [(top, left) for top in starts[0] for left in starts[1]]
