"""Sequences as tensors: whole ones, and training patches with one draw of everything for the blurry
picture and its seven moments.
"""

from collections.abc import Sequence as Many

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as transform

from data.sequences import Sequence, read_box
from utils.errors import UserError
from utils.image import read_image, to_tensor
from utils.options import SequenceAugmentation

BOX_SIZE = (192, 160)  # height, width that a person's crop is brought to; in training 192x192
# most of the way from the box to the picture's border that a side moves outward; half of it outside
# training
BOX_MARGIN = 0.1
SHARES = {"affine": 0.6, "jitter": 0.6, "noise": 0.4}  # of the samples that are so changed
SHIFT, ANGLE_DEG, SHEAR_DEG = 0.05, 5.0, 7.0
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.3, 0.2, 0.2
NOISE_VARIANCE_8BIT = (10.0, 50.0)
FLICKER_GAIN, FLICKER_OFFSET = 0.25, 0.1


class SequencePatches(Dataset):
    """Training patches {blurry [3,S,S], frames [7,3,S,S], id, order}, RGB in [0,1]; an item depends
    only on (seed, epoch, index).

    augment: affine (black outside), jitter (of colours), noise (the same on all eight), as
    published; turn: also flipped and transposed; flicker: every colour of every moment gets a gain
    and an offset of its own, so that the order can't be told from bright or dark things that enter
    or leave the picture, only from motion. Pictures with a person's box become the box, resized to
    192x192, neither cropped nor noisy. Raises UserError for smaller pictures.
    """

    def __init__(
        self, sequences: Many[Sequence], size: int, seed: int, augment: Many[SequenceAugmentation]
    ):
        self.sequences, self.size, self.seed, self.augment = sequences, size, seed, augment
        boxed = sum(sequence.box is not None for sequence in sequences)
        if 0 < boxed < len(sequences) and size != BOX_SIZE[0]:
            raise UserError(
                f"{boxed} of {len(sequences)} sequences have a box and become {BOX_SIZE[0]} px, "
                f"the others {size} px: "
                f"they fit into one batch with --image_size {BOX_SIZE[0]} alone"
            )

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        sequence = self.sequences[index]
        pictures = read_pictures(sequence, rng)
        if sequence.box:
            pictures = around_box(
                pictures,
                read_box(sequence.box),
                rng.uniform(0, BOX_MARGIN),
                (BOX_SIZE[0], BOX_SIZE[0]),
            )
        size = BOX_SIZE[0] if sequence.box else self.size
        drawn = {
            name for name, share in SHARES.items() if rng.random() < share and name in self.augment
        }
        images = torch.stack(
            [
                to_tensor(picture)
                for picture in _window(pictures, size, "affine" in drawn, rng, sequence)
            ]
        )
        if "turn" in self.augment:
            mirrored, flipped, transposed = rng.random(3) < 0.5
            images = images.flip(
                [axis for axis, wanted in ((-1, mirrored), (-2, flipped)) if wanted]
            )
            images = images.transpose(-1, -2) if transposed else images
        if "jitter" in drawn:
            images = jittered(images, rng)
        if "noise" in drawn and not sequence.box:
            deviation = np.sqrt(rng.uniform(*NOISE_VARIANCE_8BIT)) / 255
            noise = torch.from_numpy(rng.normal(0, deviation, images.shape[1:]).astype(np.float32))
            images = (images + noise).clamp(0, 1)
        if "flicker" in self.augment:
            gain, offset = (
                rng.uniform(-most, most, (len(images) - 1, 3, 1, 1))
                for most in (FLICKER_GAIN, FLICKER_OFFSET)
            )
            images[1:] = (
                images[1:] * torch.from_numpy(1 + gain).float() + torch.from_numpy(offset).float()
            ).clamp(0, 1)
        images = images.contiguous()
        return {
            "blurry": images[0],
            "frames": images[1:],
            "id": sequence.id,
            "order": sequence.order,
        }


class WholeSequences(Dataset):
    """Items {blurry [3,H,W], frames [7,3,H,W], sequence} of whole_sequence."""

    def __init__(self, sequences: Many[Sequence], stored: bool = False):
        self.sequences, self.stored = sequences, stored

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> dict:
        blurry, frames = whole_sequence(self.sequences[index], self.stored)
        return {"blurry": blurry, "frames": frames, "sequence": self.sequences[index]}


def whole_sequence(sequence: Sequence, stored: bool = False) -> tuple[Tensor, Tensor]:
    """(blurry [3,H,W], frames [7,3,H,W]) of a sequence, RGB in [0,1], without any chance: a random
    order is drawn from its name.

    stored: the frames as they are stored, whatever the order says.
    """
    rng = None if stored else np.random.default_rng(list(sequence.id.encode()))
    pictures = read_pictures(sequence, rng)
    if sequence.box:
        pictures = around_box(pictures, read_box(sequence.box), BOX_MARGIN / 2, BOX_SIZE)
    images = torch.stack([to_tensor(picture) for picture in pictures])
    return images[0], images[1:]


def read_pictures(sequence: Sequence, rng: np.random.Generator | None) -> list[np.ndarray]:
    """The blurry picture and the seven moments [H,W,3], in the sequence's order; rng draws a random
    one, None: as stored.
    """
    reverse = rng is not None and (
        sequence.order == "reverse" or (sequence.order == "random" and rng.random() < 0.5)
    )
    frames = sequence.frames[::-1] if reverse else sequence.frames
    pictures = [read_image(path) for path in (sequence.blurry, *frames)]
    for path, picture in zip(frames, pictures[1:]):
        if picture.shape != pictures[0].shape:
            size, other = (f"{image.shape[1]}x{image.shape[0]}" for image in (pictures[0], picture))
            raise UserError(f"{sequence.blurry} is {size}, but its moment {path} {other}")
    return pictures


def around_box(
    pictures: list[np.ndarray], box: np.ndarray, share: float, size: tuple[int, int]
) -> list[np.ndarray]:
    """The pictures cut to a box (x_min, y_min, x_max, y_max), each side of which is moved outward
    by a share of its way to the border.

    Corners are truncated to integers, the crop is resized to (height, width) by area averaging.
    """
    height, width = pictures[0].shape[:2]
    left, top, right, bottom = box
    left, top = (max(int(side * (1 - share)), 0) for side in (left, top))
    right, bottom = (
        min(int(side + (length - side) * share), length)
        for side, length in ((right, width), (bottom, height))
    )
    if right <= left or bottom <= top:
        raise UserError(f"the box {box.tolist()} lies outside its picture of {width}x{height}")
    return [
        cv2.resize(picture[top:bottom, left:right], size[::-1], interpolation=cv2.INTER_AREA)
        for picture in pictures
    ]


def jittered(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Images [N,3,H,W] with brightness, contrast (about the mean of all), saturation and hue
    changed alike.
    """
    brightness, contrast, saturation = (
        1 + rng.uniform(-most, most) for most in (BRIGHTNESS, CONTRAST, SATURATION)
    )
    images = (images * brightness).clamp(0, 1)
    mean = transform.rgb_to_grayscale(images).mean()
    images = (mean + (images - mean) * contrast).clamp(0, 1)
    return transform.adjust_hue(
        transform.adjust_saturation(images, saturation), rng.uniform(-HUE, HUE)
    )


def _window(
    pictures: list[np.ndarray],
    size: int,
    affine: bool,
    rng: np.random.Generator,
    sequence: Sequence,
) -> list[np.ndarray]:
    """The same random `size` x `size` window of all pictures, of their affinely moved versions if
    wanted.
    """
    height, width = pictures[0].shape[:2]
    if min(height, width) < size:
        raise UserError(f"{sequence.blurry} is {width}x{height}: lower --image_size {size}")
    top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    if not affine:
        return [
            np.ascontiguousarray(picture[top : top + size, left : left + size])
            for picture in pictures
        ]
    matrix = _random_affine(rng, height, width) @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return [cv2.warpAffine(picture, matrix[:2], (size, size), flags=flags) for picture in pictures]


def _random_affine(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Matrix [3,3] from a moved picture's pixels to the picture's: shift, rotation about the
    centre, shear.
    """
    angle, *shears = np.radians(
        [rng.uniform(-ANGLE_DEG, ANGLE_DEG), *rng.uniform(-SHEAR_DEG, SHEAR_DEG, 2)]
    )
    shift = rng.uniform(-SHIFT, SHIFT, 2) * (width, height)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1, np.tan(shears[0])], [np.tan(shears[1]), 1]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, centre + shift - linear @ centre
    return matrix
