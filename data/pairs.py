"""Training patches of pairs on disk, or of sharp pictures and Gaussians, and how they vary."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from data.augment import Patch, crop_and_turn, draw_patch
from data.compression import jpeg
from data.photo_catalog import Picture, find_sharp
from data.pixel_file import PixelCache
from utils.errors import UserError
from utils.image import image_size, in_8bit, read_image, to_tensor

NOISE_8BIT = 2.0  # standard deviation of the noise's standard deviation, grey levels (DeepDeblur)
JPEG_QUALITY = 95


class FolderPairs(Dataset):
    """Patches {blurry [3,S,S], sharp [3,S,S], name}, RGB in [0,1].

    An item depends only on (seed, epoch, index). tile, step: the pictures are taken apart into
    tiles of `tile` px every `step` px first and an item is a patch of a tile, so that large
    pictures count more, as in the published recipes of Restormer and NAFNet; tile 0: an item is a
    patch of a picture. cache: where the pixels are read instead of the files; the items are the
    same. crop: the patch is drawn from a random crop of this side, as Restormer's program does, so
    that a tile's middle is seen more often than its border; 0: from the whole tile or picture.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        size: int,
        seed: int,
        vary: "Variation",
        tile: int = 0,
        step: int = 256,
        cache: PixelCache | None = None,
        crop: int = 0,
    ):
        self.cache = cache
        self.crop = crop
        self.read = cache.picture if cache else read_image
        size_of = cache.size if cache else image_size
        self.pictures = pictures
        self.size = size
        self.seed = seed
        self.vary = vary
        self.tile = tile
        self.items = []  # (picture's index, (top, left) of the tile)
        for index, picture in enumerate(pictures):
            corners = [(0, 0)]
            if tile:
                corners = _corners(size_of(picture.blurry), tile, step)
            self.items += [(index, corner) for corner in corners]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        picture_index, (top, left) = self.items[index]
        picture = self.pictures[picture_index]
        blurry = self.read(picture.blurry)
        sharp = self.read(picture.sharp)
        height, width = blurry.shape[:2]
        if blurry.shape != sharp.shape:
            raise UserError(f"{picture.blurry} is {width}x{height}, {picture.sharp} another size")
        what = str(picture.blurry)
        if self.tile:
            height = min(self.tile, height - top)
            width = min(self.tile, width - left)
            what += " in tiles"
        if min(height, width) < self.size:
            raise UserError(f"{what} is {width}x{height}: lower --patch_size {self.size}")
        if self.crop:
            side = max(min(self.crop, height, width), self.size)
            top += int(rng.integers(height - side + 1))
            left += int(rng.integers(width - side + 1))
            height = width = side
        patch = self.vary.draw_patch(height, width, self.size, rng)
        patch = replace(patch, top=top + patch.top, left=left + patch.left)
        images = [patch.of_pixels(blurry), patch.of_pixels(sharp)]
        blurry, sharp = self.vary.recolour(images, rng)
        return {"blurry": blurry, "sharp": sharp, "name": picture.name}


@dataclass(frozen=True)
class Variation:
    """A random patch of a pair, changed at random.

    turn: left-right, up-down, transposed; mirror: left-right alone (each with probability 0.5).
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
        mirror = self.mirror or self.turn
        return self.recolour(crop_and_turn(images, size, rng, mirror, self.turn), rng)

    def draw_patch(self, height: int, width: int, size: int, rng: np.random.Generator) -> Patch:
        """Where a patch of images of height x width px lies, and how it is turned."""
        return draw_patch(height, width, size, rng, self.mirror or self.turn, self.turn)

    def recolour(self, patches: list[Tensor], rng: np.random.Generator) -> list[Tensor]:
        """The patches [blurry, sharp] with other colours and noise."""
        blurry, sharp = patches
        if self.colour:
            order = torch.from_numpy(rng.permutation(3))
            factor = rng.uniform(0.5, 1.5)
            blurry = _saturated(blurry[order], factor)
            sharp = _saturated(sharp[order], factor)
        if self.noise:
            deviation = abs(rng.normal(0, NOISE_8BIT)) / 255
            noise = rng.normal(0, deviation, blurry.shape).astype(np.float32)
            blurry = (blurry + torch.from_numpy(noise)).clamp(0, 1)
        return [blurry, sharp]


class NoBlurPairs(Dataset):
    """Tiles of sharp pictures blurred by one of six Gaussians, as for the No-Blur U-Net.

    Pictures at 800x600 are cut into 12 tiles of 200x200, all of a picture are blurred by the same
    Gaussian, kept as JPEG and resized to `size` px (published 128), always bilinearly. A picture's
    Gaussian depends only on (seed, picture): the published program draws it once, when it writes
    the tiles. The JPEG quality is OpenCV's default, as none was published.
    """

    SIZE = (800, 600)  # width, height
    TILE = 200
    # (side of the kernel, sigma), px; sigma 0: OpenCV's choice for the side
    GAUSSIANS = ((5, 5.0), (9, 0.0), (3, 20.0), (5, 0.0), (3, 20.0), (11, 0.0))

    def __init__(self, folder: Path, size: int, seed: int, vary: Variation):
        self.pictures = find_sharp(folder, training=True)
        self.size = size
        self.seed = seed
        self.vary = vary
        self.columns = self.SIZE[0] // self.TILE
        self.tiles = self.columns * (self.SIZE[1] // self.TILE)

    def __len__(self) -> int:
        return len(self.pictures) * self.tiles

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        picture_index, tile_index = divmod(index, self.tiles)
        path = self.pictures[picture_index]
        pixels = cv2.resize(in_8bit(read_image(path)), self.SIZE, interpolation=cv2.INTER_LINEAR)
        row, column = divmod(tile_index, self.columns)
        top = row * self.TILE
        left = column * self.TILE
        tile = pixels[top : top + self.TILE, left : left + self.TILE]
        side, sigma = self._gaussian(picture_index)
        images = [
            self._kept(image) for image in (cv2.GaussianBlur(tile, (side, side), sigma), tile)
        ]
        blurry, sharp = self.vary(images, self.size, rng)
        return {"blurry": blurry, "sharp": sharp, "name": f"{path.stem}_{tile_index}"}

    def _gaussian(self, picture: int) -> tuple[int, float]:
        """(side, sigma) for all tiles of a picture."""
        rng = np.random.default_rng((self.seed, picture))
        return self.GAUSSIANS[int(rng.integers(len(self.GAUSSIANS)))]

    def _kept(self, tile: np.ndarray) -> Tensor:
        """A tile after its JPEG file, resized."""
        kept = jpeg(tile, JPEG_QUALITY)
        return to_tensor(cv2.resize(kept, (self.size, self.size), interpolation=cv2.INTER_LINEAR))


def _saturated(image: Tensor, factor: float) -> Tensor:
    """The image [3,H,W] with the saturation of HSV times a factor.

    Clipped as RGB: a saturation above 1 sends the weaker colours below 0 (Nah et al.).
    """
    hsv = cv2.cvtColor(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2HSV)
    hsv[..., 1] *= factor
    saturated = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).clip(0, 1)
    return torch.from_numpy(saturated).permute(2, 0, 1).contiguous()


def _corners(size: tuple[int, int], tile: int, step: int) -> list[tuple[int, int]]:
    """Top left corners of the tiles of a picture of a size (height, width), row by row.

    The last ones of a row and a column end at its border.
    """
    height, width = size
    return list(itertools.product(_starts(height, tile, step), _starts(width, tile, step)))


def _starts(length: int, tile: int, step: int) -> list[int]:
    last = max(length - tile, 0)
    return sorted({*range(0, last + 1, step), last})
