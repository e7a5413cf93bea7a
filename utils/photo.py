"""Photos as people have them.

A restored copy keeps bit depth, transparency, greyness, colour profile and the camera's notes.
"""

import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from utils.files import atomic_path, read_regular
from utils.image import ORIENTATION, decode_image, in_depth
from utils.open_picture import damage_as_sentence, decode_with_opencv, open_picture

_GREY = ("1", "L", "LA", "I", "I;16", "I;16B")
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


class Photo(NamedTuple):
    """A photo file's upright pixels [H,W,3], uint8 or uint16, and what a restored copy keeps.

    alpha: transparency [H,W] of the pixels' type, or None. grey: whether the file holds no colours.
    profile: its ICC profile, None for CMYK, as the pixels are RGB. exif: the camera's notes without
    the orientation; None also where they are damaged.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    profile: bytes | None = None
    exif: bytes | None = None


def read_photo(path: str | os.PathLike) -> Photo:
    """Read a photo; errors as in utils/image.py: read_image."""
    with damage_as_sentence(path):
        data = read_regular(path)
        pixels = decode_image(data, path)
        try:
            with open_picture(data) as image:
                transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
                alpha = _alpha(image, data, pixels.dtype) if transparent else None
                profile = None if image.mode == "CMYK" else image.info.get("icc_profile")
                return Photo(pixels, alpha, image.mode in _GREY, profile, _notes(image))
        except UnidentifiedImageError:  # a 16-bit TIFF in colour, which OpenCV alone reads
            return Photo(pixels)


def write_photo(path: str | os.PathLike, image: Tensor, photo: Photo) -> None:
    """Write a restored image [3,H,W] in [0,1] as PNG, whole, with what the photo keeps."""
    deep = photo.pixels.dtype == np.uint16
    pixels = in_depth(image, photo.pixels.dtype)
    if photo.grey:
        pixels = np.round(pixels.mean(-1, keepdims=True)).astype(pixels.dtype)
    if photo.alpha is not None:
        pixels = np.concatenate((pixels, photo.alpha[..., None]), -1)
    with atomic_path(path) as temporary:
        if deep:
            temporary.write_bytes(_deep_png(pixels, photo))
        else:
            _write_png(temporary, pixels, photo)


def _write_png(path: Path, pixels: np.ndarray, photo: Photo) -> None:
    """Write pixels [H,W,1-4] uint8 as PNG with the photo's profile and notes."""
    notes = {}
    if photo.profile:
        notes["icc_profile"] = photo.profile
    if photo.exif:
        notes["exif"] = photo.exif
    if pixels.shape[2] == 1:
        pixels = pixels.squeeze(-1)
    Image.fromarray(pixels).save(path, "PNG", **notes)


def _deep_png(pixels: np.ndarray, photo: Photo) -> bytes:
    """A PNG file's content of pixels [H,W,1-4] uint16.

    PIL has no 16-bit colours: OpenCV encodes them, and the notes are put behind the header.
    """
    order = {1: [0], 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]
    png = cv2.imencode(".png", np.ascontiguousarray(pixels[..., order]))[1].tobytes()
    chunks = b""
    if photo.profile:
        chunks += _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(photo.profile))
    if photo.exif:
        chunks += _chunk(b"eXIf", photo.exif.removeprefix(b"Exif\0\0"))
    return png[:33] + chunks + png[33:]  # signature 8, header chunk 25


def _alpha(image: Image.Image, data: bytes, dtype: np.dtype) -> np.ndarray:
    """Transparency [H,W], upright."""
    if dtype == np.uint16:
        decoded = decode_with_opencv(data, cv2.IMREAD_UNCHANGED)  # not turned
        alpha = decoded[..., -1]
    else:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    turns, mirror = _TURNS.get(image.getexif().get(ORIENTATION, 1), (0, False))
    if mirror:
        alpha = alpha[:, ::-1]
    return np.ascontiguousarray(np.rot90(alpha, turns))


def _notes(image: Image.Image) -> bytes | None:
    exif = image.getexif()
    exif.pop(ORIENTATION, None)
    try:
        return exif.tobytes() if len(exif) else None
    except (AttributeError, TypeError, ValueError, struct.error):
        return None  # PIL can't write back what it read from a damaged or odd tag


def _chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    length = struct.pack(">I", len(content))
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return length + kind + content + checksum
