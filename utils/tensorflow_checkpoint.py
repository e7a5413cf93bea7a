"""Reads checkpoints of TensorFlow without TensorFlow: PREFIX.index, a sorted-string table of tensor
records, and PREFIX.data-*, raw values.

Formats: tensorflow/core/lib/io/format (the table, LevelDB's, without compression) and
tensor_bundle.proto (the records). Numbers inside are varints (7 bits a byte, low ones first);
integers of fixed width and values are little-endian.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.errors import UserError, reading

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48  # bytes: two block handles, padding, magic
_TRAILER = 5  # bytes behind a block: its compression and a checksum
_DTYPES = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    9: "<i8",
    10: "?",
    17: "<u2",
    19: "<f2",
    22: "<u4",
    23: "<u8",
}


def find_prefix(path: Path, step: int | None = None) -> Path:
    """The checkpoint meant by a prefix, by its .index or .data file, or by a folder of checkpoints.

    Of a folder: the one of a step, else the one that its `checkpoint` file names, else the latest.
    """
    if path.is_dir():
        found = {
            int(end): file
            for file in path.glob("*.index")
            if (end := file.stem.rpartition("-")[2]).isdecimal()
        }
        if not found or (step is not None and step not in found):
            there = (
                f"it has the steps {', '.join(map(str, sorted(found)))}"
                if found
                else "no PREFIX-STEP.index is there"
            )
            raise UserError(
                f"no TensorFlow checkpoint{f' of step {step}' if step is not None else ''} in "
                f"{path}: {there}"
            )
        path = found[_current(path, max(found)) if step is None else step]
    prefix = (
        path.with_suffix("")
        if path.suffix == ".index" or path.suffix.startswith(".data-")
        else path
    )
    if not _beside(prefix, ".index").is_file():
        raise UserError(
            f"no TensorFlow checkpoint at {prefix}: {_beside(prefix, '.index').name} is missing"
        )
    return prefix


def _current(folder: Path, latest: int) -> int:
    """The step in the folder's `checkpoint` file if that checkpoint is there."""
    file = folder / "checkpoint"
    named = (
        re.match(r'model_checkpoint_path: ".*?-(\d+)"', file.read_text(encoding="utf-8"))
        if file.is_file()
        else None
    )
    return int(named[1]) if named and any(folder.glob(f"*-{named[1]}.index")) else latest


def is_checkpoint(path: Path) -> bool:
    """Whether a path is, or is the prefix or folder of, a TensorFlow checkpoint."""
    if path.is_dir():
        return any(path.glob("*-*.index"))
    return (
        path.suffix == ".index"
        or path.suffix.startswith(".data-")
        or _beside(path, ".index").is_file()
    )


def read_checkpoint(path: Path, step: int | None = None) -> dict[str, np.ndarray]:
    """{variable name: array} of a checkpoint (see find_prefix). Raises UserError for a missing,
    foreign, compressed or truncated file.
    """
    prefix = find_prefix(path, step)
    index = _beside(prefix, ".index")
    with reading(index, "the index of a TensorFlow checkpoint"):
        records = dict(_table(index.read_bytes()))
        header = _message(records.pop(b""))
        shards = header.get(1, [1])[0]
        return {
            name.decode(): _tensor(prefix, shards, name.decode(), _message(record))
            for name, record in records.items()
        }


def _tensor(prefix: Path, shards: int, name: str, record: dict[int, list]) -> np.ndarray:
    """A variable from its record: 1 type, 2 shape, 3 shard, 4 offset, 5 size in bytes."""
    kind = record[1][0]
    if kind not in _DTYPES:
        raise UserError(
            f"{prefix}: variable {name} has the TensorFlow type {kind}, which is no plain number"
        )
    dimensions = _message(record[2][0]).get(2, []) if 2 in record else []
    shape = [_message(dimension).get(1, [0])[0] for dimension in dimensions]
    file = _beside(prefix, f".data-{record.get(3, [0])[0]:05d}-of-{shards:05d}")
    offset, size = record.get(4, [0])[0], record.get(5, [0])[0]
    if not file.is_file():
        raise UserError(f"{file} is missing: a checkpoint is an .index file and its .data files")
    expected = math.prod(shape) * np.dtype(_DTYPES[kind]).itemsize
    if (there := max(file.stat().st_size - offset, 0)) < size or size != expected:
        raise UserError(
            f"{file} ends before variable {name}, or its index is damaged: {there} of {expected} "
            "bytes"
        )
    with open(file, "rb") as data:
        data.seek(offset)
        content = data.read(size)
    return np.frombuffer(content, _DTYPES[kind]).reshape(shape).copy()


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a sorted-string table: its index block lists the data blocks."""
    if len(content) < _FOOTER or int.from_bytes(content[-8:], "little") != _MAGIC:
        raise ValueError("the magic number at the end is missing")
    place = len(content) - _FOOTER
    for _ in range(2):  # the first handle is that of a block about the table
        offset, place = _varint(content, place)
        size, place = _varint(content, place)
    for _, handle in _block(content, offset, size):
        start, after = _varint(handle, 0)
        yield from _block(content, start, _varint(handle, after)[0])


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Entries of a block: each shares the beginning of its key with the one before; the tail lists
    restarts, which are not needed.
    """
    block = content[offset : offset + size + _TRAILER]
    if len(block) < size + _TRAILER:
        raise ValueError("a block is cut off")
    if block[size]:
        raise ValueError("it is compressed, which TensorFlow's savers do not do")
    end = size - 4 * (1 + int.from_bytes(block[size - 4 : size], "little"))
    place, key = 0, b""
    while place < end:
        shared, place = _varint(block, place)
        own, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + block[place : place + own]
        yield key, block[place + own : place + own + length]
        place += own + length


def _message(content: bytes) -> dict[int, list]:
    """A protocol buffer as {field number: values}: integers for varint and fixed fields, bytes for
    the others.
    """
    fields: dict[int, list] = {}
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, place = _varint(content, place)
        elif wire == 2:
            length, place = _varint(content, place)
            value, place = content[place : place + length], place + length
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            value, place = int.from_bytes(content[place : place + width], "little"), place + width
        else:
            raise ValueError(f"wire type {wire} in a record")
        fields.setdefault(number, []).append(value)
    return fields


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """(number, place behind it)."""
    number = shift = 0
    while True:
        byte = content[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place


def _beside(prefix: Path, ending: str) -> Path:
    return prefix.with_name(prefix.name + ending)
