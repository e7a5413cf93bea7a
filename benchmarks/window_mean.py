"""Which way to average over windows is the fastest? The local statistics of NAFNet.

python -m benchmarks.window_mean [--sizes 180x320 360x640 540x960] [--runs 5]. Random maps of 32
channels in channels_last memory, windows of 192 px, float32. Prints milliseconds of each form and
its largest difference from pooling in float64.

* running sums: cumulative sums in float64 and a value per pixel, as up to version 0.1
* banded products: a matrix product per axis, a value per window
* box filter: OpenCV's
* steps: models/window_mean.py, a value per window
"""

import argparse
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import append, hardware, median_s
from models.window_mean import window_means
from utils.evaluation.tables import format_table

WINDOW = 192
CHANNELS = 32


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=["180x320", "360x640", "540x960"])
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(hardware(device))
    rows = []
    with torch.inference_mode():
        for size in options.sizes:
            rows.append(measure(size, options.runs, device))
    heads = list(rows[0])
    print(format_table([heads, *([row[head] for head in heads] for row in rows)]))
    append("means over windows, ms (largest difference)", device, rows)


def measure(size: str, runs: int, device: str) -> dict[str, str]:
    """One row: median milliseconds of every form at a size HEIGHTxWIDTH."""
    height, width = map(int, size.split("x"))
    features = torch.randn(1, CHANNELS, height, width, device=device)
    features = features.contiguous(memory_format=torch.channels_last)
    sides = (min(WINDOW, height), min(WINDOW, width))
    exact = F.avg_pool2d(features.double(), sides, 1)
    row = {"size": size}
    for name, form in FORMS.items():
        if name == "box filter" and device != "cpu":
            continue
        milliseconds = 1e3 * median_s(partial(form, features), runs, device)
        difference = float((inner(form(features), exact) - exact).abs().max())
        row[name] = f"{milliseconds:.1f} ({difference:.0e})"
    return row


def inner(means: Tensor, exact: Tensor) -> Tensor:
    """The values of windows, where a form gives one per pixel."""
    height, width = exact.shape[-2:]
    top = (means.shape[-2] - height) // 2
    left = (means.shape[-1] - width) // 2
    return means[..., top : top + height, left : left + width]


def running_sums(features: Tensor) -> Tensor:
    """Differences of cumulative sums in float64, a value per pixel."""
    for axis in (2, 3):
        length = features.shape[axis]
        side = min(WINDOW, length)
        sums = features.double().cumsum(axis).movedim(axis, -1)
        sums = F.pad(sums, (1, 0)).movedim(-1, axis)
        windows = length - side + 1
        means = (sums.narrow(axis, side, windows) - sums.narrow(axis, 0, windows)) / side
        position = torch.arange(length, device=features.device) - (side - 1) // 2
        features = means.index_select(axis, position.clamp(0, windows - 1)).float()
    return features


def banded_products(features: Tensor) -> Tensor:
    """A product with a banded matrix along each axis."""
    rows, columns = (_band(length, features.device) for length in features.shape[-2:])
    lines = features.permute(0, 2, 3, 1)  # [B,H,W,C]
    lines = (rows @ lines.flatten(2)).unflatten(2, lines.shape[2:])  # [B,n_h,W,C]
    return (columns @ lines).permute(0, 3, 1, 2)


def _band(length: int, device: torch.device) -> Tensor:
    """[n,L] with 1/k at the k places of each window."""
    side = min(WINDOW, length)
    ones = torch.ones(length - side + 1, length, device=device)
    return ones.triu().tril(side - 1) / side


def box_filter(features: Tensor) -> Tensor:
    """OpenCV's, a channel at a time; windows that reach outside are cut off."""
    height, width = features.shape[-2:]
    sides = (min(WINDOW, height), min(WINDOW, width))
    planes = features[0].contiguous().numpy()
    means = [
        cv2.boxFilter(plane, -1, sides[::-1], borderType=cv2.BORDER_CONSTANT) for plane in planes
    ]
    first = [side // 2 for side in sides]
    inside = np.stack(means)[:, first[0] :, first[1] :]
    return torch.from_numpy(inside[None, :, : height - sides[0] + 1, : width - sides[1] + 1])


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "running sums": running_sums,
    "banded products": banded_products,
    "box filter": box_filter,
    "steps": partial(window_means, window=WINDOW),
}


if __name__ == "__main__":
    main()
