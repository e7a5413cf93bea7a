"""At which scale each segment of a video is restored.

A video network sees whole clips, so the frames of a segment have one scale. It is decided in blocks
of frames read ahead; within a scene it changes only where the blur became twice as long or half as
long. The results on both sides of a change are blended.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from restoration.blur import measure
from restoration.scale import MIN_SIDE, PUBLISHED_AIM, PUBLISHED_REACH

BLOCK = 8  # frames that are decided on together, and over which a change is blended
MEASURED = 3  # frames of a block whose blur is measured
AIM = 13.0  # px that longer blur is shrunk to
STEPS_PER_OCTAVE = 2  # of the scales
LASTING = 2  # steps by which the scale of a block must differ to change within a segment

Decision = Callable[[list[Tensor]], float]


@dataclass
class Segment:
    """Frames [3,H,W] that are restored at one scale.

    length: how many of the frames handed out so far are its own; behind them come those of
    the next block, over which the change is blended.
    """

    scale: float | str
    frames: Iterator[Tensor]
    length: float = 0


def segments(frames: Iterable[Tensor], decide: Decision) -> Iterator[Segment]:
    """The segments of a scene; each must be consumed before the next is asked for."""
    blocks = _Blocks(frames, decide)
    while blocks.following:
        segment = Segment(blocks.following[0], iter(()))
        segment.frames = blocks.of(segment)
        yield segment


class _Blocks:
    """Reads one block of frames ahead; `following` is it as (scale, frames), None at the end."""

    def __init__(self, frames: Iterable[Tensor], decide: Decision):
        self.frames = iter(frames)
        self.decide = decide
        self.following: tuple[float, list[Tensor]] | None = None
        self._advance(None)

    def of(self, segment: Segment) -> Iterator[Tensor]:
        """The frames of a segment that begins with the block that follows."""
        while self.following and self.following[0] == segment.scale:
            _, frames = self.following
            segment.length += len(frames)
            self._advance(segment.scale)
            yield from frames
        if self.following:
            yield from self.following[1]

    def _advance(self, scale: float | None) -> None:
        """Read the next block; scale: of the segment that it may belong to."""
        block = list(itertools.islice(self.frames, BLOCK))
        if not block:
            self.following = None
            return
        wanted = self.decide(block)
        if scale and abs(steps(wanted) - steps(scale)) < LASTING:
            wanted = scale
        self.following = (wanted, block)


def decide_scale(block: list[Tensor], tuned: bool) -> float:
    """The scale for a block of frames [3,H,W] by the median of their blur."""
    step = max(len(block) // MEASURED, 1)
    chosen = block[step // 2 :: step]
    length = statistics.median(measure(frame).typical for frame in chosen)
    aim = AIM if tuned else PUBLISHED_AIM
    if not tuned and length <= PUBLISHED_REACH:
        return 1.0
    finest = steps(min(1.0, aim / length))
    coarsest = steps(min(1.0, MIN_SIDE / min(block[0].shape[-2:])))
    return 2 ** (max(round(finest), math.ceil(coarsest)) / STEPS_PER_OCTAVE)


def steps(scale: float) -> float:
    """A scale as the number of steps from 1, 0 or below."""
    return math.log2(scale) * STEPS_PER_OCTAVE
