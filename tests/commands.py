"""What tests of the commands share: pictures to give them, and what is asked of a mistake's
sentence.
"""

from pathlib import Path

import cv2
import numpy as np


def pattern(size: tuple[int, int] = (64, 72), seed: int = 0) -> np.ndarray:
    """A smooth coloured picture [H,W,3] of a size (height, width)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def sentence(result: tuple[int, str], *parts: str) -> None:
    """Asserts that a command (see conftest.py) ended with one sentence that holds these parts."""
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
