"""Reads checkpoints of TensorFlow without TensorFlow.

A checkpoint is PREFIX.index, a sorted-string table of tensor records, and PREFIX.data-*, raw
values. Formats: tensorflow/core/lib/io/format (the table, LevelDB's, without compression) and
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
# numbers of DataType in types.proto
_DTYPES = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1",
    9: "<i8", 10: "?", 17: "<u2", 19: "<f2", 22: "<u4", 23: "<u8",
}  # fmt: skip


def find_prefix(path: Path, step: int | None = None) -> Path:
    """The checkpoint meant by a prefix, by its .index or .data file, or by a folder of checkpoints.

    Of a folder: the one of a step, else the one that its `checkpoint` file names, else the latest.
    """
    if path.is_dir():
        prefix = _in_folder(path, step)
    elif _is_part(path):
        prefix = path.with_suffix("")
    else:
        prefix = path
    index = _beside(prefix, ".index")
    if not index.is_file():
        raise UserError(f"no TensorFlow checkpoint at {prefix}: {index.name} is missing")
    return prefix


def is_checkpoint(path: Path) -> bool:
    """Whether a path is, or is the prefix or folder of, a TensorFlow checkpoint."""
    if path.is_dir():
        return any(path.glob("*-*.index"))
    return _is_part(path) or _beside(path, ".index").is_file()


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """{variable name: array} of a checkpoint (see find_prefix).

    Raises UserError for a missing, foreign, compressed or truncated file.
    """
    prefix = find_prefix(path)
    index = _beside(prefix, ".index")
    with reading(index, "the index of a TensorFlow checkpoint"):
        records = dict(_table(index.read_bytes()))
        header = _message(records.pop(b""))
        shards = header.get(1, [1])[0]
        arrays = {}
        for key, record in records.items():
            name = key.decode()
            arrays[name] = _tensor(prefix, shards, name, _message(record))
        return arrays


def _in_folder(folder: Path, step: int | None) -> Path:
    """The prefix of the checkpoint of a step, else of the current one."""
    found: dict[int, Path] = {}
    for file in folder.glob("*.index"):
        number = file.stem.rpartition("-")[2]
        if number.isdecimal():
            found[int(number)] = file.with_suffix("")
    if not found:
        known = "no PREFIX-STEP.index is there"
    else:
        known = f"it has the steps {', '.join(map(str, sorted(found)))}"
    if step is None and found:
        step = _current(folder, max(found))
    if step not in found:
        wanted = "" if step is None else f" of step {step}"
        raise UserError(f"no TensorFlow checkpoint{wanted} in {folder}: {known}")
    return found[step]


def _current(folder: Path, latest: int) -> int:
    """The step in the folder's `checkpoint` file if that checkpoint is there, else the latest."""
    file = folder / "checkpoint"
    if not file.is_file():
        return latest
    text = file.read_text(encoding="utf-8")
    named = re.match(r'model_checkpoint_path: ".*?-(\d+)"', text)
    if named is None or not any(folder.glob(f"*-{named[1]}.index")):
        return latest
    return int(named[1])


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
    offset = record.get(4, [0])[0]
    size = record.get(5, [0])[0]
    if not file.is_file():
        raise UserError(f"{file} is missing: a checkpoint is an .index file and its .data files")
    expected = math.prod(shape) * np.dtype(_DTYPES[kind]).itemsize
    available = max(file.stat().st_size - offset, 0)
    if available < size or size != expected:
        raise UserError(
            f"{file} ends before variable {name}, or its index is damaged: {available} of "
            f"{expected} bytes"
        )
    with open(file, "rb") as data:
        data.seek(offset)
        content = data.read(size)
    return np.frombuffer(content, _DTYPES[kind]).reshape(shape).copy()


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a sorted-string table: its index block lists the data blocks."""
    if len(content) < _FOOTER or int.from_bytes(content[-8:], "little") != _MAGIC:
        raise ValueError("the magic number at the end is missing")
    # two handles; the first is that of a block about the table
    _, position = _handle(content, len(content) - _FOOTER)
    index, _ = _handle(content, position)
    for _, entry in _block(content, *index):
        data, _ = _handle(entry, 0)
        yield from _block(content, *data)


def _handle(content: bytes, position: int) -> tuple[tuple[int, int], int]:
    """((offset, size) of a block, position behind the handle)."""
    offset, position = _varint(content, position)
    size, position = _varint(content, position)
    return (offset, size), position


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Entries of a block: each shares the beginning of its key with the one before.

    The tail lists restarts, which are not needed.
    """
    block = content[offset : offset + size + _TRAILER]
    if len(block) < size + _TRAILER:
        raise ValueError("a block is cut off")
    if block[size]:
        raise ValueError("it is compressed, which TensorFlow's savers do not do")
    end = size - 4 * (1 + int.from_bytes(block[size - 4 : size], "little"))
    position = 0
    key = b""
    while position < end:
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + own]
        position += own
        yield key, block[position : position + length]
        position += length


def _message(content: bytes) -> dict[int, list]:
    """A protocol buffer as {field number: values}: integers, or bytes of wire type 2.

    Wire types: 0 varint, 1 fixed with 8 bytes, 2 bytes after their length, 5 fixed with 4 bytes.
    """
    fields: dict[int, list] = {}
    position = 0
    while position < len(content):
        tag, position = _varint(content, position)
        number = tag >> 3
        wire = tag & 7
        if wire == 0:
            value, position = _varint(content, position)
        elif wire == 2:
            length, position = _varint(content, position)
            value = content[position : position + length]
            position += length
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            value = int.from_bytes(content[position : position + width], "little")
            position += width
        else:
            raise ValueError(f"wire type {wire} in a record")
        fields.setdefault(number, []).append(value)
    return fields


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """(number, position behind it)."""
    number = 0
    shift = 0
    while True:
        byte = content[position]
        number |= (byte & 127) << shift
        position += 1
        shift += 7
        if byte < 128:
            return number, position


def _is_part(path: Path) -> bool:
    """Whether the name is that of an .index or .data file."""
    return path.suffix == ".index" or path.suffix.startswith(".data-")


def _beside(prefix: Path, ending: str) -> Path:
    return prefix.with_name(prefix.name + ending)
