"""How fast are blurry pairs made? Against the published routine's way: SciPy's fftconvolve per
kernel, mask and channel.

1280x720, background and two objects, 65x65 kernels. python -m benchmarks.synthesis [--device cuda]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from scipy.signal import fftconvolve

from benchmarks.timing import append, median_s
from data.synthesis.blend import blend
from data.synthesis.camera import Response
from data.synthesis.kernels import random_kernel
from data.synthesis.pair import make_pair, to_file
from utils.image import write_image

HEIGHT, WIDTH, SIZE = 720, 1280, 65


def plain_pair(picture: np.ndarray, masks: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """The blurry picture the straightforward way, in double precision."""
    linear = (picture / 255.0) ** 2.2
    layers = np.concatenate([1 - masks.max(0, keepdims=True), masks])
    smooth = np.stack(
        [
            fftconvolve(layer, kernel[::-1, ::-1], mode="valid")
            for layer, kernel in zip(layers, kernels)
        ]
    )
    smooth /= smooth.sum(0) + 1e-6
    blurred = 0.0
    for weight, kernel in zip(smooth, kernels):
        channels = [
            fftconvolve(linear[..., channel], kernel[::-1, ::-1], mode="valid")
            for channel in range(3)
        ]
        blurred = blurred + weight[..., None] * np.stack(channels, -1)
    return blurred.clip(0, 1) ** (1 / 2.2)


def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture, two objects that cover a tenth of it together, and three kernels."""
    picture = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    masks = np.zeros((2, HEIGHT, WIDTH))
    masks[0, 200:500, 300:460] = masks[1, 350:600, 800:980] = 1
    return (
        picture,
        masks,
        np.stack([random_kernel(rng, SIZE, kind) for kind in ("tremor", "linear", "walk")]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    picture, masks, kernels = scene(rng)
    theirs = plain_pair(picture, masks, kernels)
    ours = make_pair(picture, masks, kernels, rng).blurry
    difference = float(np.abs(theirs - ours).max() * 255)
    plain = median_s(lambda: plain_pair(picture, masks, kernels), max(arguments.repeats // 2, 3))
    whole = median_s(lambda: make_pair(picture, masks, kernels, rng), arguments.repeats)
    linear = Response().linear(picture)
    planes = torch.from_numpy(np.ascontiguousarray(linear.transpose(2, 0, 1))).to(arguments.device)
    tensors = [
        torch.from_numpy(np.float32(array)).to(arguments.device) for array in (kernels, masks)
    ]
    parts = {
        "linear light (table)": median_s(lambda: Response().linear(picture), arguments.repeats),
        f"blurring and blending on {arguments.device}": median_s(
            lambda: blend(planes, *tensors), arguments.repeats, arguments.device
        ),
        "encoding": median_s(lambda: Response().encoded(ours), arguments.repeats),
    }
    with tempfile.TemporaryDirectory() as folder:
        pixels, path = to_file(ours), Path(folder, "blurry.png")
        parts["writing two PNG files"] = 2 * median_s(
            lambda: write_image(path, pixels), arguments.repeats
        )
    print(
        f"plain {plain * 1000:.0f} ms, ours {whole * 1000:.0f} ms: {plain / whole:.1f} times as "
        "fast"
    )
    print(f"largest difference {difference:.3f}/255")
    for name, seconds in parts.items():
        print(f"  {name}: {seconds * 1000:.0f} ms")
    with_files = whole + parts["writing two PNG files"]
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
    }
    append(
        "synthesis of a 1280x720 pair",
        arguments.device,
        [figures | {"pairs_per_s_with_files": 1 / with_files} | parts],
    )


if __name__ == "__main__":
    main()
