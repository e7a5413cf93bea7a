"""Make blurry/sharp pairs, clips, sequences of seven moments, or kernels. Resumable; torchrun
splits the work.
"""

import dataclasses
import functools
import json
import math
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

from data.catalog import Video, find_videos, holds_videos
from data.clips import write_clip
from data.photo_catalog import find_pictures, pictures_by_name
from data.sample import pictures_or_sample
from data.sequences import FRAMES, collect_metadata, write_sequence
from data.shards import write_shard
from data.synthesis.camera import Response, gamma_response
from data.synthesis.exposure import exposed_frame, frames_needed
from data.synthesis.kernels import kernel_sheet, load_kernels, random_kernel
from data.synthesis.masks import MaskSource, find_masks
from data.synthesis.motion import smooth_trajectory
from data.synthesis.pair import PairSettings, to_file
from data.synthesis.scene import Scene, scene_clip, scene_of
from data.synthesised import Draw, Made, PairMaker
from methods.sbdd.config import GenerateConfig
from utils import distributed
from utils.config import keep_config
from utils.errors import UserError
from utils.files import atomic_path, keep_apart
from utils.image import encode_image, read_image, write_image
from utils.progress import Progress
from utils.report import amount, contact_sheet_of_rows

SHEET_ROWS = 6
FREE_OPTIONS = (
    "output_dir",
    "n_images",
    "kernels",
    "only",
    "detector_weights",
)  # may change from run to run into one folder
Frames = Iterator[tuple[str, np.ndarray, np.ndarray]]  # name, blurry, sharp
Rows = Iterator[
    tuple[str, dict[str, np.ndarray]]
]  # of the contact sheet: name, label -> picture; drawn by the main process alone


def main(config: GenerateConfig) -> None:
    """Write what is not there yet, contact_sheet.png and the configuration."""
    config = _resolved(config)
    _check(config)
    with distributed.only_run(config.output_dir):
        if distributed.is_main() and not config.only:
            keep_config(config.output_dir, config, FREE_OPTIONS)
        sheet = {
            "pairs": make_pairs,
            "clips": make_clips,
            "sequences": make_sequences,
            "kernels": make_kernels,
        }[config.what](config)
        if distributed.is_main() and (rows := dict(sheet)):
            contact_sheet_of_rows(config.output_dir / "contact_sheet.png", rows)
            print(f"look at {config.output_dir / 'contact_sheet.png'}")


def make_pairs(config: GenerateConfig) -> Rows:
    """OUTPUT_DIR/{blurry,sharp}/NAME_n.png and records/NAME_n.json, or shards of them; returns the
    rows of the contact sheet.
    """
    maker = pair_maker(config)
    jobs = {
        f"{name.replace('/', '_')}_{number}": (name, number)
        for name in maker.names
        for number in range(config.n_images)
    }
    if config.only:
        if config.only not in jobs:
            raise UserError(
                f"--only {config.only}: the pairs here are called {', '.join(list(jobs)[:3])}, ..."
            )
        _write_pair(config, config.only, maker.make(*jobs[config.only]))
        print(f"made again: {config.only}")
        return iter(())
    if config.shards:
        return _make_shards(config, maker, jobs)
    made, there, small = 0, 0, 0
    for key, job in _progress(config, list(jobs.items())):
        if _blurry_file(config, key).exists():
            there += 1
        elif (pair := maker.make(*job)) is None:
            small += 1
        else:
            _write_pair(config, key, pair)
            made += 1
    _summary(
        config,
        made,
        "pair",
        there,
        f"{small} pictures are too small (--min_img_size)" if small else "",
    )
    if not made + there:
        raise UserError(
            f"{config.data_path}: all {len(maker.names)} pictures have a side of at most "
            f"{maker.min_side} px: lower --min_img_size or "
            "--kernel_size"
        )
    return _pair_rows(maker, jobs)


def make_clips(config: GenerateConfig) -> Rows:
    """OUTPUT_DIR/{blur,gt}/VIDEO/FRAME.png."""
    made, jobs = 0, _sources(config)
    make = (
        functools.partial(_clip_of_picture, masks(config))
        if config.source == "pictures"
        else _clip_of_video
    )
    for name, source in (share := _progress(config, list(jobs.items()))):
        if not (config.output_dir / "blur" / name).is_dir():
            write_clip(config.output_dir, name, make(config, name, source))
            made += 1
    _summary(config, made, "clip", len(share) - made)
    return _clip_rows(config.output_dir, list(jobs)[:SHEET_ROWS])


def _clip_rows(folder: Path, names: list[str]) -> Rows:
    for name in names:
        frames = sorted((folder / "blur" / name).glob("*"))
        if frames:  # else another process's share
            frame = frames[len(frames) // 2]
            yield (
                f"{name}/{frame.stem}",
                {
                    "blurry": read_image(frame),
                    "sharp": read_image(folder / "gt" / name / frame.name),
                },
            )


def make_sequences(config: GenerateConfig) -> Rows:
    """HyperCUT's folder: OUTPUT_DIR/SEQ/blur/0000.png, SEQ/sharp/0000_1.png ... 0000_7.png and
    metadata.json.
    """
    made, there = 0, 0
    make = (
        functools.partial(_sequence_of_picture, masks(config))
        if config.source == "pictures"
        else _sequences_of_video
    )
    for name, source in _progress(config, list(_sources(config).items())):
        for key, sequence in make(config, name, source):
            if (config.output_dir / key / "blur").is_dir():
                there += 1
                continue
            write_sequence(config.output_dir, key, *sequence())
            made += 1
    collect_metadata(config.output_dir)
    _summary(config, made, "sequence", there)
    return _sequence_rows(config.output_dir)


def _sequence_rows(root: Path) -> Rows:
    for path in sorted(root.glob("*/blur/0000.png"))[:SHEET_ROWS]:
        folder = path.parents[1]
        moments = {
            f"moment {number}": read_image(folder / f"sharp/0000_{number}.png")
            for number in (1, 4, 7)
        }
        yield folder.name, {"blurry": read_image(path), **moments}


def make_kernels(config: GenerateConfig) -> Rows:
    """OUTPUT_DIR/kernelNNNNN.mat with an array K, as published."""
    made, there = 0, 0
    for index in _progress(config, list(range(config.kernels))):
        path = config.output_dir / f"kernel{index:05d}.mat"
        if path.exists():
            there += 1
            continue
        with atomic_path(path) as temporary:
            savemat(temporary, {"K": _kernel(config, index)})
        made += 1
    _summary(config, made, "kernel", there)
    if distributed.is_main():
        shown = [_kernel(config, index) for index in range(min(config.kernels, 60))]
        write_image(config.output_dir / "contact_sheet.png", kernel_sheet(shown))
    return iter(())


def _kernel(config: GenerateConfig, index: int) -> np.ndarray:
    return random_kernel(
        np.random.default_rng((config.seed, index)), config.kernel_size, length=config.kernel_length
    )


def pair_maker(config: GenerateConfig) -> PairMaker:
    """What the configuration means for pairs."""
    source = config.kernel_list or config.kernel_path
    kernels = load_kernels(source, config.kernel_size, config.kernel_path) if source else None
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
    boost = config.saturation_streaks or config.sat_augmentation_in_blurry
    settings = PairSettings(
        response=response(config),
        illumination=3.0 if config.augment_illumination else 1.0,
        streaks=config.prob_streaks if config.random_whyte_streaks else 0.0,
        fewest_streaks=config.min_streaks,
        max_streaks=config.max_streaks,
        brightest_streak=config.max_sat_increment / 255,
        saturation=config.max_boost if boost else 0.0,
        saturation_in="blurry" if config.sat_augmentation_in_blurry else "sharp",
        noise="gaussian"
        if config.gaussian_noise
        else "poisson"
        if config.poisson_noise
        else "none",
        noise_level=config.noise_std if config.gaussian_noise else config.photons,
        published=config.published,
    )
    return PairMaker(
        config.data_path, masks(config), draw, settings, config.seed, config.min_img_size
    )


def response(config: GenerateConfig) -> Response:
    """The camera's response that the configuration names."""
    if config.exponential_crf:
        return Response("exponential", config.exponential_factor)
    return gamma_response(config.gamma)


def masks(config: GenerateConfig) -> MaskSource:
    """Where objects come from; opened once per run."""
    return find_masks(config.mask_path, config.mask_kind, config.detector_weights)


def _write_pair(config: GenerateConfig, key: str, made: Made) -> None:
    """The blurry picture last: a pair counts as made when it is there."""
    for ending, content in _files(config, made).items():
        kind, _, suffix = ending.rpartition(".")
        path = config.output_dir / (kind or "records") / f"{key}.{suffix}"
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)


def _files(config: GenerateConfig, made: Made) -> dict[str, bytes]:
    suffix = f".{config.picture_format}"
    blurry, sharp = (
        encode_image(to_file(np.nan_to_num(image), config.published), suffix)
        for image in made.pair[:2]
    )
    record = json.dumps(made.record, indent=1).encode()
    return {f"sharp{suffix}": sharp, "json": record, f"blurry{suffix}": blurry}


def _blurry_file(config: GenerateConfig, key: str) -> Path:
    return config.output_dir / "blurry" / f"{key}.{config.picture_format}"


def _make_shards(
    config: GenerateConfig, maker: PairMaker, jobs: dict[str, tuple[str, int]]
) -> Rows:
    """OUTPUT_DIR/pairs-NNNNN.tar; a shard is made whole or not at all, and holds the same pairs
    whoever makes it.
    """
    keys = list(jobs)
    parts = [
        (number, keys[first : first + config.shards])
        for number, first in enumerate(range(0, len(keys), config.shards))
    ]
    made, there = 0, 0
    for number, part in _progress(config, parts):
        path = config.output_dir / f"pairs-{number:05d}.tar"
        if path.exists():
            there += 1
            continue
        pairs = ((key, pair) for key in part if (pair := maker.make(*jobs[key])))
        made += write_shard(path, ((key, _files(config, pair)) for key, pair in pairs))
    _summary(
        config,
        made,
        "pair",
        there,
        "shards that were there are not counted one by one" if there else "",
    )
    return _pair_rows(maker, jobs)


def _pair_rows(maker: PairMaker, jobs: dict[str, tuple[str, int]]) -> Rows:
    for key, job in list(jobs.items())[:SHEET_ROWS]:
        if pair := maker.make(*job):
            yield key, _sheet_row(pair)


def _clip_of_picture(objects: MaskSource, config: GenerateConfig, name: str, path: Path) -> Frames:
    scene = _scene(objects, config, name, path, config.frames)
    blurry, sharp = scene_clip(
        scene, config.frames, config.exposure, (config.height, config.width), response(config)
    )
    for index, pair in enumerate(zip(blurry, sharp)):
        yield f"{index:05d}", *pair


def _sequence_of_picture(
    objects: MaskSource, config: GenerateConfig, name: str, path: Path
) -> Iterator[tuple[str, Callable]]:
    for key in (
        [name]
        if config.n_images == 1
        else [f"{name}_{number}" for number in range(config.n_images)]
    ):

        def make(key: str = key) -> tuple[np.ndarray, list[np.ndarray]]:
            scene = _scene(objects, config, key, path, 3)
            blurry, sharp = scene.expose(1, config.exposure, (config.height, config.width), FRAMES)
            return response(config).encoded(blurry), [
                response(config).encoded(moment) for moment in sharp
            ]

        yield key, make


def _scene(source: MaskSource, config: GenerateConfig, name: str, path: Path, frames: int) -> Scene:
    """The picture, its objects and random motion for all of them."""
    picture = read_image(path)
    if picture.shape[0] < config.height or picture.shape[1] < config.width:
        raise UserError(
            f"{path} is {picture.shape[1]}x{picture.shape[0]}, smaller than the window of "
            f"{config.width}x{config.height} px"
        )
    rng = np.random.default_rng((config.seed, zlib.crc32(name.encode())))
    camera = smooth_trajectory(rng, frames, _length(rng, config.blur) / config.exposure, turn=0.01)
    objects = source(str(path.relative_to(config.data_path).with_suffix("")), picture)
    objects = objects.chosen(config.score_threshold, config.min_object_area, config.max_objects)
    motions = [
        smooth_trajectory(rng, frames, _length(rng, config.object_blur) / config.exposure)
        for _ in objects.masks
    ]
    return scene_of(picture, objects.masks, camera, motions, response(config), config.focal or None)


def _length(rng: np.random.Generator, range_px: list[float]) -> float:
    """A length of a range, evenly on a logarithmic scale."""
    return range_px[0] if len(range_px) == 1 else math.exp(rng.uniform(*np.log(range_px)))


def _clip_of_video(config: GenerateConfig, name: str, video: Video) -> Frames:
    """One pair per exposure, named by the number of its middle frame; as many frames are held as
    one exposure needs.
    """
    for index, window in _windows(
        config, name, video, frames_needed(config.exposure, config.interpolate)
    ):
        middle = window[len(window) // 2]
        yield (
            f"{index:05d}",
            exposed_frame(window, config.exposure, config.interpolate, response(config)),
            middle,
        )


def _sequences_of_video(
    config: GenerateConfig, name: str, video: Video
) -> Iterator[tuple[str, Callable]]:
    """Seven frames in a row are the moments; their exposure, filled in by optical flow, is the
    blurry picture.
    """
    config = dataclasses.replace(config, exposure=float(FRAMES))
    for index, window in _windows(
        config, name, video, frames_needed(config.exposure, config.interpolate)
    ):
        first = (len(window) - FRAMES) // 2

        def make(
            window: list[np.ndarray] = window, first: int = first
        ) -> tuple[np.ndarray, list[np.ndarray]]:
            blurry = exposed_frame(window, config.exposure, config.interpolate, response(config))
            return blurry, window[first : first + FRAMES]

        yield f"{name}_{index:05d}", make


def _windows(
    config: GenerateConfig, name: str, video: Video, span: int
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """(number of the middle frame, `span` frames in [0,1]) every `stride` frames."""
    stride = config.stride or math.ceil(config.exposure)
    window: deque[np.ndarray] = deque(maxlen=span)
    found = False
    for index, pixels in enumerate(video.open()):
        window.append(pixels.astype(np.float32) / np.iinfo(pixels.dtype).max)
        if len(window) == span and (index + 1 - span) % stride == 0:
            found = True
            yield index - span // 2, list(window)
    if not found:
        raise UserError(
            f"video {name} is too short: an exposure of {config.exposure:g} intervals needs "
            f"{span} frames"
        )


def _sources(config: GenerateConfig) -> dict[str, Path] | dict[str, Video]:
    """Name -> picture or video."""
    if config.source == "pictures":
        named = {
            name.replace("/", "_"): path
            for name, path in pictures_by_name(config.data_path).items()
        }
        if len(named) < len(find_pictures(config.data_path)):
            raise UserError(
                f"{config.data_path} holds two pictures whose results would have one name: a/b "
                "and a_b, for one"
            )
        return named
    return {video.name: video for video in find_videos(config.data_path, "frames").videos}


def _resolved(config: GenerateConfig) -> GenerateConfig:
    """With the data, the source that they show and its usual exposure."""
    config = dataclasses.replace(
        config,
        data_path=config.data_path
        if config.what == "kernels"
        else pictures_or_sample(config.data_path),
    )
    source = config.source
    if source == "auto":
        source = (
            "videos"
            if config.what in ("clips", "sequences") and holds_videos(config.data_path)
            else "pictures"
        )
    exposure = (
        config.exposure if config.exposure is not None else {"pictures": 0.8, "videos": 3.0}[source]
    )
    return dataclasses.replace(config, source=source, exposure=exposure)


def _check(config: GenerateConfig) -> None:
    if config.what != "kernels":
        keep_apart(config.output_dir, config.data_path)
    moving = config.what in ("clips", "sequences")
    if (
        moving
        and config.source == "videos"
        and not config.interpolate
        and (config.exposure < 3 or config.exposure % 2 != 1)
    ):
        raise UserError(
            f"--exposure {config.exposure:g}: --no_interpolate averages 3, 5, 7, ... whole "
            "frames, so that one is in the middle"
        )
    if config.exposure <= 0 or config.stride < 0:
        raise UserError(
            f"the exposure must be positive and the stride not negative, got {config.exposure:g} "
            f"and {config.stride}"
        )
    if moving and config.source == "pictures" and config.exposure > 1:
        raise UserError(
            f"from pictures the exposure is at most 1 frame interval, got {config.exposure:g} "
            "(--config pictures has 0.8)"
        )
    if config.kernel_size % 2 == 0 or config.kernel_size < 5:
        raise UserError(
            f"--kernel_size {config.kernel_size}: kernels have an odd side of at least 5 px"
        )
    if config.kernel_length is not None and not 0 < config.kernel_length <= config.kernel_size - 3:
        raise UserError(
            f"--kernel_length {config.kernel_length:g} must be above 0 and at most --kernel_size "
            f"{config.kernel_size} less 3"
        )
    for lengths in (config.blur, config.object_blur):
        if (
            len(lengths) > 2
            or min(lengths) < 0
            or (len(lengths) == 2 and not 0 < lengths[0] <= lengths[1])
        ):
            raise UserError(
                "a blur is one length in px or a range LEAST MOST, got "
                f"{' '.join(map(str, lengths))}"
            )
    if config.gaussian_noise and config.poisson_noise:
        raise UserError("choose --gaussian_noise or --poisson_noise, not both")


def _progress(config: GenerateConfig, jobs: list) -> Progress:
    """This process's share of the jobs, with a bar."""
    return Progress(distributed.shard(jobs), config.what, unit=" job")


def _summary(config: GenerateConfig, made: int, kind: str, there: int, remark: str = "") -> None:
    who = (
        f"process {distributed.rank()} of {distributed.world()}: "
        if distributed.world() > 1
        else ""
    )
    print(
        f"{who}{amount(made, kind)} made, {there} already there: {config.output_dir}"
        + (f"; {remark}" if remark else "")
    )


def _sheet_row(made: Made) -> dict[str, np.ndarray]:
    """Sharp picture, objects in colours where there are any, kernels, blurry picture."""
    blurry, sharp = (to_file(np.nan_to_num(image)) for image in made.pair[:2])
    margin = (made.masks.shape[1] - sharp.shape[0]) // 2
    objects = sharp // 2
    for number, mask in enumerate(made.masks):
        inner = mask[margin : margin + sharp.shape[0], margin : margin + sharp.shape[1]]
        objects[inner] += np.uint8(
            np.array([[255, 60, 60], [60, 255, 60], [80, 80, 255], [255, 255, 60], [60, 255, 255]])[
                number % 5
            ]
            // 2
        )
    kernels = kernel_sheet(list(made.kernels), columns=min(len(made.kernels), 3))
    scale = min(sharp.shape[0] / kernels.shape[0], sharp.shape[1] / kernels.shape[1])
    kernels = cv2.resize(kernels, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    canvas = np.zeros_like(sharp)
    canvas[: kernels.shape[0], : kernels.shape[1]] = kernels[: canvas.shape[0], : canvas.shape[1]]
    return (
        {"sharp": sharp}
        | ({"objects": objects} if len(made.masks) else {})
        | {"kernels": canvas, "blurry": blurry}
    )
