"""Validation sets of every kind of blur, made from sharp pictures and videos, fixed by a seed.

ROOT/pictures/KIND/{blur,sharp}/NAME.png    photos (KINDS_OF_PICTURES)
ROOT/clips/KIND/{blur,gt}/CLIP/FRAME.png    clips (KINDS_OF_CLIPS)
ROOT/kinds.json                             scenes, lengths of blur in px, and what was set

The material: DATA/pictures, DATA/texture (grass, water, foliage; none: `texture` is left out),
DATA/large (photos as cameras wrote them) and DATA/videos.
"""

import itertools
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from data.catalog import find_videos
from data.clips import write_clip
from data.compression import h264, jpeg
from data.photo_catalog import find_sharp
from data.synthesis.camera import NO_RESPONSE, STANDARD, Response
from data.synthesis.exposure import mean_in_linear_light
from data.synthesis.pair import to_file
from data.synthesis.realism import Realism, developed_pair, side_needed
from utils.errors import UserError
from utils.files import atomic_path
from utils.image import in_8bit, read_image, resize_to, write_image

PLAIN = Realism(
    camera=0, srgb=0, highlights=0, night=0, turning=0, layers=0, jpeg=0, clean=0, max_length=64
)


@dataclass(frozen=True)
class PictureKind:
    """How the pairs of a kind are made: lengths of the blur in px, steps, quality of JPEG."""

    lengths: tuple[float, float]
    realism: Realism = PLAIN
    quality: tuple[int, int] | None = None
    folder: str = "pictures"
    count: int = 12


@dataclass(frozen=True)
class ClipKind:
    """How the clips of a kind are made: frames that an exposure averages, in which space, crf."""

    exposure: int
    response: Response = NO_RESPONSE
    crf: int | None = None
    sharp_between: bool = False  # every second frame is sharp


KINDS_OF_PICTURES = {
    "kernels to 33 px": PictureKind((3, 28)),
    "kernels to 65 px": PictureKind((28, 60)),
    "srgb averages": PictureKind((4, 30), replace(PLAIN, srgb=1.0, turning=0.5)),
    "moving objects": PictureKind((6, 30), replace(PLAIN, layers=1.0)),
    "night": PictureKind(
        (4, 30),
        replace(PLAIN, camera=1.0, night=1.0, shot_noise=(3e-3, 1.2e-2), noise_reduction=0.5),
    ),
    "saturated lights": PictureKind((6, 40), replace(PLAIN, highlights=1.0, max_highlight=8.0)),
    "phone": PictureKind(
        (3, 30),
        replace(PLAIN, camera=1.0, shot_noise=(5e-4, 4e-3), sharpening=1.0, noise_reduction=1.0),
        quality=(50, 90),
    ),
    "texture": PictureKind((4, 20), replace(PLAIN, turning=0.5), folder="texture"),
    "1 px": PictureKind((1, 1)),
    "sharp": PictureKind((0, 0)),
}
KINDS_OF_CLIPS = {
    "srgb averages": ClipKind(7),
    "linear averages": ClipKind(7, STANDARD),
    "short exposures": ClipKind(3, STANDARD),
    "long exposures": ClipKind(11, STANDARD),
    "between sharp frames": ClipKind(7, STANDARD, sharp_between=True),
    "H.264 crf 26": ClipKind(7, STANDARD, crf=26),
    "H.264 crf 32": ClipKind(7, STANDARD, crf=32),
    "sharp": ClipKind(1),
}
LARGE_LENGTHS = (30, 80)  # px
LARGE = "large photos"


def make_kinds(source: Path, target: Path, seed: int, size: int, frames: int) -> None:
    """Write the sets; pictures and frames of clips are at most `size` px, clips `frames` long."""
    record = {"seed": seed, "pictures": {}, "clips": {}}
    for name, kind in KINDS_OF_PICTURES.items():
        folder = source / kind.folder
        if kind.folder != "pictures" and not folder.is_dir():
            continue
        root = target / "pictures" / name
        lengths = {}
        for picture, blurry, sharp, length in _pairs(folder, kind, seed, size):
            _write_pair(root, picture, blurry, sharp)
            lengths[picture] = round(length, 2)
        record["pictures"][name] = lengths
    if (source / "large").is_dir():
        record["pictures"][LARGE] = _write_large(source / "large", target, seed)
    if (source / "videos").is_dir():
        videos = _sharp_clips(source / "videos", size)
        for name, kind in KINDS_OF_CLIPS.items():
            root = target / "clips" / name
            record["clips"][name] = _write_clips(root, videos, kind, frames)
    target.mkdir(parents=True, exist_ok=True)
    with atomic_path(target / "kinds.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")


def _pairs(
    folder: Path, kind: PictureKind, seed: int, size: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
    """(name, blurry, sharp, length) of `count` pairs, the pictures in turn."""
    paths = find_sharp(folder)
    for number in range(kind.count):
        path = paths[number * max(len(paths) // kind.count, 1) % len(paths)]
        rng = np.random.default_rng((seed, zlib.crc32(path.name.encode()), number))
        side = side_needed(size)
        picture = _crop(rng, read_image(path), side)
        other = _crop(rng, read_image(paths[int(rng.integers(len(paths)))]), side)
        length = rng.uniform(*kind.lengths)
        pair = developed_pair(rng, picture, other, size, kind.realism, length)
        blurry = to_file(pair.blurry)
        if kind.quality:
            low, high = kind.quality
            blurry = jpeg(blurry, int(rng.integers(low, high + 1)))
        yield f"{number:02d}_{path.stem}", blurry, to_file(pair.sharp), pair.length


def _crop(rng: np.random.Generator, picture: np.ndarray, side: int) -> np.ndarray:
    """The part [side,side,3] of a picture, of four random ones, with most detail."""
    picture = in_8bit(picture)
    height, width = picture.shape[:2]
    if min(height, width) < side:
        raise UserError(f"validation pictures have at least {side} px, one is {width}x{height}")
    tops = rng.integers(0, height - side + 1, 4)
    lefts = rng.integers(0, width - side + 1, 4)
    parts = [picture[top : top + side, left : left + side] for top, left in zip(tops, lefts)]
    detail = [cv2.Laplacian(part, cv2.CV_32F).var() for part in parts]
    return parts[int(np.argmax(detail))]


def _write_large(folder: Path, target: Path, seed: int) -> dict[str, float]:
    """Whole photos with long blur in linear light, every second one with a moving object."""
    lengths = {}
    paths = find_sharp(folder)
    for number, path in enumerate(paths):
        rng = np.random.default_rng((seed, zlib.crc32(path.name.encode())))
        picture = read_image(path)
        side = min(picture.shape[:2])
        picture = np.ascontiguousarray(picture[:side, :side])
        other = read_image(paths[number - 1])
        other = cv2.resize(other, (side, side), interpolation=cv2.INTER_AREA)
        realism = replace(PLAIN, turning=1.0, layers=float(number % 2))
        length = rng.uniform(*LARGE_LENGTHS)
        size = side - side_needed(0)
        pair = developed_pair(rng, picture, other, size, realism, length)
        _write_pair(
            target / "pictures" / LARGE, path.stem, to_file(pair.blurry), to_file(pair.sharp)
        )
        lengths[path.stem] = round(pair.length, 2)
    return lengths


def _write_pair(root: Path, name: str, blurry: np.ndarray, sharp: np.ndarray) -> None:
    write_image(root / "blur" / f"{name}.png", blurry)
    write_image(root / "sharp" / f"{name}.png", sharp)


def _sharp_clips(folder: Path, size: int) -> dict[str, list[np.ndarray]]:
    """The middles of sharp videos, sides of at most 2 * size and then `size` px."""
    clips = {}
    for video in find_videos(folder, "frames").videos:
        frames = []
        for pixels in itertools.islice(video.open(), 0, 80):
            frame = resize_to(pixels, 640)
            height, width = frame.shape[:2]
            top = max(height - size, 0) // 2
            left = max(width - size, 0) // 2
            frame = frame[top : top + size, left : left + size]
            even = frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2]
            frames.append(np.ascontiguousarray(even))
        clips[video.name] = frames
    return clips


def _write_clips(
    root: Path, videos: dict[str, list[np.ndarray]], kind: ClipKind, frames: int
) -> dict[str, list[str]]:
    """{clip: names of its blurred frames}."""
    written = {}
    for name, sharp in videos.items():
        half = kind.exposure // 2
        stride = max(kind.exposure // 2, 1)
        middles = range(half, len(sharp) - half, stride)[:frames]
        if len(middles) < frames:
            continue
        blurry = [_exposed(sharp, middle, half, kind) for middle in middles]
        blurred = list(range(frames))
        if kind.sharp_between:
            blurred = list(range(1, frames - 1, 2))
            blurry = [
                blurry[index] if index in blurred else sharp[middle]
                for index, middle in enumerate(middles)
            ]
        if kind.crf is not None:
            blurry = list(h264(np.stack(blurry), kind.crf))
        names = [f"{middle:04d}" for middle in middles]
        truth = [sharp[middle] for middle in middles]
        images = zip(names, map(_in_unit, blurry), map(_in_unit, truth))
        write_clip(root, name, images)
        written[name] = [names[index] for index in blurred]
    return written


def _exposed(sharp: Sequence[np.ndarray], middle: int, half: int, kind: ClipKind) -> np.ndarray:
    if not half:
        return sharp[middle]
    frames = [_in_unit(frame) for frame in sharp[middle - half : middle + half + 1]]
    return to_file(mean_in_linear_light(frames, kind.response))


def _in_unit(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / 255
