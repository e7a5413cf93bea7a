"""Decoded pictures in one file: how they lie in it, and how windows of them are read.

The file: MAGIC; length and CRC-32 of the header; the header, JSON, with the pictures' paths, sizes
and time stamps; a byte per picture, 1 where it is stored; a CRC-32 per tile; from the next page on
the pixels, uint8. A picture is stored as tiles side by side, which don't overlap: a patch of any
size at any position is put together from those it meets. One tile is a whole picture, or TILE px,
so that few bytes are read for a patch.

Windows are read with pread: as fast as from mapped memory and out of the same memory of the system,
which all processes use together, but a file that ends early is an error instead of a signal.
"""

import contextlib
import itertools
import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import UserError

MAGIC = b"Blurlab pixels 1\n"
TILE = 256  # px
PAGE = 4096  # bytes
_LENGTHS = struct.Struct("<QI")  # of the header: bytes, CRC-32


@dataclass(frozen=True)
class Source:
    """A picture file: its size in px and what tells that it has changed."""

    path: Path
    height: int
    width: int
    bytes: int
    mtime_ns: int

    def is_unchanged(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            found = self.path.stat()
            return (found.st_size, found.st_mtime_ns) == (self.bytes, self.mtime_ns)
        return False


@dataclass(frozen=True)
class Tile:
    """A tile of a picture, and where it lies in the file."""

    number: int  # of its CRC
    top: int
    left: int
    height: int
    width: int
    offset: int  # bytes

    @property
    def bytes(self) -> int:
        return 3 * self.height * self.width


class PixelFile:
    """Where everything lies in the file of a header. tile: px, 0 = whole pictures."""

    def __init__(self, sources: list[Source], tile: int):
        self.sources = sources
        self.tile = tile
        self.header = self._header()
        self.flags = len(self.header)
        self.checks = self.flags + len(sources)
        counts = [_count(source, tile) for source in sources]
        self.first_tiles = [0, *itertools.accumulate(counts)]
        table_end = self.checks + 4 * self.first_tiles[-1]
        start = -(-table_end // PAGE) * PAGE
        sizes = [3 * source.height * source.width for source in sources]
        self.offsets = list(itertools.accumulate(sizes, initial=start))
        self.size = self.offsets[-1]

    def tiles(self, index: int, rows: slice, columns: slice) -> Iterator[Tile]:
        """The tiles of a picture that a window meets."""
        source = self.sources[index]
        down = self.tile or source.height
        right = self.tile or source.width
        per_row = -(-source.width // right)
        for top in range(rows.start // down * down, rows.stop, down):
            height = min(down, source.height - top)
            for left in range(columns.start // right * right, columns.stop, right):
                width = min(right, source.width - left)
                number = self.first_tiles[index] + top // down * per_row + left // right
                offset = self.offsets[index] + 3 * (top * source.width + height * left)
                yield Tile(number, top, left, height, width, offset)

    def _header(self) -> bytes:
        rows = [
            (str(source.path), source.height, source.width, source.bytes, source.mtime_ns)
            for source in self.sources
        ]
        content = json.dumps({"tile": self.tile, "sources": rows}).encode()
        return MAGIC + _LENGTHS.pack(len(content), zlib.crc32(content)) + content

    @classmethod
    def of(cls, path: Path) -> "PixelFile | None":
        """What the file's header says; None for a file that is damaged or not of its length."""
        with open(path, "rb") as file:
            start = file.read(len(MAGIC) + _LENGTHS.size)
            if len(start) < len(MAGIC) + _LENGTHS.size or not start.startswith(MAGIC):
                return None
            length, check = _LENGTHS.unpack(start[len(MAGIC) :])
            if length > path.stat().st_size:
                return None
            content = file.read(length)
        if zlib.crc32(content) != check or len(content) < length:
            return None
        header = json.loads(content)
        sources = [Source(Path(name), *numbers) for name, *numbers in header["sources"]]
        found = cls(sources, header["tile"])
        if path.stat().st_size != found.size:
            return None
        return found


class PixelCache:
    """The pictures of a finished file.

    Each tile is checked against its CRC-32 when a process reads it for the first time. Raises
    UserError for a file that is damaged or cut off.
    """

    def __init__(self, path: Path):
        self.path = path
        layout = PixelFile.of(path)
        if layout is None:
            raise UserError(self._damage())
        self.layout = layout
        self.file = open(path, "rb", buffering=0)
        # of a patch nothing beyond its rows is read
        os.posix_fadvise(self.file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        count = layout.first_tiles[-1]
        flags = self._bytes(len(layout.sources), layout.flags)
        self.checks = np.frombuffer(self._bytes(4 * count, layout.checks), "<u4")
        self.checked = np.zeros(count, bool)
        self.indices = {source.path: index for index, source in enumerate(layout.sources)}
        if flags.count(1) < len(flags):
            raise UserError(self._damage())

    def __reduce__(self):
        return PixelCache, (self.path,)

    def size(self, path: Path) -> tuple[int, int]:
        """(height, width) of a picture."""
        source = self.layout.sources[self.indices[path.absolute()]]
        return source.height, source.width

    def picture(self, path: Path) -> "CachedPicture":
        """A picture whose windows are read when they are asked for."""
        return CachedPicture(self, self.indices[path.absolute()])

    def window(self, index: int, rows: slice, columns: slice) -> np.ndarray:
        """Pixels [rows,columns,3] uint8 of a picture."""
        window = np.empty((rows.stop - rows.start, columns.stop - columns.start, 3), np.uint8)
        for tile in self.layout.tiles(index, rows, columns):
            self._check(tile)
            top = max(rows.start, tile.top)
            bottom = min(rows.stop, tile.top + tile.height)
            left = max(columns.start, tile.left)
            right = min(columns.stop, tile.left + tile.width)
            row_bytes = 3 * tile.width
            first = tile.offset + (top - tile.top) * row_bytes
            data = self._bytes((bottom - top) * row_bytes, first)
            strip = np.frombuffer(data, np.uint8).reshape(bottom - top, tile.width, 3)
            part = window[top - rows.start : bottom - rows.start]
            part[:, left - columns.start : right - columns.start] = strip[
                :, left - tile.left : right - tile.left
            ]
        return window

    def _check(self, tile: Tile) -> None:
        if self.checked[tile.number]:
            return
        if zlib.crc32(self._bytes(tile.bytes, tile.offset)) != self.checks[tile.number]:
            raise UserError(self._damage())
        self.checked[tile.number] = True

    def _bytes(self, count: int, offset: int) -> bytes:
        data = os.pread(self.file.fileno(), count, offset)
        while len(data) < count:  # the system reads 2 GB at most at a time
            more = os.pread(self.file.fileno(), count - len(data), offset + len(data))
            if not more:
                raise UserError(self._damage())
            data += more
        return data

    def _damage(self) -> str:
        return (
            f"the pixels kept in {self.path} are damaged or cut off: delete {self.path.parent} "
            "and run again, they are read from the pictures anew"
        )


class CachedPicture:
    """Pixels [H,W,3] uint8 in a file; picture[rows, columns] reads a window."""

    def __init__(self, cache: PixelCache, index: int):
        self.cache = cache
        self.index = index
        source = cache.layout.sources[index]
        self.shape = (source.height, source.width, 3)

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        ranges = [slice(*part.indices(length)[:2]) for part, length in zip(window, self.shape)]
        return self.cache.window(self.index, *ranges)


def _count(source: Source, tile: int) -> int:
    """How many tiles a picture has."""
    if not tile:
        return 1
    return -(-source.height // tile) * -(-source.width // tile)
