"""Numbers that a GPU computes, read without making it wait."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Reading(NamedTuple):
    """Named numbers of an optimiser step, which starts from 1; rate: its learning rate."""

    step: int
    rate: float
    values: dict[str, float]


class Readings:
    """A queue of the numbers of steps, from which each is read when later ones are under way.

    Reading a step's loss at once would keep the GPU idle until the next step is enqueued. delay:
    steps between; 1 on a GPU, 0 where there is nothing to wait for.
    """

    def __init__(self, device: torch.device, delay: int | None = None):
        self.delay = int(device.type == "cuda") if delay is None else delay
        self._waiting: deque = deque()

    def add(self, step: int, rate: float, names: list[str], values: Tensor) -> None:
        """Queue the numbers [N] of a step."""
        event = None
        copied = values.to("cpu", non_blocking=True)
        if values.is_cuda:
            event = torch.cuda.Event()
            event.record()
        self._waiting.append((step, rate, names, copied, event))

    def ready(self, everything: bool = False) -> Iterator[Reading]:
        """The numbers whose turn it is, in order; everything: all that wait."""
        while len(self._waiting) > (0 if everything else self.delay):
            step, rate, names, copied, event = self._waiting.popleft()
            if event:
                event.synchronize()
            yield Reading(step, rate, dict(zip(names, copied.tolist(), strict=True)))
