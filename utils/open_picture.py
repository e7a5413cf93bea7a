"""Opening pictures of any origin: formats by an allow-list, a limit of pixels before decoding.

Pillow and OpenCV choose their decoder by a file's first bytes, whatever its name says, and know
formats that start other programs (PostScript) or are seldom tried with hostile files. Every picture
of a user's goes through `open_picture` or `decode_with_opencv`, which know the formats below alone.
"""

import functools
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from utils.errors import DAMAGE, UserError, out_of_memory
from utils.files import MAX_BYTES, check_regular

# Pillow's names. HEIF is there where its plugin is installed, AVIF where Pillow was built so.
FORMATS = (
    "JPEG", "MPO", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF",
)  # fmt: skip
MAX_PIXELS = 2**28  # 16,384 x 16,384: above every camera's; as float32 in colour it takes 3.2 GB
PNG = b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two: BigTIFF
PORTABLE = (b"P5", b"P6")  # PGM and PPM, binary
# `open_picture` refuses at this size; Pillow would warn from it on and raise at twice as many.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@contextmanager
def open_picture(source: str | os.PathLike | bytes) -> Iterator[Image.Image]:
    """A picture file, or a file's content, opened by Pillow; its pixels aren't decoded yet.

    Raises Pillow's UnidentifiedImageError for any other format, UserError for too many pixels and
    for what is no regular file. Use it inside `damage_as_sentence`.
    """
    if isinstance(source, bytes):
        source = io.BytesIO(source)
    else:
        check_regular(source, MAX_BYTES)
    with Image.open(source, formats=available()) as image:
        check_pixels(*image.size)
        yield image


def decode_with_opencv(data: bytes, flags: int) -> np.ndarray:
    """What cv2.imdecode makes of a PNG, TIFF, PGM or PPM file's content.

    Raises ValueError for another format or damage, UserError for too many pixels, MemoryError.
    """
    if data.startswith(TIFF):
        tags = tiff_tags(data)
        size = tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH]
    elif data.startswith((PNG, *PORTABLE)):
        with open_picture(data) as image:
            size = image.size
    else:
        raise ValueError("not a PNG, TIFF, PGM or PPM file")
    check_pixels(*size)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if out_of_memory(error):
            raise MemoryError(f"no memory for {size[0]}x{size[1]} pixels") from error
        raise ValueError(error.err) from error
    if pixels is None:
        raise ValueError("it holds no picture")
    return pixels


def tiff_tags(data: bytes) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Tags of the first page of a TIFF or BigTIFF file's content: number -> value or values.

    Of a damaged file it raises what DAMAGE lists.
    """
    _, tags = next(tiff_pages(data))
    return tags


def tiff_pages(
    data: bytes,
) -> Iterator[tuple[int, TiffImagePlugin.ImageFileDirectory_v2]]:
    """(offset, tags) of every page of a TIFF or BigTIFF file's content; errors as tiff_tags."""
    if data.startswith(b"MM\0+"):
        raise UserError("a big-endian BigTIFF file isn't read: save it as an ordinary TIFF")
    header = data[: 16 if data[2:4] in (b"+\0", b"\0+") else 8]
    file = io.BytesIO(data)
    offset = TiffImagePlugin.ImageFileDirectory_v2(header).next
    seen: set[int] = set()
    while offset and offset not in seen:
        seen.add(offset)
        tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        file.seek(offset)
        tags.load(file)
        yield offset, tags
        offset = tags.next


def check_pixels(width: int, height: int) -> None:
    """Raises UserError for a size that no picture has or that is too large to be decoded."""
    if width < 1 or height < 1:
        raise UserError(f"a picture of {width}x{height} pixels has nothing in it")
    if width * height > MAX_PIXELS:
        raise UserError(
            f"a picture of {width}x{height} pixels is too large: at most {MAX_PIXELS:,} pixels are "
            "read; cut it into parts"
        )


@contextmanager
def damage_as_sentence(path: str | os.PathLike) -> Iterator[None]:
    """Turns what goes wrong while an image file is read into a UserError that names it."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"no such image: {path}") from None
    except UnidentifiedImageError:
        raise UserError(
            f"{path} is not an image this program can read ({', '.join(available())})"
        ) from None
    except UserError as error:
        if str(path) in str(error):
            raise
        raise UserError(f"{path}: {error}") from error
    except (*DAMAGE, Image.DecompressionBombError) as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise UserError(
            f"{path} can't be read, it may be truncated or corrupt: {reason}"
        ) from error


def available() -> list[str]:
    """Those of FORMATS that are read here."""
    Image.init()
    _register_heif()
    return [name for name in FORMATS if name in Image.OPEN]


@functools.cache
def _register_heif() -> None:
    try:
        import pi_heif  # optional: requirements-heif.txt
    except ImportError:
        return
    pi_heif.register_heif_opener()
