"""Reading, writing and rounding of images.

On disk: any of EXTENSIONS, 8 or 16 bits, grey, palette, RGB or RGBA. In memory: RGB float32 in [0,1], gamma-encoded.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from utils.errors import UserError
from utils.files import atomic_path

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")


def is_image(path: Path) -> bool:
    """Whether the name is that of an image we read (hidden files are not)."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Pixels [H,W,3] of an image file, RGB, uint8 or (16-bit PNG and TIFF) uint16, upright by its EXIF orientation.

    Grey becomes RGB, transparency is dropped. Raises UserError for a missing, foreign, truncated or corrupt file.
    """
    with _damage_as_sentence(path):
        return decode_image(Path(path).read_bytes(), path)


def decode_image(data: bytes, name: str | os.PathLike) -> np.ndarray:
    """As read_image, of a file's content; `name` is for the error's sentence."""
    with _damage_as_sentence(name):
        return _decode_16bit(data) if _may_have_16_bits(data) else _decode_8bit(data)


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) of an image file as read_image returns it, from its header alone where PIL knows the format."""
    with _damage_as_sentence(path):
        try:
            with Image.open(path) as image:
                width, height = image.size
                # PIL decodes a whole PNG to look for EXIF behind the pixels; `info` has what stands before them.
                exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
        except UnidentifiedImageError:  # a 16-bit TIFF, for one
            return read_image(path).shape[:2]
    turned = exif.get(_ORIENTATION, 1) >= 5  # orientations 5 .. 8 exchange the axes
    return (width, height) if turned else (height, width)


@contextmanager
def _damage_as_sentence(path: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"no such image: {path}") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is not an image this program can read ({', '.join(EXTENSIONS)})") from None
    except UserError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # PIL raises all of these for damage
        raise UserError(f"{path} can't be read, it may be truncated or corrupt: {error}") from error


def write_image(path: str | os.PathLike, pixels: np.ndarray | Tensor) -> None:
    """Write pixels [H,W,3] (uint8, uint16) or an image tensor [3,H,W] in [0,1] (as 8 bits); atomic, makes the folder."""
    path = Path(path)
    if isinstance(pixels, Tensor):
        pixels = to_8bit(pixels)
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode_image(pixels, path.suffix))


class Photo(NamedTuple):
    """A photo file's pixels [H,W,3] (see read_image) and what a restored copy keeps of it.

    alpha: transparency [H,W] of the pixels' type, or None. grey: whether the file holds no colours. profile: its ICC profile of RGB
    colours. exif: the camera's notes, without the orientation, as the pixels are upright.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    profile: bytes | None = None
    exif: bytes | None = None


def read_photo(path: str | os.PathLike) -> Photo:
    """As read_image, with what a restored copy keeps."""
    with _damage_as_sentence(path):
        data = Path(path).read_bytes()
        if _may_have_16_bits(data):
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            alpha = np.ascontiguousarray(pixels[..., 3]) if pixels is not None and pixels.ndim == 3 and pixels.shape[2] == 4 else None
            return Photo(decode_image(data, path), alpha, grey=pixels is not None and pixels.ndim == 2)
        with Image.open(io.BytesIO(data)) as image:
            exif = image.getexif()
            upright = ImageOps.exif_transpose(image)
            transparent = upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info
            alpha = np.asarray(upright.convert("RGBA").getchannel("A")) if transparent else None
            exif.pop(_ORIENTATION, None)
            profile = None if image.mode == "CMYK" else image.info.get("icc_profile")
            grey = image.mode in ("1", "L", "LA")
            return Photo(np.asarray(upright.convert("RGB")), alpha, grey, profile, exif.tobytes() if len(exif) else None)


def write_photo(path: str | os.PathLike, image: Tensor, photo: Photo) -> None:
    """Write a restored image [3,H,W] in [0,1] as PNG with the bit depth, transparency, profile and notes of the photo it came from."""
    deep = photo.pixels.dtype == np.uint16
    pixels = to_16bit(image) if deep else to_8bit(image)
    if photo.grey:
        pixels = np.round(pixels.mean(-1, keepdims=True)).astype(pixels.dtype)
    if photo.alpha is not None:
        pixels = np.concatenate((pixels, photo.alpha[..., None]), -1)
    with atomic_path(path) as temporary:
        if deep:
            order = {1: [0], 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]
            temporary.write_bytes(cv2.imencode(".png", np.ascontiguousarray(pixels[..., order]))[1].tobytes())
        else:
            notes = {"icc_profile": photo.profile, "exif": photo.exif}
            Image.fromarray(pixels.squeeze(-1) if pixels.shape[2] == 1 else pixels).save(
                temporary, "PNG", **{name: value for name, value in notes.items() if value}
            )


def encode_image(pixels: np.ndarray, suffix: str) -> bytes:
    """Content of a picture file (.png, .jpg with quality 95, ...) of pixels [H,W,3] uint8 or uint16."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix.lower() in (".jpg", ".jpeg") else []
    return cv2.imencode(suffix, np.ascontiguousarray(pixels[..., ::-1]), settings)[1].tobytes()


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Image tensor [3,H,W] float32 in [0,1] of pixels [H,W,3] uint8 or uint16."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / np.iinfo(pixels.dtype).max)


def to_8bit(image: Tensor) -> np.ndarray:
    """round(clip(x,0,1)*255) (half to even) of [...,3,H,W] as uint8 [...,H,W,3]: the one rounding of the project."""
    return (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).movedim(-3, -1).cpu().numpy()


def to_16bit(image: Tensor) -> np.ndarray:
    """round(clip(x,0,1)*65535) of [3,H,W] as uint16 [H,W,3]."""
    return (image.detach().double().clamp(0, 1) * 65535).round().movedim(-3, -1).cpu().numpy().astype(np.uint16)


def resize_to(pixels: np.ndarray, longest: int) -> np.ndarray:
    """Shrink pixels [H,W,3] by area averaging so that no side exceeds `longest`; smaller images stay as they are."""
    scale = longest / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = [max(round(side * scale), 1) for side in pixels.shape[1::-1]]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _decode_8bit(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _decode_16bit(data: bytes) -> np.ndarray:
    if data.startswith(_PNG):
        with Image.open(io.BytesIO(data)) as image:  # OpenCV returns half a picture where a PNG ends early; this raises
            image.load()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError("no 8- or 16-bit image inside")
    return np.ascontiguousarray(pixels[..., ::-1])


_ORIENTATION = 0x0112  # the EXIF tag
_PNG = b"\x89PNG\r\n\x1a\n"


def _may_have_16_bits(data: bytes) -> bool:
    return (data.startswith(_PNG) and data[24:25] == b"\x10") or data[:4] in (b"II*\0", b"MM\0*")
