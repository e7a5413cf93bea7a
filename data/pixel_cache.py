"""The decoded pixels of a data set, kept so that a training sample costs no decoding.

They are made once, by one process while others wait; data/pixel_file.py says how they lie.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import time
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from data.pixel_file import MAGIC, TILE, PixelCache, PixelFile, Source
from utils import distributed
from utils.device import available_memory, worker_processes
from utils.errors import UserError
from utils.image import image_size, read_image
from utils.options import Cached
from utils.progress import Progress

BATCH = 32  # pictures whose pixels reach the disk before they are marked as stored
MAX_THREADS = 16
HEAD_START_S = 3.0  # of the first of torchrun's processes, whose progress is seen


class SixteenBitError(UserError):
    """A picture that does not fit into 8 bits."""


def open_cache(paths: Iterable[Path], folder: Path, cached: Cached) -> PixelCache | None:
    """The pixels of pictures, read from the files where they are not yet in `folder`.

    Of several processes one reads, the others wait; one that was stopped is continued. Pictures
    that have changed since are all read anew. Returns None for cached "none". Raises UserError for
    a disk that is too small, 16-bit pictures, and damaged files.
    """
    if cached == "none":
        return None
    names = list(dict.fromkeys(path.absolute() for path in paths))
    tile = {"decoded": 0, "tiles": TILE}[cached]
    finished = folder / _folder_name(names, cached, tile) / "pixels"
    _make(names, tile, finished)
    return PixelCache(finished)


def _make(names: list[Path], tile: int, finished: Path) -> None:
    """Make the file, unless it is there and up to date."""
    if _is_current(finished):
        return
    if not distributed.is_main():
        time.sleep(HEAD_START_S)
    with _lock(finished.parent):
        if _is_current(finished):
            return
        if finished.exists():
            print(f"pictures have changed since {finished} was made: it is made anew")
            finished.unlink()
        _build(names, tile, finished)


def _is_current(path: Path) -> bool:
    """Whether a file is there and was made of the pictures as they are; a damaged one counts."""
    try:
        layout = PixelFile.of(path)
    except FileNotFoundError:
        return False
    return layout is None or all(source.is_unchanged() for source in layout.sources)


def _folder_name(paths: list[Path], cached: str, tile: int) -> str:
    """Data set, kind, and a hash of everything that the file's content depends on but stamps."""
    listed = "\n".join([MAGIC.decode(), str(tile), *map(str, paths)])
    digest = hashlib.sha256(os.fsencode(listed)).hexdigest()[:12]
    common = Path(os.path.commonpath([path.parent for path in paths]))
    return f"{'_'.join(common.parts[-2:]).strip('/_')}_{cached}_{digest}"


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """The folder, made if need be, for one process alone; the system drops the lock at its end."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process, which fills {folder}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(paths: list[Path], tile: int, finished: Path) -> None:
    """Store the pixels of the pictures that are not stored yet, then give the file its name."""
    partial = finished.with_name("pixels.partial")
    layout = _partial_layout(partial, tile) or _new_partial(partial, paths, tile)
    with open(partial, "r+b", buffering=0) as file:
        descriptor = file.fileno()
        flags = os.pread(descriptor, len(layout.sources), layout.flags)
        left = [index for index, flag in enumerate(flags) if not flag]
        store = functools.partial(_store, descriptor, layout)
        threads = worker_processes(MAX_THREADS)
        with (
            Progress(total=len(flags), initial=len(flags) - len(left), desc="decoding") as bar,
            ThreadPoolExecutor(threads) as pool,
        ):
            for start in range(0, len(left), BATCH):
                stored = []
                try:
                    for index in pool.map(store, left[start : start + BATCH]):
                        stored.append(index)
                        bar.update()
                except SixteenBitError:
                    partial.unlink()
                    raise
                finally:
                    _mark(descriptor, layout, stored)
    partial.replace(finished)


def _store(descriptor: int, layout: PixelFile, index: int) -> int:
    """Write a picture's tiles and their CRCs; returns its index."""
    source = layout.sources[index]
    pixels = read_image(source.path)
    _refuse_16_bits(source.path, pixels)
    if pixels.shape[:2] != (source.height, source.width) or not source.is_unchanged():
        raise UserError(f"{source.path} changed while it was read: run again")
    for tile in layout.tiles(index, slice(0, source.height), slice(0, source.width)):
        rows = slice(tile.top, tile.top + tile.height)
        data = pixels[rows, tile.left : tile.left + tile.width].tobytes()
        _write(descriptor, data, tile.offset)
        check = zlib.crc32(data).to_bytes(4, "little")
        _write(descriptor, check, layout.checks + 4 * tile.number)
    return index


def _mark(descriptor: int, layout: PixelFile, stored: list[int]) -> None:
    """Note pictures as stored, once their pixels are on the disk."""
    os.fsync(descriptor)
    for index in stored:
        _write(descriptor, b"\1", layout.flags + index)
    os.fsync(descriptor)


def _write(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        count = os.pwrite(descriptor, data, offset)
        data = data[count:]
        offset += count


def _partial_layout(partial: Path, tile: int) -> PixelFile | None:
    """The file that an earlier process left unfinished, if its pictures are still the same."""
    if not partial.exists():
        return None
    layout = PixelFile.of(partial)
    if layout and all(source.is_unchanged() for source in layout.sources):
        return layout
    return None


def _new_partial(partial: Path, paths: list[Path], tile: int) -> PixelFile:
    """A file for all pixels, nothing stored yet, with all its room on the disk."""
    partial.unlink(missing_ok=True)
    _refuse_16_bits(paths[0], read_image(paths[0]))
    layout = PixelFile([_survey(path) for path in Progress(paths, "measuring")], tile)
    _announce(layout, partial.parent)
    try:
        with open(partial, "xb") as file:
            os.posix_fallocate(file.fileno(), 0, layout.size)
            file.write(layout.header)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(_too_large(layout, partial.parent, error.strerror)) from error
    return layout


def _announce(layout: PixelFile, folder: Path) -> None:
    """Say what the file will take; raises UserError where the disk has not as much."""
    if layout.size > shutil.disk_usage(folder).free:
        raise UserError(_too_large(layout, folder, "No space left on device"))
    memory = available_memory(torch.device("cpu"))
    text = f"{len(layout.sources)} pictures are decoded once into {folder}: {_gb(layout.size)}"
    if memory and layout.size > memory:
        text += (
            f", more than the {_gb(memory)} of memory that are free, so that training reads from "
            "the disk"
        )
    print(text, flush=True)


def _too_large(layout: PixelFile, folder: Path, reason: str | None) -> str:
    free = _gb(shutil.disk_usage(folder).free)
    return (
        f"{reason}: the decoded pictures take {_gb(layout.size)}, {folder} has {free}: free some "
        "room, give another --cache_path, or leave --cached out"
    )


def _gb(count: int) -> str:
    return f"{count / 1e9:.3g} GB"


def _survey(path: Path) -> Source:
    height, width = image_size(path)
    found = path.stat()
    return Source(path, height, width, found.st_size, found.st_mtime_ns)


def _refuse_16_bits(path: Path, pixels: np.ndarray) -> None:
    if pixels.dtype != np.uint8:
        raise SixteenBitError(f"{path} has 16 bits a channel, --cached keeps 8: leave --cached out")
