"""Sequences as tensors: whole ones, and training patches with one draw of everything.

A draw holds for the blurry picture and its seven sharp frames alike.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from data.sequences import FrameSequence, read_box
from utils.errors import UserError
from utils.image import read_image, to_tensor
from utils.options import SequenceAugmentation

BOX_SIZE = (192, 160)  # height, width that a person's crop is resized to; in training 192x192
# A side of the box moves outward by at most this fraction of its way to the picture's border in
# training, by half of it elsewhere.
BOX_MARGIN = 0.1
PROBABILITIES = {"affine": 0.6, "jitter": 0.6, "noise": 0.4}
SHIFT = 0.05  # of the picture's sides
ANGLE_DEG = 5.0
SHEAR_DEG = 7.0
BRIGHTNESS = 0.4
CONTRAST = 0.3
SATURATION = 0.2
HUE = 0.2
NOISE_VARIANCE_8BIT = (10.0, 50.0)
FLICKER_GAIN = 0.25
FLICKER_OFFSET = 0.1


class SequencePatches(Dataset):
    """Training patches {blurry [3,S,S], frames [7,3,S,S], id, order}, RGB in [0,1].

    An item depends only on (seed, epoch, index). augment: affine (black outside), jitter (of
    colours), noise (the same on all eight), as published; turn: also flipped and transposed;
    flicker: every colour of every sharp frame gets a gain and an offset of its own, so that the
    order can't be told from bright or dark things that enter or leave the picture, only from
    motion. Pictures with a person's box become the box, resized to 192x192, neither cropped nor
    noisy. Raises UserError for smaller pictures.
    """

    def __init__(
        self,
        sequences: Sequence[FrameSequence],
        size: int,
        seed: int,
        augment: Sequence[SequenceAugmentation],
    ):
        self.sequences = sequences
        self.size = size
        self.seed = seed
        self.augment = augment
        boxed = sum(sequence.box is not None for sequence in sequences)
        if 0 < boxed < len(sequences) and size != BOX_SIZE[0]:
            raise UserError(
                f"{boxed} of {len(sequences)} sequences have a box and become {BOX_SIZE[0]} px, "
                f"the others {size} px: they fit into one batch with --image_size {BOX_SIZE[0]} "
                "alone"
            )

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        sequence = self.sequences[index]
        pictures = read_pictures(sequence, rng)
        size = self.size
        if sequence.box:
            size = BOX_SIZE[0]
            margin = rng.uniform(0, BOX_MARGIN)
            pictures = around_box(pictures, read_box(sequence.box), margin, (size, size))
        drawn = {
            name
            for name, probability in PROBABILITIES.items()
            if rng.random() < probability and name in self.augment
        }
        windows = _window(pictures, size, "affine" in drawn, rng, sequence)
        images = torch.stack([to_tensor(window) for window in windows])  # [8,3,S,S]
        if "turn" in self.augment:
            images = _turned(images, rng)
        if "jitter" in drawn:
            images = jittered(images, rng)
        if "noise" in drawn and not sequence.box:
            images = _noisy(images, rng)
        if "flicker" in self.augment:
            images = torch.cat([images[:1], _flickering(images[1:], rng)])
        images = images.contiguous()
        return {
            "blurry": images[0],
            "frames": images[1:],
            "id": sequence.id,
            "order": sequence.order,
        }


class WholeSequences(Dataset):
    """Items {blurry [3,H,W], frames [7,3,H,W], sequence} of whole_sequence."""

    def __init__(self, sequences: Sequence[FrameSequence], stored: bool = False):
        self.sequences = sequences
        self.stored = stored

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> dict:
        blurry, frames = whole_sequence(self.sequences[index], self.stored)
        return {"blurry": blurry, "frames": frames, "sequence": self.sequences[index]}


def whole_sequence(sequence: FrameSequence, stored: bool = False) -> tuple[Tensor, Tensor]:
    """(blurry [3,H,W], frames [7,3,H,W]) of a sequence, RGB in [0,1], without randomness.

    A random order is drawn from the sequence's name. stored: the frames as they are stored,
    whatever the order says.
    """
    rng = None
    if not stored:
        rng = np.random.default_rng(list(sequence.id.encode()))
    pictures = read_pictures(sequence, rng)
    if sequence.box:
        pictures = around_box(pictures, read_box(sequence.box), BOX_MARGIN / 2, BOX_SIZE)
    images = torch.stack([to_tensor(picture) for picture in pictures])
    return images[0], images[1:]


def read_pictures(sequence: FrameSequence, rng: np.random.Generator | None) -> list[np.ndarray]:
    """The blurry picture and the seven sharp frames [H,W,3] in the sequence's order.

    rng draws a random order; None: the frames as stored. Raises UserError for frames of another
    size than the blurry picture's.
    """
    frames = sequence.frames
    if rng is not None and _is_reversed(sequence.order, rng):
        frames = frames[::-1]
    blurry = read_image(sequence.blurry)
    height, width = blurry.shape[:2]
    pictures = [blurry]
    for path in frames:
        frame = read_image(path)
        if frame.shape != blurry.shape:
            raise UserError(
                f"{sequence.blurry} is {width}x{height}, but its sharp frame {path} "
                f"{frame.shape[1]}x{frame.shape[0]}"
            )
        pictures.append(frame)
    return pictures


def around_box(
    pictures: list[np.ndarray], box: np.ndarray, margin: float, size: tuple[int, int]
) -> list[np.ndarray]:
    """The pictures cut to a box (x_min, y_min, x_max, y_max) with a margin around it.

    margin: fraction of its way to the border by which each side is moved outward. Corners are
    truncated to integers, the crop is resized to (height, width) by area averaging.
    """
    height, width = pictures[0].shape[:2]
    x_min, y_min, x_max, y_max = box
    left = max(int(x_min * (1 - margin)), 0)
    top = max(int(y_min * (1 - margin)), 0)
    right = min(int(x_max + (width - x_max) * margin), width)
    bottom = min(int(y_max + (height - y_max) * margin), height)
    if right <= left or bottom <= top:
        raise UserError(f"the box {box.tolist()} lies outside its picture of {width}x{height}")
    return [
        cv2.resize(picture[top:bottom, left:right], size[::-1], interpolation=cv2.INTER_AREA)
        for picture in pictures
    ]


def jittered(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Images [N,3,H,W] with brightness, contrast, saturation and hue changed alike.

    The four changes come in random order. Contrast is changed about the mean of all images.
    """
    from torchvision.transforms.v2 import functional as transform  # a second to import

    brightness = 1 + rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    contrast = 1 + rng.uniform(-CONTRAST, CONTRAST)
    saturation = 1 + rng.uniform(-SATURATION, SATURATION)
    hue = rng.uniform(-HUE, HUE)
    changes = (
        (transform.adjust_brightness, brightness),
        (_contrasted, contrast),
        (transform.adjust_saturation, saturation),
        (transform.adjust_hue, hue),
    )
    for index in rng.permutation(len(changes)):
        change, amount = changes[index]
        images = change(images, amount)
    return images


def _contrasted(images: Tensor, contrast: float) -> Tensor:
    """The images [N,3,H,W] with their distances to the mean grey of all times a factor."""
    from torchvision.transforms.v2 import functional as transform

    mean = transform.rgb_to_grayscale(images).mean()
    return (mean + (images - mean) * contrast).clamp(0, 1)


def _is_reversed(order: str, rng: np.random.Generator) -> bool:
    if order == "random":
        return rng.random() < 0.5
    return order == "reverse"


def _turned(images: Tensor, rng: np.random.Generator) -> Tensor:
    """The images mirrored left-right, flipped up-down and transposed, each with probability 0.5."""
    mirrored, flipped, transposed = rng.random(3) < 0.5
    if mirrored:
        images = images.flip(-1)
    if flipped:
        images = images.flip(-2)
    if transposed:
        images = images.transpose(-1, -2)
    return images


def _noisy(images: Tensor, rng: np.random.Generator) -> Tensor:
    """The images [N,3,H,W] with the same Gaussian noise on each."""
    deviation = np.sqrt(rng.uniform(*NOISE_VARIANCE_8BIT)) / 255
    noise = rng.normal(0, deviation, images.shape[1:]).astype(np.float32)
    return (images + torch.from_numpy(noise)).clamp(0, 1)


def _flickering(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """The frames [T,3,H,W] with a gain and an offset per frame and colour."""
    shape = (len(frames), 3, 1, 1)
    gain = 1 + rng.uniform(-FLICKER_GAIN, FLICKER_GAIN, shape)
    offset = rng.uniform(-FLICKER_OFFSET, FLICKER_OFFSET, shape)
    return (frames * torch.from_numpy(gain).float() + torch.from_numpy(offset).float()).clamp(0, 1)


def _window(
    pictures: list[np.ndarray],
    size: int,
    affine: bool,
    rng: np.random.Generator,
    sequence: FrameSequence,
) -> list[np.ndarray]:
    """The same random `size` x `size` window of all pictures; affine: of their moved versions."""
    height, width = pictures[0].shape[:2]
    if min(height, width) < size:
        raise UserError(f"{sequence.blurry} is {width}x{height}: lower --image_size {size}")
    top = int(rng.integers(height - size + 1))
    left = int(rng.integers(width - size + 1))
    if not affine:
        return [
            np.ascontiguousarray(picture[top : top + size, left : left + size])
            for picture in pictures
        ]
    matrix = _random_affine(rng, height, width) @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return [cv2.warpAffine(picture, matrix[:2], (size, size), flags=flags) for picture in pictures]


def _random_affine(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Matrix [3,3] from a moved picture's pixels to the picture's.

    It shifts, rotates about the centre and shears.
    """
    angle = np.radians(rng.uniform(-ANGLE_DEG, ANGLE_DEG))
    shears = np.radians(rng.uniform(-SHEAR_DEG, SHEAR_DEG, 2))
    shift = rng.uniform(-SHIFT, SHIFT, 2) * (width, height)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.array([[1, np.tan(shears[0])], [np.tan(shears[1]), 1]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre + shift - linear @ centre
    return matrix
