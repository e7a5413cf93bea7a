"""Blurry/sharp pairs of pictures, as files or as shards."""

import json
from collections.abc import Iterator

import cv2
import numpy as np

from data.shards import write_shard
from data.synthesis.kernels import kernel_sheet, load_kernels
from data.synthesis.pair import PairSettings, to_file
from data.synthesised import Draw, Made, PairMaker
from methods.sbdd.config import GenerateConfig
from methods.sbdd.shared import (
    SHEET_ROWS,
    Rows,
    masks,
    print_summary,
    progress,
    response,
    result_names,
)
from utils.errors import UserError
from utils.files import write_bytes
from utils.image import encode_image

Jobs = dict[str, tuple[str, int]]  # key of a pair -> name of its picture, number of the pair
_OBJECT_COLOURS = ((255, 60, 60), (60, 255, 60), (80, 80, 255), (255, 255, 60), (60, 255, 255))


def make_pairs(config: GenerateConfig) -> Rows:
    """Write OUTPUT_DIR/{blurry,sharp}/NAME_n.png and records/NAME_n.json, or shards of them.

    Returns the rows of the contact sheet.
    """
    maker = pair_maker(config)
    jobs = _jobs(config, maker)
    if config.only:
        _make_again(config, maker, jobs)
        return iter(())
    if config.shards:
        _make_shards(config, maker, jobs)
    else:
        _make_files(config, maker, jobs)
    return _rows(maker, jobs)


def pair_maker(config: GenerateConfig) -> PairMaker:
    """What the configuration means for pairs."""
    kernels = None
    source = config.kernel_list or config.kernel_path
    if source:
        kernels = load_kernels(source, config.kernel_size, config.kernel_path)
    draw = Draw(
        size=config.kernel_size,
        length=config.kernel_length,
        kernels=kernels,
        strong=config.strong,
        mild=config.mild,
        min_score=config.score_threshold,
        min_area=config.min_object_area,
        max_objects=config.max_objects,
        random_masks=config.random_masks,
    )
    return PairMaker(
        config.data_path, masks(config), draw, _settings(config), config.seed, config.min_img_size
    )


def _settings(config: GenerateConfig) -> PairSettings:
    noise, noise_level = _noise(config)
    saturation = 0.0
    if config.saturation_streaks or config.sat_augmentation_in_blurry:
        saturation = config.max_boost
    return PairSettings(
        response=response(config),
        illumination=3.0 if config.augment_illumination else 1.0,
        streaks=config.prob_streaks if config.random_whyte_streaks else 0.0,
        fewest_streaks=config.min_streaks,
        max_streaks=config.max_streaks,
        brightest_streak=config.max_sat_increment / 255,
        saturation=saturation,
        saturation_in="blurry" if config.sat_augmentation_in_blurry else "sharp",
        noise=noise,
        noise_level=noise_level,
        published=config.published,
    )


def _noise(config: GenerateConfig) -> tuple[str, float]:
    """Kind and level."""
    if config.gaussian_noise:
        return "gaussian", config.noise_std
    if config.poisson_noise:
        return "poisson", config.photons
    return "none", config.photons


def _jobs(config: GenerateConfig, maker: PairMaker) -> Jobs:
    jobs = {}
    for flat, name in result_names(config, maker.names).items():
        for number in range(config.n_images):
            jobs[f"{flat}_{number}"] = (name, number)
    return jobs


def _make_again(config: GenerateConfig, maker: PairMaker, jobs: Jobs) -> None:
    """The pair that --only names."""
    if config.only not in jobs:
        raise UserError(
            f"--only {config.only}: the pairs here are called {', '.join(list(jobs)[:3])}, ..."
        )
    _write_pair(config, config.only, maker.make(*jobs[config.only]))
    print(f"made again: {config.only}")


def _make_files(config: GenerateConfig, maker: PairMaker, jobs: Jobs) -> None:
    made = existing = too_small = 0
    for key, job in progress(config, list(jobs.items())):
        if (config.output_dir / "blurry" / f"{key}.{config.picture_format}").exists():
            existing += 1
            continue
        pair = maker.make(*job)
        if pair is None:
            too_small += 1
            continue
        _write_pair(config, key, pair)
        made += 1
    remark = ""
    if too_small:
        remark = f"{too_small} pictures are too small (--min_img_size)"
    print_summary(config, made, "pair", existing, remark)
    if not made + existing:
        raise UserError(
            f"{config.data_path}: all {len(maker.names)} pictures have a side of at most "
            f"{maker.min_side} px: lower --min_img_size or --kernel_size"
        )


def _write_pair(config: GenerateConfig, key: str, made: Made) -> None:
    """The blurry picture last: a pair counts as made when it is there."""
    for ending, content in _files(config, made).items():
        kind, _, suffix = ending.rpartition(".")
        path = config.output_dir / (kind or "records") / f"{key}.{suffix}"
        write_bytes(path, content)


def _make_shards(config: GenerateConfig, maker: PairMaker, jobs: Jobs) -> None:
    """Write OUTPUT_DIR/pairs-NNNNN.tar.

    A shard is made whole or not at all, and holds the same pairs whoever makes it.
    """
    keys = list(jobs)
    first_keys = range(0, len(keys), config.shards)
    made = existing = 0
    for number, first in progress(config, list(enumerate(first_keys))):
        path = config.output_dir / f"pairs-{number:05d}.tar"
        if path.exists():
            existing += 1
            continue
        chosen = keys[first : first + config.shards]
        made += write_shard(path, _files_by_key(config, maker, jobs, chosen))
    remark = ""
    if existing:
        remark = "shards that were there are not counted one by one"
    print_summary(config, made, "pair", existing, remark)


def _files_by_key(
    config: GenerateConfig, maker: PairMaker, jobs: Jobs, keys: list[str]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    for key in keys:
        pair = maker.make(*jobs[key])
        if pair is not None:
            yield key, _files(config, pair)


def _files(config: GenerateConfig, made: Made) -> dict[str, bytes]:
    """Ending -> content."""
    suffix = f".{config.picture_format}"
    blurry, sharp = (
        encode_image(to_file(np.nan_to_num(image), config.published), suffix)
        for image in (made.pair.blurry, made.pair.sharp)
    )
    record = json.dumps(made.record, indent=1).encode()
    return {f"sharp{suffix}": sharp, "json": record, f"blurry{suffix}": blurry}


def _rows(maker: PairMaker, jobs: Jobs) -> Rows:
    for key, job in list(jobs.items())[:SHEET_ROWS]:
        pair = maker.make(*job)
        if pair is not None:
            yield key, _row(pair)


def _row(made: Made) -> dict[str, np.ndarray]:
    """Sharp picture, objects in colours where there are any, kernels, blurry picture."""
    sharp = to_file(np.nan_to_num(made.pair.sharp))
    row = {"sharp": sharp}
    if len(made.masks):
        row["objects"] = _coloured(sharp, made.masks)
    row["kernels"] = _kernel_picture(made.kernels, sharp.shape)
    row["blurry"] = to_file(np.nan_to_num(made.pair.blurry))
    return row


def _coloured(sharp: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The darkened picture [h,w,3] with its objects, masks [N,H,W], in colours."""
    height, width = sharp.shape[:2]
    margin = (masks.shape[1] - height) // 2
    picture = sharp // 2
    for number, mask in enumerate(masks):
        colour = np.array(_OBJECT_COLOURS[number % len(_OBJECT_COLOURS)], np.uint8)
        inner = mask[margin : margin + height, margin : margin + width]  # [h,w]
        picture[inner] += colour // 2
    return picture


def _kernel_picture(kernels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The kernels, as large as they fit into a black picture of a shape [h,w,3]."""
    sheet = kernel_sheet(list(kernels), columns=min(len(kernels), 3))
    scale = min(shape[0] / sheet.shape[0], shape[1] / sheet.shape[1])
    sheet = cv2.resize(sheet, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    picture = np.zeros(shape, np.uint8)
    picture[: sheet.shape[0], : sheet.shape[1]] = sheet[: shape[0], : shape[1]]
    return picture
