"""What tests of the commands share: pictures to give them, and what an error message must be."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np


def pattern(size: tuple[int, int] = (64, 72), seed: int = 0) -> np.ndarray:
    """A smooth coloured picture [H,W,3] of a size (height, width)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def sentence(result: tuple[int, str], *parts: str) -> None:
    """Assert that a command (see conftest.py) ended with one sentence that holds these parts."""
    code, said = result
    assert code in (1, 2) and said.startswith("error: ") and said.count("\n") == 1, said
    assert all(part in said for part in parts), said


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The system refuses to make a file larger than `size` bytes: a stand-in for a full disk.

    Python ignores the signal for it, so writing fails.
    """
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
