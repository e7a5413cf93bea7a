"""Frames on their way to a GPU and back, while it works on others.

Frames go up from pinned memory on a stream of their own. Results come back one frame late, so that
there is one wait per frame and the next frame's work is enqueued before it. On a CPU nothing is
copied or delayed.
"""

from collections import deque
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

LATE = 1  # frames that a result waits for on a GPU


class Upload:
    """Brings tensors to a device."""

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, values: Tensor) -> Tensor:
        if self.stream is None:
            return values.to(self.device)
        current = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.stream):
            moved = values.pin_memory().to(self.device, non_blocking=True)
        current.wait_stream(self.stream)
        moved.record_stream(current)
        return moved


def downloaded(results: Iterable[Tensor], late: int | None = None) -> Iterator[Tensor]:
    """The results on the CPU; those on a GPU are copied while the next one is computed.

    late: how many results later each is given; by default LATE on a GPU, else 0.
    """
    waiting: deque[tuple[Tensor, torch.cuda.Event | None]] = deque()
    for result in results:
        event = None
        copied = result.to("cpu", non_blocking=True)
        if result.is_cuda:
            event = torch.cuda.Event()
            event.record()
        waiting.append((copied, event))
        lag = int(result.is_cuda) * LATE if late is None else late
        while len(waiting) > lag:
            yield _arrived(*waiting.popleft())
    for copied, event in waiting:
        yield _arrived(copied, event)


def _arrived(copied: Tensor, event: torch.cuda.Event | None) -> Tensor:
    if event is not None:
        event.synchronize()
    return copied
