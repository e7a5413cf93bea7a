"""Decoding of picture files: upright pixels with 8 or 16 bits, and their transparency."""

import functools
import os
import re
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageCms

from utils import tiff
from utils.errors import DAMAGE, UserError
from utils.open_picture import (
    PNG,
    PORTABLE,
    TIFF,
    available,
    decode_with_opencv,
    open_picture,
)

ORIENTATION = 0x0112  # the EXIF tag
RAW_EXTENSIONS = (
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw",
    ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
)  # fmt: skip
HEIF_EXTENSIONS = (".heic", ".heif", ".hif")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_PORTABLE_TEXT = (b"P2", b"P3")
_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B")
# EXIF orientation -> how often to turn by 90 degrees, and whether to mirror left-right before
_TURNS = {
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (1, True),
    6: (3, False),
    7: (3, True),
    8: (1, False),
}


class Decoded(NamedTuple):
    """A picture's upright pixels [H,W,3], uint8 or uint16.

    alpha: transparency [H,W] of the pixels' type, or None; colours are not multiplied by it. grey:
    whether the file holds no colours.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False


def decode(data: bytes, name: str | os.PathLike) -> Decoded:
    """The picture in a file's content; `name` is for the error's sentence.

    Use it inside `damage_as_sentence`. Raises UserError for an animation, for several pages, for a
    camera's raw file and for HEIF without its package, else what damage makes the libraries raise.
    """
    check_kind(data, name)
    if data.startswith(TIFF):
        page = tiff.only_page(data, name)
        if not page.is_for_pillow:
            return _of_values(tiff.values_of(page, name), page.orientation)
        data = page.data
    elif data.startswith(PNG) and data[24:25] == b"\x10":
        return _deep_png(data, name)
    elif data.startswith((*PORTABLE, *_PORTABLE_TEXT)) and _maximum(data) > 255:
        return _deep_portable(data)
    return _with_pillow(data, name)


def check_kind(data: bytes, name: str | os.PathLike) -> None:
    """Raises UserError for a camera's raw file, and for HEIF where nothing here reads it.

    data: the file's first bytes at least.
    """
    if Path(name).suffix.lower() in RAW_EXTENSIONS:
        raise UserError(f"{name} is a camera's raw file: develop it first, as TIFF or JPEG")
    is_heif = data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and b"avif" not in data[:64]
    if is_heif and "HEIF" not in available():
        raise UserError(
            f"{name} is a HEIC/HEIF picture: pip install -r requirements-heif.txt (it reads them), "
            "or save it as JPEG"
        )


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation 1 .. 8 of an opened picture, 1 where it has none or a damaged one."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except DAMAGE:
        return 1
    return value if value in range(1, 9) else 1


def _with_pillow(data: bytes, name: str | os.PathLike) -> Decoded:
    with open_picture(data) as image:
        if image.format in _ANIMATED and getattr(image, "is_animated", False):
            raise UserError(
                f"{name} is an animation of {image.n_frames} pictures: make a video file (.mp4) "
                "or single pictures of it"
            )
        image.load()  # of a TIFF it turns the picture
        orientation = orientation_of(image)
        if image.mode.startswith("I;16"):
            return _of_values(np.asarray(image).astype(np.uint16)[..., None], orientation)
        grey = image.mode in _GREY
        transparent = image.mode in ("RGBA", "RGBa", "LA", "La", "PA")
        if image.mode == "LAB":
            image = _lab_to_srgb(image)
        elif transparent or "transparency" in image.info:
            transparent = True
            image = image.convert("RGBA")
        pixels = np.asarray(image if transparent else image.convert("RGB"))
    return _upright(pixels[..., :3], pixels[..., 3] if transparent else None, grey, orientation)


def _deep_png(data: bytes, name: str | os.PathLike) -> Decoded:
    with open_picture(data) as image:
        if getattr(image, "is_animated", False):
            raise UserError(f"{name} is an animation: make single pictures of it")
        image.load()  # OpenCV returns half a picture where a PNG ends early; this raises
        orientation = orientation_of(image)
    values = decode_with_opencv(data, cv2.IMREAD_UNCHANGED)
    if values.ndim == 2:
        values = values[..., None]
    order = [2, 1, 0, 3][: values.shape[2]] if values.shape[2] > 1 else [0]
    is_grey = data[25] in (0, 4)  # by the header; OpenCV makes RGBA of grey with transparency
    return _of_values(values[..., order], orientation)._replace(grey=is_grey)


def _deep_portable(data: bytes) -> Decoded:
    """A PGM or PPM file with up to 16 bits; its largest value becomes 65535."""
    if data.startswith(PORTABLE):
        stored = decode_with_opencv(data, cv2.IMREAD_UNCHANGED)
        stored = stored[..., None] if stored.ndim == 2 else stored[..., ::-1]
    else:
        with open_picture(data) as image:  # checks the size
            shape = (image.height, image.width, 3 if data.startswith(b"P3") else 1)
        text = re.sub(rb"#[^\r\n]*", b"", data[2:])
        stored = np.fromstring(text, sep=" ")[3:].reshape(shape)  # behind width, height, maximum
    values = np.round(stored * (65535 / _maximum(data))).clip(0, 65535)
    return _of_values(values.astype(np.uint16), 1)


def _of_values(values: np.ndarray, orientation: int) -> Decoded:
    """Of values [H,W,1-4] as stored: grey or RGB, transparency last."""
    grey = values.shape[2] <= 2
    alpha = values[..., -1] if values.shape[2] in (2, 4) else None
    colours = np.repeat(values[..., :1], 3, 2) if grey else values[..., :3]
    return _upright(colours, alpha, grey, orientation)


def _upright(pixels: np.ndarray, alpha: np.ndarray | None, grey: bool, orientation: int) -> Decoded:
    def turned(array: np.ndarray) -> np.ndarray:
        turns, mirror = _TURNS.get(orientation, (0, False))
        if mirror:
            array = array[:, ::-1]
        return np.ascontiguousarray(np.rot90(array, turns))

    return Decoded(turned(pixels), None if alpha is None else turned(alpha), grey)


def _maximum(data: bytes) -> int:
    """The largest value that a PGM or PPM file's header names; 0 where it is damaged."""
    header = re.sub(rb"#[^\r\n]*", b"", data[:4096]).split(maxsplit=4)
    return int(header[3]) if len(header) > 3 and header[3].isdigit() else 0


def _lab_to_srgb(image: Image.Image) -> Image.Image:
    return ImageCms.applyTransform(image, _lab_transform())


@functools.cache
def _lab_transform() -> ImageCms.ImageCmsTransform:
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
