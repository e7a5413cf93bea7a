"""Which picture of a TIFF file is meant, and the pixels of those that Pillow does not read.

Pillow reads 8 bits in one plane. OpenCV's libtiff reads 16 bits, too, with values in the usual
order; what a file has otherwise (planes, white as 0, premultiplied colours) is brought into that
form here, by other tags for the same data. Tags: TIFF 6.0; Adobe's TIFF technical notes.
"""

import struct
from dataclasses import dataclass

import cv2
import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from utils.errors import UserError
from utils.open_picture import check_pixels, decode_with_opencv, tiff_pages

MAX_PAGES = 10_000
REDUCED = 1  # bits of NewSubfileType
MASK = 4
OLD_REDUCED = 2  # of SubfileType
UNSIGNED = 1  # as SampleFormat
WHITE_IS_ZERO = 0
BLACK_IS_ZERO = 1
RGB = 2
ASSOCIATED = 1  # as ExtraSamples: the colours are multiplied by the transparency
UNASSOCIATED = 2
PLANAR = 2

_SUBFILE = 254
_OLD_SUBFILE = 255
_WIDTH = 256
_HEIGHT = 257
_BITS = 258
_PHOTOMETRIC = 262
_ORIENTATION = 274
_SAMPLES = 277
_CONFIGURATION = 284
_EXTRA = 338
_FORMAT = 339
# How the data lie in the file, which libtiff needs: compression, order of bits, rows per strip,
# predictor, size of tiles.
_DATA_TAGS = (259, 266, 278, 317, 322, 323)
_CHUNK_TAGS = (273, 279, 324, 325)  # where strips and tiles begin and how long they are
_SHORT = 3
_LONG = 4
_LONG8 = 16


@dataclass(frozen=True)
class Page:
    """A picture of a TIFF file. data: the file's content with this page as the first one."""

    data: bytes
    tags: ImageFileDirectory_v2

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) upright."""
        size = self.tags[_HEIGHT], self.tags[_WIDTH]
        return size[::-1] if self.orientation >= 5 else size

    @property
    def orientation(self) -> int:
        """As EXIF's, 1 where it is none."""
        value = self.tags.get(_ORIENTATION, 1)
        return value if value in range(1, 9) else 1

    @property
    def is_deep(self) -> bool:
        """Whether values have 16 bits."""
        return max(_numbers(self.tags, _BITS, 1)) > 8

    @property
    def is_planar(self) -> bool:
        """Whether the values of each colour lie together."""
        return self.tags.get(_CONFIGURATION, 1) == PLANAR and self.tags.get(_SAMPLES, 1) > 1

    @property
    def is_for_pillow(self) -> bool:
        """Whether Pillow reads it: with 8 bits, but not premultiplied colours in planes."""
        associated = _numbers(self.tags, _EXTRA, 0)[0] == ASSOCIATED
        return not self.is_deep and not (self.is_planar and associated)


def only_page(data: bytes, name: object) -> Page:
    """The picture of a TIFF file's content, not its reduced copies and masks.

    Raises UserError for several ones, and for values that are no unsigned ones of 1 to 16 bits.
    """
    found = []
    for index, (offset, tags) in enumerate(tiff_pages(data)):
        if index == MAX_PAGES:
            raise UserError(f"{name} has more than {MAX_PAGES} pages")
        reduced = tags.get(_SUBFILE, 0) & (REDUCED | MASK)
        if not reduced and tags.get(_OLD_SUBFILE) != OLD_REDUCED:
            found.append((offset, tags))
    if not found:
        raise UserError(
            f"{name} holds reduced pictures alone: if it is a camera's raw file, develop it first"
        )
    if len(found) > 1:
        raise UserError(
            f"{name} is a file of {len(found)} pages: save the ones you mean as files of their own"
        )
    offset, tags = found[0]
    check_pixels(tags[_WIDTH], tags[_HEIGHT])
    bits = max(_numbers(tags, _BITS, 1))
    if bits > 16 or bits in range(9, 16) or set(_numbers(tags, _FORMAT, UNSIGNED)) != {UNSIGNED}:
        kind = "signed or floating-point" if bits in (8, 16) else f"{bits}-bit"
        raise UserError(f"{name} holds {kind} values: save it with 8 or 16 bits")
    return Page(_starting_at(data, offset), tags)


def values_of(page: Page, name: object) -> np.ndarray:
    """Values [H,W,1-4], uint8 or uint16, of a page that is not for Pillow; they are not turned.

    They are grey or RGB, black is 0, transparency is the last; colours are not multiplied by it.
    Raises UserError for other colours.
    """
    tags = page.tags
    photometric = tags.get(_PHOTOMETRIC, RGB)
    colours = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3}.get(photometric)
    samples = tags.get(_SAMPLES, 1)
    extra = _numbers(tags, _EXTRA, 0)[0]
    readable = colours is not None and samples >= colours
    if not readable or not (page.is_planar or samples in (1, 3, 4)):
        raise UserError(
            f"{name} holds 16-bit values of {samples} channels with photometric interpretation "
            f"{photometric}: save it as grey or RGB"
        )
    if page.is_planar:
        wanted = colours + (samples > colours and extra in (ASSOCIATED, UNASSOCIATED))
        planes = [_decoded(_plane(page, index, samples)) for index in range(wanted)]
        pixels = np.concatenate(planes, -1)
    else:
        pixels = _decoded(_plain(page, samples))
        if samples > colours and extra not in (ASSOCIATED, UNASSOCIATED):
            pixels = pixels[..., :colours]
    top = np.iinfo(pixels.dtype).max
    if photometric == WHITE_IS_ZERO:
        pixels[..., 0] = top - pixels[..., 0]
    if pixels.shape[2] > colours and extra == ASSOCIATED:
        alpha = np.maximum(pixels[..., -1:].astype(np.float32), 1)
        pixels[..., :-1] = np.round(pixels[..., :-1] * (top / alpha)).clip(0, top)
    return pixels


def _decoded(data: bytes) -> np.ndarray:
    """Values [H,W,C] in the file's order."""
    pixels = decode_with_opencv(data, cv2.IMREAD_UNCHANGED)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError("no 8- or 16-bit image inside")
    if pixels.ndim == 2:
        return pixels[..., None]
    order = [2, 1, 0, 3][: pixels.shape[2]]
    return np.ascontiguousarray(pixels[..., order])


def _plain(page: Page, samples: int) -> bytes:
    """The file with tags that libtiff and OpenCV take as they are."""
    chunks = {tag: _numbers(page.tags, tag, None) for tag in _CHUNK_TAGS if tag in page.tags}
    return _with_tags(page, samples, chunks)


def _plane(page: Page, index: int, samples: int) -> bytes:
    """The file with one plane as its grey picture."""
    chunks = {}
    for tag in _CHUNK_TAGS:
        if tag in page.tags:
            values = _numbers(page.tags, tag, None)
            count = len(values) // samples
            chunks[tag] = values[index * count : (index + 1) * count]
    return _with_tags(page, 1, chunks)


def _with_tags(page: Page, samples: int, chunks: dict[int, tuple[int, ...]]) -> bytes:
    """The file's content with one new directory of tags behind it."""
    longs = _LONG8 if _is_big(page.data) else _LONG
    entries = {tag: (longs, values) for tag, values in chunks.items()}
    for tag in (_WIDTH, _HEIGHT, *_DATA_TAGS):
        if tag in page.tags:
            entries[tag] = (_LONG, _numbers(page.tags, tag, None))
    bits = max(_numbers(page.tags, _BITS, 1))
    entries[_BITS] = (_SHORT, (bits,) * samples)
    entries[_PHOTOMETRIC] = (_SHORT, (BLACK_IS_ZERO if samples == 1 else RGB,))
    entries[_SAMPLES] = (_SHORT, (samples,))
    if samples == 4:
        entries[_EXTRA] = (_SHORT, (UNASSOCIATED,))
    return _appended(page.data, entries)


def _appended(data: bytes, entries: dict[int, tuple[int, tuple[int, ...]]]) -> bytes:
    """A TIFF file's content with a directory {tag: (type, values)} behind it as its only one."""
    order = "<" if data[:2] == b"II" else ">"
    big = _is_big(data)
    count_format, length_format = ("Q", "Q") if big else ("H", "I")
    room = 8 if big else 4
    content = bytearray(data + b"\0" * (-len(data) % 8))
    rows = b""
    for tag, (kind, values) in sorted(entries.items()):
        letter = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}[kind]
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(packed) > room:
            offset = len(content)
            content += packed + b"\0" * (-len(packed) % 8)
            packed = struct.pack(order + length_format, offset)
        rows += struct.pack(f"{order}HH{length_format}", tag, kind, len(values))
        rows += packed.ljust(room, b"\0")
    offset = len(content)
    content += struct.pack(order + count_format, len(entries)) + rows + b"\0" * room
    return _starting_at(bytes(content), offset)


def _starting_at(data: bytes, offset: int) -> bytes:
    """A TIFF file's content whose first directory is the one at an offset."""
    order = "<" if data[:2] == b"II" else ">"
    if _is_big(data):
        return data[:8] + struct.pack(order + "Q", offset) + data[16:]
    return data[:4] + struct.pack(order + "I", offset) + data[8:]


def _is_big(data: bytes) -> bool:
    return data[2:4] in (b"+\0", b"\0+")


def _numbers(tags: ImageFileDirectory_v2, tag: int, default: int | None) -> tuple[int, ...]:
    values = tags.get(tag, default)
    return values if isinstance(values, tuple) else (values,)
