"""How many training patches a second does one core read?

    python -m benchmarks.loader [--pairs 40] [--patch 256]

Pairs of 1280x720 PNG pictures as train.py image_deblur reads them (tiles of 512 px every 256 px,
the eight flips and turns): decoded for every patch, and with --cached decoded and tiles. CPU
seconds of one thread; the ways take turns, and the medians are compared. `first`: when a tile is
read for the first time and checked. `in batches`: of a worker that also hands batches of 32 over.
"""

import argparse
import functools
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.timing import append
from data.pairs import FolderPairs, Variation
from data.photo_catalog import find_pairs
from data.pixel_cache import open_cache
from utils.image import read_image, write_image
from utils.sampling import StepSampler, endless_loader

HEIGHT, WIDTH = 720, 1280
CORES = 16
BATCH = 32
BATCHES = 3
BATCHES_CACHED = 60
ROUNDS = 5
# samples of a round: enough for some seconds
SAMPLES = {"none": 40, "decoded": 1500, "tiles": 1500}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--patch", type=int, default=256)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_pairs(root / "pairs", arguments.pairs)
        pictures = find_pairs(root / "pairs", need_sharp=True).pictures
        files = [path for pair in pictures for path in (pair.blurry, pair.sharp)]
        decoding = statistics.median(cpu_s(functools.partial(read_image, path)) for path in files)
        sets = {}
        making = {}
        for kind in SAMPLES:
            start = time.process_time()
            cache = open_cache(files, root / "cache", kind)
            making[kind] = (time.process_time() - start) / len(files)
            vary = Variation(turn=True)
            sets[kind] = FolderPairs(pictures, arguments.patch, 1, vary, 512, 256, cache)
        first = {kind: 1 / seconds_of_all(data) for kind, data in sets.items()}
        rates = patches_per_s(sets)
        fed = {kind: 1 / worker_s(data) for kind, data in sets.items()}
        megabytes = sum(path.stat().st_size for path in files) / len(files) / 1e6
    print(f"decoding a picture of {megabytes:.2f} MB: {decoding * 1000:.1f} ms")
    rows = []
    for kind, rate in rates.items():
        row = {
            "cached": kind,
            "patches_per_s": rate,
            "ratio": rate / rates["none"],
            "first": first[kind],
            "in_batches": fed[kind],
            "making_s": making[kind],
        }
        rows.append(row)
        print(
            f"--cached {kind}: {rate:.0f} patches/s and core ({row['ratio']:.1f}x), first "
            f"{first[kind]:.0f}, in batches {fed[kind]:.0f}: {CORES} cores "
            f"{CORES * fed[kind]:.0f} patches/s; making {making[kind] * 1000:.1f} ms a picture"
        )
    append(f"loading {arguments.patch} px patches of 720p PNG pairs", "cpu", rows)


def patches_per_s(sets: dict[str, FolderPairs]) -> dict[str, float]:
    """Medians over the rounds, per CPU second."""
    seconds: dict[str, list[float]] = {kind: [] for kind in sets}
    for number in range(ROUNDS):
        for kind, data in sets.items():
            rng = np.random.default_rng(number)
            keys = [(number, int(rng.integers(len(data)))) for _ in range(SAMPLES[kind])]
            start = time.process_time()
            for key in keys:
                data[key]
            seconds[kind].append((time.process_time() - start) / len(keys))
    return {kind: 1 / statistics.median(values) for kind, values in seconds.items()}


def seconds_of_all(data: FolderPairs) -> float:
    """CPU seconds per item of reading every item once."""
    start = time.process_time()
    for index in range(len(data)):
        data[0, index]
    return (time.process_time() - start) / len(data)


def worker_s(data: FolderPairs) -> float:
    """CPU seconds per patch of a loader process, its start left out."""
    used = []
    batches = BATCHES_CACHED if data.cache else BATCHES
    for count in (2, 2 + batches):
        start = children_s()
        loader = endless_loader(data, StepSampler(len(data), BATCH, seed=1), workers=1)
        iterator = iter(loader)
        for _ in range(count):
            next(iterator)
        del iterator  # waits for the process
        used.append(children_s() - start)
    return (used[1] - used[0]) / (batches * BATCH)


def children_s() -> float:
    """CPU seconds of all processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def cpu_s(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def write_pairs(root: Path, count: int) -> None:
    """Pictures with the detail of photos: noise of several scales, and blurred over 15 px."""
    kernel = np.full((1, 15), 1 / 15, np.float32)
    for number in range(count):
        rng = np.random.default_rng(number)
        sharp = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        for scale, weight in ((80, 90), (16, 40), (4, 12), (1, 2)):
            coarse = rng.normal(0, weight, (HEIGHT // scale, WIDTH // scale, 3))
            sharp += cv2.resize(np.float32(coarse), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        blurry = cv2.filter2D(sharp, -1, kernel)
        for kind, picture in (("input", blurry), ("target", sharp)):
            pixels = np.clip(picture + 128, 0, 255).astype(np.uint8)
            write_image(root / kind / f"{number}.png", pixels)


if __name__ == "__main__":
    main()
