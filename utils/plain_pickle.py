"""PyTorch files of any origin: tensors, plain containers and numbers, and nothing that runs.

`torch.load(weights_only=True)` refuses NumPy's scalars, which training programs leave beside the
weights (`"best_psnr": np.float64(31.2)`). They are rebuilt here from their bytes, without NumPy's
own constructors.
"""

import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import torch

from utils.errors import UserError, reading

_KINDS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


class _NumberKind:
    """Stands for a NumPy dtype of numbers."""

    def __init__(self, code: str, *flags: object):
        if code not in _KINDS:
            raise pickle.UnpicklingError(f"it holds a NumPy value of the kind {code!r:.20}")
        self.code = code
        self.order = "<"

    def __setstate__(self, state: tuple) -> None:
        if state[1] in (">", "<"):
            self.order = state[1]


def _number(kind: _NumberKind, content: bytes) -> float:
    return np.frombuffer(content, kind.order + kind.code, 1)[0].item()


# NumPy's names before version 2 and since.
_ALLOWED = [
    (_NumberKind, "numpy.dtype"),
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
]


def load_plain(path: str | os.PathLike) -> object:
    """Content of a PyTorch file on the CPU, without executing anything that it may contain.

    Raises UserError, which names the class, for a file that holds more than tensors, plain
    containers and numbers.
    """
    try:
        with reading(path, "a PyTorch weights file", zipfile.BadZipFile):
            return _loaded(path)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)|(?:class|global) ([\w.]+)", str(error))
        if found is None:
            raise UserError(f"{path} is not a PyTorch weights file, or it is damaged") from error
        name = found.group(1) or found.group(2)
        raise UserError(
            f"{path} holds a {name}, not only tensors: such a file could run code and is "
            "refused. Save its state_dict() alone."
        ) from error


def _loaded(path: str | os.PathLike) -> object:
    _check_archive(path)
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            return torch.load(path, map_location="cpu", weights_only=True)
    except RuntimeError as error:
        if "weights_only" not in str(error):
            raise
        # its sentence tells how to switch the protection off
        raise UserError(
            f"{path} is a PyTorch file of a kind that isn't read (TorchScript, or .tar of before "
            "2017): save its state_dict() with a newer version"
        ) from error


def _check_archive(path: str | os.PathLike) -> None:
    """Raises UserError for an archive that unpacks to much more than it holds.

    PyTorch stores without compression.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    size = Path(path).stat().st_size
    if unpacked > 2 * size + 2**20:
        raise UserError(
            f"{path} has {size:,} bytes and would unpack to {unpacked:,}: PyTorch writes no such "
            "file"
        )
