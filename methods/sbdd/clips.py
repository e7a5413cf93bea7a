"""Clips and sequences: a camera that moves over pictures, or exposures over videos."""

import dataclasses
import functools
import math
import operator
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from data.catalog import Video, find_videos
from data.clips import write_clip
from data.photo_catalog import pictures_by_name
from data.sequences import FRAMES, collect_metadata, write_sequence
from data.synthesis.exposure import exposed_frame, frames_needed
from data.synthesis.masks import MaskSource
from data.synthesis.motion import smooth_trajectory
from data.synthesis.scene import Scene, scene_clip, scene_of
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
from utils.image import read_image
from utils.scenes import scenes

ClipFrames = Iterator[tuple[str, np.ndarray, np.ndarray]]  # name, blurry, sharp
SequencePictures = tuple[np.ndarray, list[np.ndarray]]  # blurry, its seven sharp frames


def make_clips(config: GenerateConfig) -> Rows:
    """Write OUTPUT_DIR/{blur,gt}/VIDEO/FRAME.png; returns the rows of the contact sheet."""
    make = _clip_of_video
    if config.source == "pictures":
        make = functools.partial(_clip_of_picture, masks(config))
    sources = _sources(config)
    jobs = progress(config, list(sources.items()))
    made = 0
    for name, source in jobs:
        if not (config.output_dir / "blur" / name).is_dir():
            write_clip(config.output_dir, name, make(config, name, source))
            made += 1
    print_summary(config, made, "clip", len(jobs) - made)
    return _clip_rows(config.output_dir, list(sources)[:SHEET_ROWS])


def make_sequences(config: GenerateConfig) -> Rows:
    """Write HyperCUT's folder; returns the rows of the contact sheet.

    It holds OUTPUT_DIR/SEQ/blur/0000.png, SEQ/sharp/0000_1.png ... 0000_7.png and metadata.json.
    """
    make = _sequences_of_video
    if config.source == "pictures":
        make = functools.partial(_sequences_of_picture, masks(config))
    made = existing = 0
    for name, source in progress(config, list(_sources(config).items())):
        for key, sequence in make(config, name, source):
            if (config.output_dir / key / "blur").is_dir():
                existing += 1
                continue
            write_sequence(config.output_dir, key, *sequence())
            made += 1
    collect_metadata(config.output_dir)
    print_summary(config, made, "sequence", existing)
    return _sequence_rows(config.output_dir)


def _sources(config: GenerateConfig) -> dict[str, Path] | dict[str, Video]:
    """Name -> picture or video."""
    if config.source == "videos":
        return {video.name: video for video in find_videos(config.data_path, "frames").videos}
    pictures = pictures_by_name(config.data_path)
    return {flat: pictures[name] for flat, name in result_names(config, pictures).items()}


def _clip_of_picture(
    objects: MaskSource, config: GenerateConfig, name: str, path: Path
) -> ClipFrames:
    scene = _scene(objects, config, name, path, config.frames)
    size = (config.height, config.width)
    blurry, sharp = scene_clip(scene, config.frames, config.exposure, size, response(config))
    for index, pair in enumerate(zip(blurry, sharp)):
        yield f"{index:05d}", *pair


def _clip_of_video(config: GenerateConfig, name: str, video: Video) -> ClipFrames:
    """One pair per exposure, named by the index of its middle frame."""
    for index, window in _windows(config, name, video):
        yield f"{index:05d}", _exposed(config, window), window[len(window) // 2]


def _sequences_of_picture(
    objects: MaskSource, config: GenerateConfig, name: str, path: Path
) -> Iterator[tuple[str, Callable[[], SequencePictures]]]:
    """(name, function that makes it) of every sequence of a picture."""
    keys = [name]
    if config.n_images > 1:
        keys = [f"{name}_{number}" for number in range(config.n_images)]
    for key in keys:
        yield key, functools.partial(_sequence_of_picture, objects, config, key, path)


def _sequence_of_picture(
    objects: MaskSource, config: GenerateConfig, key: str, path: Path
) -> SequencePictures:
    scene = _scene(objects, config, key, path, frames=3)
    camera = response(config)
    size = (config.height, config.width)
    blurry, sharp = scene.expose(1, config.exposure, size, FRAMES)  # linear
    return camera.encoded(blurry), [camera.encoded(frame) for frame in sharp]


def _sequences_of_video(
    config: GenerateConfig, name: str, video: Video
) -> Iterator[tuple[str, Callable[[], SequencePictures]]]:
    """(name, function that makes it) of every sequence of a video.

    Seven frames in a row are the sharp frames. Their exposure, filled in by optical flow, is the
    blurry picture.
    """
    config = dataclasses.replace(config, exposure=float(FRAMES))
    for index, window in _windows(config, name, video):
        yield f"{name}_{index:05d}", functools.partial(_sequence_of_window, config, window)


def _sequence_of_window(config: GenerateConfig, window: list[np.ndarray]) -> SequencePictures:
    first = (len(window) - FRAMES) // 2
    return _exposed(config, window), window[first : first + FRAMES]


def _exposed(config: GenerateConfig, window: list[np.ndarray]) -> np.ndarray:
    return exposed_frame(window, config.exposure, config.interpolate, response(config))


def _windows(
    config: GenerateConfig, name: str, video: Video
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """(index of the middle frame, the frames of one exposure in [0,1]) every `stride` frames.

    No exposure goes over a cut. Only as many frames are held as one exposure needs.
    """
    span = frames_needed(config.exposure, config.interpolate)
    stride = config.stride or math.ceil(config.exposure)
    found = False
    for scene in scenes(enumerate(video.open()), operator.itemgetter(1)):
        window: deque[np.ndarray] = deque(maxlen=span)
        for number, (index, pixels) in enumerate(scene, 1):
            window.append(pixels.astype(np.float32) / np.iinfo(pixels.dtype).max)
            if len(window) == span and (number - span) % stride == 0:
                found = True
                yield index - span // 2, list(window)
    if not found:
        raise UserError(
            f"video {name} is too short: an exposure of {config.exposure:g} intervals needs "
            f"{span} frames without a cut"
        )


def _scene(source: MaskSource, config: GenerateConfig, name: str, path: Path, frames: int) -> Scene:
    """The picture, its objects and random motion for all of them."""
    picture = read_image(path)
    if picture.shape[0] < config.height or picture.shape[1] < config.width:
        raise UserError(
            f"{path} is {picture.shape[1]}x{picture.shape[0]}, smaller than the window of "
            f"{config.width}x{config.height} px"
        )
    rng = np.random.default_rng((config.seed, zlib.crc32(name.encode())))
    length = _random_length(rng, config.blur)
    camera = smooth_trajectory(rng, frames, length / config.exposure, turn=0.01)
    objects = source(str(path.relative_to(config.data_path).with_suffix("")), picture)
    objects = objects.chosen(config.score_threshold, config.min_object_area, config.max_objects)
    motions = []
    for _ in objects.masks:
        length = _random_length(rng, config.object_blur)
        motions.append(smooth_trajectory(rng, frames, length / config.exposure))
    return scene_of(picture, objects.masks, camera, motions, response(config), config.focal or None)


def _random_length(rng: np.random.Generator, lengths: list[float]) -> float:
    """The given length, or one between two, evenly on a logarithmic scale; px."""
    if len(lengths) == 1:
        return lengths[0]
    return math.exp(rng.uniform(*np.log(lengths)))


def _clip_rows(folder: Path, names: list[str]) -> Rows:
    for name in names:
        frames = sorted((folder / "blur" / name).glob("*"))
        if not frames:  # another process makes it
            continue
        middle = frames[len(frames) // 2]
        sharp = folder / "gt" / name / middle.name
        row = {"blurry": read_image(middle), "sharp": read_image(sharp)}
        yield f"{name}/{middle.stem}", row


def _sequence_rows(root: Path) -> Rows:
    for path in sorted(root.glob("*/blur/0000.png"))[:SHEET_ROWS]:
        folder = path.parents[1]
        row = {"blurry": read_image(path)}
        for number in (1, 4, 7):
            row[f"sharp frame {number}"] = read_image(folder / f"sharp/0000_{number}.png")
        yield folder.name, row
