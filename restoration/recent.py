"""The frames of a stream that is being restored, until their results are there."""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import numpy as np
from torch import Tensor

from utils.image import to_tensor

Key = TypeVar("Key")


class Recent(Generic[Key]):
    """Hands out frames as tensors and remembers them until told to forget: `keys[index]` and
    `pixels[index]`.

    first: the index of the first one. wanted: of the first one to remember, with the one before it.
    """

    def __init__(self, frames: Iterable[tuple[Key, np.ndarray]], first: int = 0, wanted: int = 0):
        self._frames = frames
        self._first = first
        self._wanted = wanted
        self.keys: dict[int, Key] = {}
        self.pixels: dict[int, np.ndarray] = {}

    def __iter__(self) -> Iterator[Tensor]:
        for index, (key, pixels) in enumerate(self._frames, self._first):
            if index >= self._wanted - 1:
                self.keys[index] = key
                self.pixels[index] = pixels
            yield to_tensor(pixels)

    def forget_before(self, index: int) -> None:
        """Keep a frame, the one before it and what follows."""
        for memory in (self.keys, self.pixels):
            for older in [number for number in memory if number < index - 1]:
                del memory[older]
