"""What does the scale of the blur bring: gain and seconds against megapixels and length of blur.

    python -m benchmarks.blur_scale --data_path SHARP_PHOTOS [--photos 12] [--length 30 80]
    python -m benchmarks.blur_scale --pairs PAIRS

Large sharp photos are blurred at their full size in linear light, every second one with an object
that moves on its own; PAIRS have blurry and sharp files. Restored at full size (as before) and with
--scale mean and auto by the shipped photo network on one thread. Gain in PSNR over the input in dB
(protocol `image`), processor seconds of the restoration alone.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import append
from data.photo_catalog import find_pairs, find_sharp
from data.synthesis.kernels import KINDS, random_kernel
from data.synthesis.pair import make_pair, to_file
from models.blur_length import kernel_length
from restoration import ImageRestorer
from restoration.blur import measure
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.tables import format_table
from utils.image import read_image, to_tensor
from utils.progress import Progress

Case = tuple[str, Tensor, Tensor, float | None]  # name, blurry, sharp, length in px


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_path", type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--length", type=float, nargs=2, default=(30, 80), help="px")
    parser.add_argument("--scales", nargs="+", default=["1", "mean", "auto"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    restorers = {
        scale: ImageRestorer.load(device="cpu", scale=scale, guard=scale == "auto")
        for scale in options.scales
    }
    if options.data_path:
        cases = made(find_sharp(options.data_path), options.photos, *options.length)
        _compare(f"{options.photos} large photos", cases, restorers)
    if options.pairs:
        _compare("pairs", _read(options.pairs), restorers)


def made(paths: list[Path], count: int, shortest: float, longest: float) -> Iterator[Case]:
    """Blurry photos whose motion extends over `shortest` to `longest` px of an axis."""
    for index in range(count):
        rng = np.random.default_rng(index)
        path = paths[index % len(paths)]
        picture = read_image(path)
        extent = shortest + (longest - shortest) * (index * 5 % count) / max(count - 1, 1)
        size = 2 * int(longest) + 5
        kernels = [random_kernel(rng, size, KINDS[index % 3], extent)]
        height, width = picture.shape[:2]
        masks = np.zeros((index % 2, height, width), np.float32)
        if len(masks):
            kernels.append(random_kernel(rng, size, length=rng.uniform(shortest, longest)))
            centre = (width // 2, height // 2)
            cv2.ellipse(masks[0], centre, (width // 6, height // 4), 0, 0, 360, 1.0, -1)
        pair = make_pair(picture, masks, np.stack(kernels), rng)
        images = [to_tensor(to_file(image)) for image in (pair.blurry, pair.sharp)]
        yield path.stem, *images, kernel_length(kernels[0])


def _read(folder: Path) -> Iterator[Case]:
    for picture in find_pairs(folder, need_sharp=True).pictures:
        images = [to_tensor(read_image(path)) for path in (picture.blurry, picture.sharp)]
        yield picture.name, *images, None


def _compare(title: str, cases: Iterator[Case], restorers: dict[str, ImageRestorer]) -> None:
    psnr = PROTOCOLS["image"].psnr
    rows: list[dict] = []
    for name, blurry, sharp, length in Progress(cases):
        row = {
            "picture": name,
            "MP": blurry[0].numel() / 1e6,
            "blur": length or float("nan"),
            "measured": measure(blurry).typical,
            "input": psnr(blurry, sharp),
        }
        for scale, restorer in restorers.items():
            start = time.process_time()
            restored = restorer.restore(blurry)
            row[f"{scale}, s"] = time.process_time() - start
            row[f"{scale}, dB"] = psnr(restored.clamp(0, 1), sharp) - row["input"]
        rows.append(row)
        print(row, flush=True)
    figures = [key for key in rows[0] if key != "picture"]
    mean = {key: float(np.nanmean([row[key] for row in rows])) for key in figures}
    rows.append({"picture": "mean", **mean})
    lines = [[row["picture"], *(f"{row[key]:.2f}" for key in figures)] for row in rows]
    print(format_table([["picture", *figures], *lines]))
    append(f"scale of the blur: {title}", "cpu", rows)


if __name__ == "__main__":
    main()
