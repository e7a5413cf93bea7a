"""How well is the length of blur measured, and what was the shipped network fitted on?

    python -m benchmarks.blur_length --data_path SHARP_PICTURES [--pairs 100]
    python -m benchmarks.blur_length --data_path SHARP_PICTURES --fit OUT.safetensors [--steps 4400]

Without --fit: pictures are blurred by kernels of a known length and measured as a whole; printed
are Spearman's rank correlation and the measured lengths for ranges of the true one. With --fit:
trains models/blur_length.py on parts of the pictures and on drawn text, lines and stars, in some of
which an ellipse has another blur; some are out of focus, noisy or compressed. Its loss is the
logarithm of Laplace's distribution.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.timing import append
from data.photo_catalog import find_sharp
from data.synthesis.blend import correlate
from data.synthesis.camera import NO_RESPONSE, STANDARD
from data.synthesis.kernels import random_kernel
from data.synthesis.pair import PairSettings, make_pair, to_file
from models.blur_length import MAX_LENGTH, MIN_LENGTH, STRIDE, BlurLength, kernel_length
from restoration.blur import measure
from utils.checkpoint import save_weights
from utils.evaluation.tables import format_table
from utils.image import read_image, to_8bit, to_tensor
from utils.progress import Progress

SIDE = 160  # px of a training part
KERNEL = 65  # px
BATCH = 24
FRESH = 8  # of a batch; the rest was seen before
KEPT = 1500  # samples
RANGES = (0, 1, 4, 8, 16, 32, 64)  # px


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_path", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--fit", type=Path)
    parser.add_argument("--steps", type=int, default=4400)
    options = parser.parse_args()
    paths = find_sharp(options.data_path)
    if options.fit:
        network = fit([read_image(path) for path in paths], options.steps)
        save_weights(options.fit, network, "blur_length", {}, "image_deblur")
    else:
        compare(paths, options.pairs)


def compare(paths: Sequence[Path], count: int) -> None:
    """Print and keep measured and true lengths of whole pictures."""
    rng = np.random.default_rng(5)
    true = []
    measured = []
    for index in Progress(range(count)):
        length = 2 ** rng.uniform(0, 5.8)
        kernel = random_kernel(rng, 2 * int(length) + 5, length=length)
        if index % 8 == 0:
            kernel = np.pad([[1.0]], 2)
        picture = read_image(paths[index % len(paths)])
        settings = PairSettings(response=(STANDARD, NO_RESPONSE)[index % 2])
        masks = np.zeros((0, *picture.shape[:2]), np.float32)
        pair = make_pair(picture, masks, np.float32(kernel)[None], rng, settings)
        true.append(max(kernel_length(kernel), MIN_LENGTH))
        measured.append(measure(to_tensor(to_file(pair.blurry))).typical)
    correlation = float(spearmanr(true, measured).statistic)
    rows = [{"true, px": "all", "pictures": count, "Spearman": correlation}]
    table = [["true, px", "pictures", "measured: 10 %", "median", "90 %"]]
    for low, high in zip(RANGES, RANGES[1:]):
        found = [got for length, got in zip(true, measured) if low < length <= high]
        if found:
            figures = [f"{value:.1f}" for value in np.quantile(found, (0.1, 0.5, 0.9))]
            table.append([f"{low}-{high}", str(len(found)), *figures])
            rows.append(dict(zip(table[0], table[-1])))
    print(format_table(table))
    print(f"Spearman {correlation:.3f} of {count} pictures")
    append("measured length of blur against the true one", "cpu", rows)


def fit(pictures: Sequence[np.ndarray], steps: int) -> BlurLength:
    """A network trained on parts of the pictures; the mean of its weights over the last steps."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    network = BlurLength()
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-4)
    average = {key: value.clone() for key, value in network.state_dict().items()}
    kept: list[tuple[Tensor, Tensor]] = []
    for step in Progress(range(steps)):
        rate = 1.5e-3 * min(1, (step + 1) / 50) * (1 + math.cos(math.pi * step / steps))
        optimiser.param_groups[0]["lr"] = rate
        batch = [sample(pictures, rng) for _ in range(FRESH)]
        kept = (kept + batch)[-KEPT:]
        batch += [kept[index] for index in rng.integers(len(kept), size=BATCH - FRESH)]
        images, lengths = map(torch.stack, zip(*batch))
        found, spread = network(images)
        loss = ((found - lengths).abs() * torch.exp(-spread) + spread).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        decay = min(0.995, step / (step + 10))
        for key, value in network.state_dict().items():
            average[key].lerp_(value, 1 - decay)
    network.load_state_dict(average)
    return network


def sample(pictures: Sequence[np.ndarray], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(image [3,SIDE,SIDE], log2 of the lengths [h,w]) of a random part of a random picture."""
    picture = drawing(rng) if rng.random() < 0.17 else pictures[rng.integers(len(pictures))]
    shrinks = rng.random() < 0.4  # after the blur, as the levels of a pyramid are
    needed = SIDE * (1 + shrinks) + KERNEL - 1
    zoom = 2 ** (rng.uniform(0, 1.2) if shrinks else rng.uniform(-0.8, 1))
    part = _part(picture, needed, zoom, rng)
    if rng.random() < 0.15:  # out of focus
        part = cv2.GaussianBlur(part, (0, 0), rng.uniform(0.5, 3))
    response = STANDARD if rng.random() < 0.6 else NO_RESPONSE
    linear = response.linear(part) * np.float32(1 + 2 * (rng.random() < 0.2) * rng.random())
    scene = torch.from_numpy(np.ascontiguousarray(linear.transpose(2, 0, 1)))
    blurry, lengths = _blurred(scene, rng)
    encoded = response.encoded(blurry.permute(1, 2, 0).numpy())
    image = torch.from_numpy(encoded).permute(2, 0, 1)
    if shrinks:
        lengths = F.avg_pool2d(lengths[None], 2)[0] - 1
        image = F.avg_pool2d(image, 2)
    lengths = F.avg_pool2d(lengths[None], STRIDE)[0]
    lengths = lengths.clamp(math.log2(MIN_LENGTH), math.log2(MAX_LENGTH))
    return _degraded(image, rng), lengths


def drawing(rng: np.random.Generator, side: int = 640) -> np.ndarray:
    """Text, lines or stars, pixels [side,side,3]."""
    kind = ("text", "lines", "stars")[rng.choice(3, p=(0.5, 0.25, 0.25))]
    paper = rng.integers(0, 25 if kind == "stars" else 256, 3)
    picture = np.full((side, side, 3), paper, np.uint8)
    height = 2 ** rng.uniform(3, 6)  # of the letters, px
    for index in range(int(side / height / 1.6) if kind == "text" else int(rng.integers(20, 300))):
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        first, second = rng.integers(0, side, (2, 2)).tolist()
        if kind == "text":
            words = "".join(map(chr, rng.integers(33, 122, 60)))
            row = (first[0] - side // 2, int(1.6 * height * (index + 1)))
            font = int(rng.integers(0, 8))
            cv2.putText(picture, words, row, font, height / 22, colour, 1 + int(height / 14))
        elif kind == "lines":
            cv2.line(picture, first, second, colour, int(rng.integers(1, 6)), cv2.LINE_AA)
        else:
            cv2.circle(picture, first, int(rng.integers(0, 3)), colour, -1, cv2.LINE_AA)
    return picture


def _part(picture: np.ndarray, side: int, zoom: float, rng: np.random.Generator) -> np.ndarray:
    """A random part of a picture at a zoom, [side,side,3], perhaps mirrored and turned."""
    taken = min(math.ceil(side / zoom), *picture.shape[:2])
    top, left = (int(rng.integers(length - taken + 1)) for length in picture.shape[:2])
    part = picture[top : top + taken, left : left + taken]
    way = cv2.INTER_AREA if taken > side else cv2.INTER_CUBIC
    part = cv2.resize(part, (side, side), interpolation=way)
    return np.ascontiguousarray(np.rot90(part, rng.integers(4))[:, :: rng.choice((1, -1))])


def _blurred(scene: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(a scene [3,H,W] blurred, log2 of the lengths [H,W]), less the kernel's margin."""
    blurry, lengths = _by_one_kernel(scene, rng)
    if rng.random() < 0.65:
        return blurry, lengths
    other, other_lengths = _by_one_kernel(scene, rng)
    side = lengths.shape[-1]
    mask = np.zeros((side, side), np.float32)
    centre = rng.integers(0, side, 2).tolist()
    axes = rng.integers(side // 5, side // 2, 2).tolist()
    cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    soft = cv2.GaussianBlur(mask, (0, 0), max(1.0, 2 ** float(other_lengths[0, 0]) / 4))
    blurry = torch.lerp(blurry, other, torch.from_numpy(soft))
    return blurry, torch.where(torch.from_numpy(soft) > 0.5, other_lengths, lengths)


def _by_one_kernel(scene: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    kernel = random_kernel(rng, KERNEL, length=2 ** rng.uniform(0.5, 5.6))
    if rng.random() < 0.2:
        kernel = np.pad([[1.0]], KERNEL // 2)
    blurry = correlate(scene, torch.from_numpy(np.float32(kernel)))
    length = math.log2(max(kernel_length(kernel), MIN_LENGTH))
    return blurry, torch.full(blurry.shape[-2:], length)


def _degraded(image: Tensor, rng: np.random.Generator) -> Tensor:
    """An image with noise, less light or JPEG's traces, 8-bit."""
    if rng.random() < 0.5:
        image = image + torch.from_numpy(rng.normal(0, rng.uniform(0, 0.03), image.shape)).float()
    if rng.random() < 0.3:
        image = image * rng.uniform(0.2, 1)
    pixels = to_8bit(image)
    if rng.random() < 0.4:
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 96))])
        pixels = cv2.imdecode(data[1], cv2.IMREAD_COLOR)
    return to_tensor(pixels)


if __name__ == "__main__":
    main()
