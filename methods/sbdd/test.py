"""Score restored files of real pairs: registration first (protocols realblur, kohler), all cores."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.io import loadmat
from tqdm import tqdm

from data.catalog import find_pictures, pair_key
from methods.sbdd.config import TestConfig
from utils.alignment import compare_aligned, compare_with_trajectory, unaligned_psnr
from utils.config import to_yaml
from utils.errors import UserError
from utils.files import natural_key, write_text
from utils.image import is_image, read_image
from utils.protocol import PROTOCOLS
from utils.report import MOST_PANELS, Example, spread, write_report
from utils.scoring import Scores, check_paired, check_size, compare


@dataclass(frozen=True)
class Item:
    """Files of one picture; `sharp` is a picture, or with kohler a folder of pictures or a .mat file."""

    name: str
    restored: Path
    sharp: Path
    blurry: Path | None


def main(config: TestConfig) -> Scores:
    """Score every restored picture; names those that could not be registered."""
    items = find_items(config)
    output = config.output_dir or config.restored_dir / "scores"
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # one image per core is faster than one image on all
    try:
        with ThreadPoolExecutor(config.workers or os.cpu_count()) as pool:
            rows = list(tqdm(pool.map(lambda item: score(item, config.protocol), items), "scoring", len(items), unit="image", disable=None))
    finally:
        cv2.setNumThreads(threads)
    failed = [row["name"] for row in rows if not row.get("aligned", True)]
    remark = f"{len(failed)} images could not be registered and were compared as they are: {', '.join(failed)}" if failed else ""
    if PROTOCOLS[config.protocol].aligned and config.blurry_dir:
        remark += "; " * bool(remark) + "the input is compared unregistered, as published"
    scores = Scores(config.protocol, rows, data_path=config.restored_dir, remark=remark)
    scores.write(output)
    write_text(output / "config.yaml", to_yaml(config))
    print(scores.table())
    if config.report and config.blurry_dir:
        examples = [_example(item) for item in spread(items, MOST_PANELS)]
        write_report(output / "report.html", "SBDD: restored pictures", examples, {"data": remark}, scores.table())
    print(f"results: {output}")
    return scores


def find_items(config: TestConfig) -> list[Item]:
    """The pictures of all folders, paired by name; raises UserError that names what is missing or left over."""
    if not (config.restored_dir and config.sharp_dir):
        raise UserError("to score files give --restored_dir (-r) and --sharp_dir (-s), and --blurry_dir (-b) for the input's figures")
    sharp = _truths(config.sharp_dir) if config.protocol == "kohler" else _by_key(config.sharp_dir)
    output = config.output_dir or config.restored_dir / "scores"
    restored = _by_key(config.restored_dir, leave_out=output)
    blurry = _by_key(config.blurry_dir) if config.blurry_dir else None
    for folder, files in ((config.restored_dir, restored), (config.blurry_dir, blurry)):
        if files is not None:
            check_paired(folder, files, sharp, sharp, config.sharp_dir)
    return [Item(name, restored[name], path, blurry and blurry[name]) for name, path in sharp.items()]


def score(item: Item, protocol: str) -> dict:
    """One row: metrics of the restored picture and of its input."""
    frames = read_truth(item.sharp)
    row = {"name": item.name}
    if PROTOCOLS[protocol].aligned:
        restored = read_image(item.restored)
        if protocol == "realblur":
            check_size(item.restored, restored, item.sharp, frames[0])
            found = compare_aligned(restored, frames[0])
        else:
            found = compare_with_trajectory(restored, frames)
        row |= {"psnr": found.psnr, "ssim": found.ssim, "aligned": found.aligned, "frame": found.frame}
        return row | ({"input_psnr": unaligned_psnr(read_image(item.blurry), frames[found.frame])} if item.blurry else {})
    for prefix, path in (("", item.restored), ("input_", item.blurry)):
        if path is not None:
            row |= {prefix + name: value for name, value in compare(path, frames[0], item.sharp, protocol).items()}
    return row


def read_truth(path: Path) -> list[np.ndarray]:
    """The sharp frames [H,W,3] 8-bit of a picture file, of a folder of pictures or of a .mat file (GroundTruth [H,W,3,N])."""
    if path.is_dir():
        return [
            read_image(file)
            for file in sorted((file for file in path.iterdir() if is_image(file)), key=lambda file: natural_key(file.name))
        ]
    if path.suffix != ".mat":
        return [read_image(path)]
    try:
        frames = loadmat(path)["GroundTruth"]
    except (KeyError, ValueError, TypeError, NotImplementedError, OSError) as error:
        raise UserError(f"{path} can't be read as ground truth (an array GroundTruth [H,W,3,N] is expected): {error}") from error
    if frames.ndim != 4 or frames.shape[2] != 3:
        raise UserError(f"{path}: GroundTruth has shape {frames.shape}, [H,W,3,N] is expected")
    if frames.dtype != np.uint8:
        frames = np.round(frames * (255 if frames.max() <= 1 else 1)).astype(np.uint8)
    return list(np.moveaxis(frames, -1, 0))


def _by_key(folder: Path, leave_out: Path | None = None) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in find_pictures(folder):
        if leave_out and path.is_relative_to(leave_out):
            continue
        key = pair_key(path, folder)
        if key in found:
            raise UserError(f"{found[key]} and {path} are the same picture {key} by their names")
        found[key] = path
    return found


def _truths(folder: Path) -> dict[str, Path]:
    """Koehler's ground truth: a .mat file or a folder of pictures per blurry picture; single pictures too."""
    if not folder.is_dir():
        raise UserError(f"no folder at {folder}")
    entries = [
        path
        for path in folder.iterdir()
        if path.suffix == ".mat" or is_image(path) or (path.is_dir() and any(map(is_image, path.iterdir())))
    ]
    if not entries:
        raise UserError(f"no ground truth (.mat files, folders of pictures, pictures) in {folder}")
    return {pair_key(path, folder): path for path in sorted(entries, key=lambda path: natural_key(path.name))}


def _example(item: Item) -> Example:
    restored = read_image(item.restored)
    size = restored.shape[1::-1]
    blurry, sharp = (cv2.resize(picture, size) for picture in (read_image(item.blurry), read_truth(item.sharp)[0]))
    return Example(item.name, blurry, restored, sharp)
