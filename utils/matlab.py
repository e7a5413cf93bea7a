"""Reads arrays of numbers, and nothing else, from MATLAB's files of version 5 to 7.

Source: MAT-File Format, MathWorks, R2023a. SciPy's reader also builds objects and functions, and
crashes the process on some damaged files. A file is a header of 128 bytes and data elements: a tag
(type, size in bytes), then the content, padded to 8 bytes; small ones have both in 8 bytes. An
array is an element of elements: flags, sizes, name, values; it may be compressed.
"""

import math
import os
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from utils.errors import UserError, reading
from utils.files import read_regular

# of stored values
_TYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
# of arrays
_CLASSES = {
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
_OTHERS = {
    1: "a cell array",
    2: "a structure",
    3: "an object",
    4: "text",
    5: "a sparse array",
    16: "a function",
    17: "an object",
}
MAX_BYTES = 2**30  # of an unpacked array
_ARRAY = 14
_COMPRESSED = 15
_COMPLEX = 0x800
_HDF = b"\x89HDF\r\n\x1a\n"


def read_matlab(path: str | os.PathLike, name: str) -> np.ndarray:
    """The real array of that name.

    Raises UserError for a file without it, of another version, or damaged.
    """
    names = []
    with reading(path, "MATLAB file"):
        content = read_regular(path)
        if _HDF in (content[:8], content[512:520]):
            raise UserError(f"{path} is a MATLAB file of version 7.3: save it with -v7")
        order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
        if order is None:
            raise ValueError("its header is not that of version 5 to 7")
        for kind, element in _elements(content[128:], order):
            if kind == _COMPRESSED:
                kind, element = next(_elements(_unpacked(element), order))
            if kind != _ARRAY:
                continue
            parts = _elements(element, order)
            flags = struct.unpack(order + "I", next(parts)[1][:4])[0]
            shape = np.frombuffer(next(parts)[1], order + "i4").tolist()
            names.append(next(parts)[1].decode("latin1"))
            if names[-1] != name:
                continue
            number = flags & 0xFF
            if number not in _CLASSES or flags & _COMPLEX:
                held = _OTHERS.get(number, "no real array")
                raise UserError(f"{path}: {name} is {held}, numbers are expected")
            stored, values = next(parts)
            array = np.frombuffer(values, order + _TYPES[stored])
            if min(shape) < 0 or math.prod(shape) != array.size:
                raise ValueError(f"{name} has {array.size} values, its size is {shape}")
            return array.astype(_CLASSES[number]).reshape(shape, order="F")
    held = ", ".join(filter(None, names)) or "nothing"
    raise UserError(f"{path} holds {held}, no array called {name}")


def _unpacked(element: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(element, MAX_BYTES)
    if unpacking.unconsumed_tail:
        raise ValueError(f"an array unpacks to more than {MAX_BYTES:,} bytes")
    if not unpacking.eof:
        raise ValueError("it ends early")
    return content


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(type, content) one after the other."""
    position = 0
    while position + 8 <= len(content):
        kind, size = struct.unpack_from(order + "II", content, position)
        small = kind >> 16  # the size of a small element, which has 4 bytes of content
        if small:
            kind &= 0xFFFF
            size = small
            start = position + 4
            available = 4
            end = position + 8
        else:
            start = position + 8
            available = len(content) - start
            padding = 0 if kind == _COMPRESSED else -size % 8
            end = start + size + padding
        if available < size:
            raise ValueError("it ends early")
        yield kind, content[start : start + size]
        position = end
