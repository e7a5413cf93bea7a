"""Reading, writing and rounding of images.

On disk: any of EXTENSIONS, 8 or 16 bits, grey, palette, RGB or RGBA. In memory: RGB float32 in
[0,1], gamma-encoded.
"""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from utils.decode import HEIF_EXTENSIONS, RAW_EXTENSIONS, check_kind, decode, orientation_of
from utils.errors import UserError
from utils.files import check_regular, read_regular, write_bytes
from utils.open_picture import TIFF, damage_as_sentence, open_picture
from utils.tiff import only_page

EXTENSIONS = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
    ".pnm", ".jp2", ".avif", *HEIF_EXTENSIONS,
)  # fmt: skip
# Pictures that are not read, for the note that names them.
OTHER_PICTURES = (".gif", ".psd", ".svg", ".jxl", ".exr", ".hdr", ".tga", ".ico", ".eps", ".dds")


def is_image(path: Path) -> bool:
    """Whether the name is that of an image we read (hidden files are not)."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def left_out(paths: Iterable[Path]) -> str:
    """What the pictures among files are that are not read, with their numbers; "" for none."""
    counts = Counter(path.suffix.lower() for path in paths if not path.name.startswith("."))
    raw = [ending for ending in sorted(counts) if ending in RAW_EXTENSIONS]
    words = []
    if raw:
        total = sum(counts[ending] for ending in raw)
        words.append(f"{total} raw files of cameras ({', '.join(raw)}: develop them first)")
    words += [f"{counts[ending]} {ending}" for ending in OTHER_PICTURES if counts[ending]]
    return ", ".join(words)


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Pixels [H,W,3] of an image file, RGB, upright by its EXIF orientation.

    They are uint8 or, of files with 16 bits, uint16. Grey becomes RGB, transparency is dropped.
    Raises UserError for a missing, foreign, truncated, corrupt or animated file.
    """
    with damage_as_sentence(path):
        return decode_image(read_regular(path), path)


def read_8bit(path: str | os.PathLike) -> np.ndarray:
    """As read_image, but 16-bit pixels rounded to 8 bits."""
    return in_8bit(read_image(path))


def decode_image(data: bytes, name: str | os.PathLike) -> np.ndarray:
    """As read_image, of a file's content; `name` is for the error's sentence."""
    with damage_as_sentence(name):
        return decode(data, name).pixels


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) of an image file as read_image returns it, read from its header."""
    with damage_as_sentence(path):
        head = _first_bytes(path)
        check_kind(head, path)
        if head.startswith(TIFF):
            return only_page(read_regular(path), path).size
        with open_picture(path) as image:
            width, height = image.size
            # PIL decodes a whole PNG to look for EXIF behind the pixels; `info` has what stands
            # before them.
            has_exif = image.format != "PNG" or "exif" in image.info
            orientation = orientation_of(image) if has_exif else 1
    return (width, height) if orientation >= 5 else (height, width)


def _first_bytes(path: str | os.PathLike) -> bytes:
    check_regular(path)
    with open(path, "rb") as file:
        return file.read(64)


def write_image(path: str | os.PathLike, pixels: np.ndarray | Tensor) -> None:
    """Write pixels [H,W,3] (uint8, uint16) or an image tensor [3,H,W] in [0,1] (as 8 bits).

    The file is written whole or not at all; its folder is made.
    """
    path = Path(path)
    if isinstance(pixels, Tensor):
        pixels = to_8bit(pixels)
    write_bytes(path, encode_image(pixels, path.suffix))


def encode_image(pixels: np.ndarray, suffix: str, quality: int = 95) -> bytes:
    """Content of a picture file (.png, .jpg, ...) of pixels [H,W,3], uint8 or uint16.

    quality: of JPEG, 0 .. 100. Raises UserError for a side that the format cannot hold.
    """
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix.lower() in (".jpg", ".jpeg") else []
    done, data = cv2.imencode(suffix, np.ascontiguousarray(pixels[..., ::-1]), settings)
    if not done:
        raise UserError(
            f"a picture of {pixels.shape[1]}x{pixels.shape[0]} px is too large for a {suffix} file"
        )
    return data.tobytes()


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Image tensor [3,H,W] float32 in [0,1] of pixels [H,W,3] uint8 or uint16."""
    values = pixels.transpose(2, 0, 1).astype(np.float32)
    return torch.from_numpy(values / np.iinfo(pixels.dtype).max)


def to_8bit(image: Tensor) -> np.ndarray:
    """round(clip(x,0,1)*255) (half to even) of [...,3,H,W] as uint8 [...,H,W,3].

    This is the one rounding of the project.
    """
    values = (image.detach().float().clamp(0, 1) * 255).round()
    return values.to(torch.uint8).movedim(-3, -1).cpu().numpy()


def to_16bit(image: Tensor) -> np.ndarray:
    """round(clip(x,0,1)*65535) of [3,H,W] as uint16 [H,W,3]."""
    values = (image.detach().double().clamp(0, 1) * 65535).round()
    return values.movedim(-3, -1).cpu().numpy().astype(np.uint16)


def in_depth(image: Tensor, dtype: np.dtype) -> np.ndarray:
    """Pixels [H,W,3] of an image [3,H,W] in [0,1] as uint8 or uint16."""
    return to_16bit(image) if dtype == np.uint16 else to_8bit(image)


def in_8bit(pixels: np.ndarray) -> np.ndarray:
    """Pixels [H,W,3] uint8 or uint16 as uint8."""
    return pixels if pixels.dtype == np.uint8 else to_8bit(to_tensor(pixels))


def resize_to(pixels: np.ndarray, longest: int) -> np.ndarray:
    """Shrink pixels [H,W,3] by area averaging so that no side exceeds `longest`.

    Smaller images stay as they are.
    """
    scale = longest / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = [max(round(side * scale), 1) for side in pixels.shape[1::-1]]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
