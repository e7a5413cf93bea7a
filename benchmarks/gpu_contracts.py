"""What a part of gpu_check is, and what it notes."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch


@dataclass
class Check:
    """A part's work: where it runs, how large, until when; and what it found.

    tiny: sizes for a test on a CPU. rows: {column: value} of a table. faults: what is not as it
    should be. left_out: for lack of time. note: a sentence.
    """

    device: torch.device
    tiny: bool
    deadline: float
    rows: list[dict] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    note: str = ""

    def each(self, names: Iterable[str]) -> Iterator[str]:
        """The names in order, as long as there is time."""
        for name in names:
            if time.monotonic() > self.deadline:
                self.left_out.append(name)
            else:
                yield name

    def expect(self, holds: bool, fault: str) -> None:
        """Note a fault unless something holds."""
        if not holds:
            self.faults.append(fault)


@dataclass(frozen=True)
class Part:
    """One question: what it asks, how long it may take (s), and who answers."""

    question: str
    budget: float
    run: Callable[[Check], None]
