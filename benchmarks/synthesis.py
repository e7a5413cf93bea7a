"""How fast are blurry pairs made?

    python -m benchmarks.synthesis [--device cuda]

Against the published routine's way: SciPy's fftconvolve per kernel, mask and channel. 1280x720,
background and two objects, 65x65 kernels.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.signal import fftconvolve

from benchmarks.timing import append, median_s
from data.synthesis.blend import blend
from data.synthesis.camera import Response
from data.synthesis.kernels import random_kernel
from data.synthesis.pair import make_pair, to_file
from data.synthesis.realism import Realism, developed_pair, side_needed
from utils.image import write_image

HEIGHT, WIDTH, SIZE = 720, 1280, 65


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    device = arguments.device
    repeats = arguments.repeats
    rng = np.random.default_rng(0)
    picture, masks, kernels = scene(rng)
    theirs = plain_pair(picture, masks, kernels)
    ours = make_pair(picture, masks, kernels, rng).blurry
    difference = float(np.abs(theirs - ours).max() * 255)
    plain = median_s(partial(plain_pair, picture, masks, kernels), max(repeats // 2, 3))
    whole = median_s(partial(make_pair, picture, masks, kernels, rng), repeats)
    parts = parts_of_a_pair(picture, masks, kernels, ours, device, repeats)
    with_files = whole + parts["writing two PNG files"]
    print(
        f"plain {plain * 1000:.0f} ms, ours {whole * 1000:.0f} ms: {plain / whole:.1f} times as "
        "fast"
    )
    print(f"largest difference {difference:.3f}/255")
    for name, seconds in parts.items():
        print(f"  {name}: {seconds * 1000:.0f} ms")
    print(
        f"pairs per second: {1 / whole:.1f}, with files {1 / with_files:.1f}; "
        f"{torch.get_num_threads()} threads"
    )
    figures = {
        "plain_s": plain,
        "ours_s": whole,
        "ratio": plain / whole,
        "difference_8bit": difference,
        "pairs_per_s": 1 / whole,
        "pairs_per_s_with_files": 1 / with_files,
    }
    append("synthesis of a 1280x720 pair", device, [figures | parts])
    _realistic(rng)


def _realistic(rng: np.random.Generator, size: int = 256, pairs: int = 40) -> None:
    """CPU time of pairs as cameras take them (data/synthesis/realism.py), without reading files."""
    side = side_needed(size)
    pictures = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(2)]
    start = time.process_time()
    for _ in range(pairs):
        developed_pair(rng, *pictures, size, Realism())
    each = (time.process_time() - start) / pairs
    print(f"realistic pairs of {size} px: {each * 1000:.0f} ms, {1 / each:.0f} per second and core")
    append(f"realistic pairs of {size} px", "cpu", [{"cpu_s": each}])


def parts_of_a_pair(
    picture: np.ndarray,
    masks: np.ndarray,
    kernels: np.ndarray,
    blurry: np.ndarray,
    device: str,
    repeats: int,
) -> dict[str, float]:
    """Median seconds of the steps of our way, by name; `blurry` is its result."""
    linear = Response().linear(picture)
    planes = torch.from_numpy(np.ascontiguousarray(linear.transpose(2, 0, 1))).to(device)
    blurs, covers = (torch.from_numpy(np.float32(array)).to(device) for array in (kernels, masks))
    seconds = {
        "linear light (table)": median_s(partial(Response().linear, picture), repeats),
        f"blurring and blending on {device}": median_s(
            partial(blend, planes, blurs, covers), repeats, device
        ),
        "encoding": median_s(partial(Response().encoded, blurry), repeats),
    }
    with tempfile.TemporaryDirectory() as folder:
        writing = partial(write_image, Path(folder, "blurry.png"), to_file(blurry))
        seconds["writing two PNG files"] = 2 * median_s(writing, repeats)
    return seconds


def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture, two objects that cover a tenth of it together, and three kernels."""
    picture = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    masks = np.zeros((2, HEIGHT, WIDTH))
    masks[0, 200:500, 300:460] = 1
    masks[1, 350:600, 800:980] = 1
    kernels = [random_kernel(rng, SIZE, kind) for kind in ("tremor", "linear", "walk")]
    return picture, masks, np.stack(kernels)


def plain_pair(picture: np.ndarray, masks: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """The blurry picture the straightforward way, in double precision."""
    linear = (picture / 255.0) ** 2.2
    layers = np.concatenate([1 - masks.max(0, keepdims=True), masks])
    smooth = [_blurred(layer, kernel) for layer, kernel in zip(layers, kernels)]
    weights = np.stack(smooth)
    weights /= weights.sum(0) + 1e-6
    blurred = 0.0
    for weight, kernel in zip(weights, kernels):
        channels = [_blurred(linear[..., channel], kernel) for channel in range(3)]
        blurred = blurred + weight[..., None] * np.stack(channels, -1)
    return blurred.clip(0, 1) ** (1 / 2.2)


def _blurred(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return fftconvolve(plane, kernel[::-1, ::-1], mode="valid")


if __name__ == "__main__":
    main()
