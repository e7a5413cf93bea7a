"""Restore videos frame by frame, in memory that does not grow with their length."""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from models import SHIPPED, find, is_exact_in_bf16, is_shipped, load_network
from models.contracts import Observer, VideoNetwork
from restoration.blur import measure
from restoration.guard import Fallbacks, is_astray
from restoration.sanity import checked, range_of
from restoration.scale import (
    BLURRY_FRAME,
    Plan,
    check_strength,
    enlarged,
    fixed_plan,
    halvings,
    parse_scale,
    shrunk,
)
from restoration.segments import Segment, decide_scale, segments
from restoration.transfer import Upload, downloaded
from utils.device import (
    available_memory,
    choose_device,
    choose_precision,
    each_in_inference,
    inference,
)
from utils.errors import UserError
from utils.scenes import scene_start, scenes
from utils.tiling import pad_to_multiple


@dataclass(frozen=True)
class VideoRestorer:
    """A video network on its device; dtype: what it computes in.

    scale: auto, mean, or a number, see restoration/scale.py and segments.py; tuned, strength: as of
    ImageRestorer. only_blurry: frames that are hardly blurred stay as they are. guard: so do frames
    whose result went astray (restoration/guard.py), counted in `fallbacks`.
    """

    network: VideoNetwork
    device: torch.device
    dtype: torch.dtype = torch.float32
    weights: Path | None = None
    scale: str | float = 1.0
    tuned: bool = True
    strength: float = 1.0
    only_blurry: bool = False
    guard: bool = False
    fallbacks: Fallbacks = field(default_factory=partial(Fallbacks, "frames"), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", parse_scale(self.scale))
        check_strength(self.strength)

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        *,
        compile: bool = False,
        scale: str | float = "auto",
        strength: float = 1.0,
        only_blurry: bool = False,
        guard: bool = True,
    ) -> Self:
        """The network in a weights file, ours or the authors', on a device.

        weights: a path, or the name of a file in pretrain_models/ or of a run in experiment/; none:
        the shipped network. device, precision: see utils/device.py.
        """
        scale = parse_scale(scale)
        check_strength(strength)
        where = choose_device(device)
        path = find(weights or SHIPPED["video"])
        network = load_network(path, VideoNetwork).use_local_statistics()
        network = network.to(where, memory_format=torch.channels_last)
        if compile:
            network.compile()
        dtype = choose_precision(precision, where, is_exact_in_bf16(path))
        tuned = is_shipped(path)
        return cls(network, where, dtype, path, scale, tuned, strength, only_blurry, guard)

    def __call__(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Restored frames [H,W,3], as many as come in, of their type (uint8 or uint16).

        Each scene is restored on its own. Raises UserError for frames that need more memory than
        is free.
        """
        from utils.image import in_depth, to_tensor  # Pillow is not needed for tensors

        frames = iter(frames)
        first = next(frames, None)
        if first is None:
            return
        self.plan_memory(first.shape[:2])
        tensors = map(to_tensor, itertools.chain([first], frames))
        for restored in self.stream(tensors, cuts=True):
            yield in_depth(restored, first.dtype)

    def stream(
        self,
        frames: Iterable[Tensor],
        ends: bool = True,
        observe: Observer | None = None,
        progress: Callable[[], object] | None = None,
        cuts: bool = False,
        skip: int | None = None,
    ) -> Iterator[Tensor]:
        """Restored frames [3,H,W] float32 on the CPU, in order, of a video's frames in [0,1].

        ends: also the first and last frames, whose missing neighbours the network stands in for;
        without it `network.lost` fewer come out at each end. A few frames are held in memory,
        however long the video. progress is called per frame; observe(stage, frame index, frame
        [3,H,W]) with the results of every stage before the last, at scale 1 alone. cuts: each scene
        is restored as a video of its own, without `observe`. skip, with cuts: the frames begin with
        a scene inside a video (see `scene_start`), of which so many results are there already;
        those that come are as without it. Raises UserError for frames of different sizes, and for a
        scale that leaves too little of them.
        """
        if not cuts:
            yield from self._stream_scene(frames, ends, observe, progress)
            return
        skipped = itertools.chain([skip or 0], itertools.repeat(0))
        restored = itertools.chain.from_iterable(
            self._stream_scene(scene, True, None, progress, count)
            for scene, count in zip(scenes(frames, _as_array), skipped)
        )
        lost = 0 if ends else self.network.lost
        yield from _without_ends(restored, lost if skip is None else 0, lost)

    def scene_start(self, frames: Iterable[Tensor], index: int) -> int:
        """The first frame of the scene that frame `index` of a video belongs to, as `stream` has
        it."""
        return scene_start(map(_as_array, frames), index)

    def _stream_scene(
        self,
        frames: Iterable[Tensor],
        ends: bool,
        observe: Observer | None,
        progress: Callable[[], object] | None,
        skip: int = 0,
    ) -> Iterator[Tensor]:
        """As `stream`, of one scene."""
        kept: deque[Tensor] = deque()  # frames whose results are still to come

        def remembered() -> Iterator[Tensor]:
            for index, frame in enumerate(frames):
                if index >= skip:
                    kept.append(frame)
                yield frame

        lost = 0 if ends else self.network.lost
        if self.scale != 1:
            restored = _without_ends(self._stream_segments(remembered(), skip), lost, lost)
        elif skip:
            restored = self._stream_from(remembered(), skip, self._stream_whole)
        else:
            restored = self._stream_whole(remembered(), ends, observe)
        for index, frame in enumerate(restored):
            if index == 0:
                for _ in range(lost):
                    kept.popleft()
            yield self._finished(frame, kept.popleft())
            if progress:
                progress()

    def _finished(self, restored: Tensor, frame: Tensor) -> Tensor:
        """A restored frame [3,H,W] after guard, only_blurry and strength."""
        if self.guard:
            self.fallbacks.checked += 1
            if is_astray(restored[None], frame[None]):
                self.fallbacks.unchanged += 1
                return frame.float()
        if self.only_blurry and measure(frame).typical < BLURRY_FRAME:
            return frame.float()
        if self.strength == 1:
            return restored
        return frame + self.strength * (restored - frame)

    def _stream_from(
        self,
        frames: Iterable[Tensor],
        skip: int,
        stream: Callable[[Iterator[Tensor]], Iterator[Tensor]],
    ) -> Iterator[Tensor]:
        """The results of `stream` but the first ones, for which as little as can be is computed."""
        start = self.network.first_needed(skip) or 0
        results = stream(itertools.islice(frames, start, None))
        return itertools.islice(results, skip - start, None)

    def _stream_segments(self, frames: Iterable[Tensor], skip: int = 0) -> Iterator[Tensor]:
        """Restored frames at the scale of their segment, changes blended, but the first ones."""
        if self.scale == "auto":
            found = segments(frames, partial(decide_scale, tuned=self.tuned))
        else:
            found = [Segment(self.scale, iter(frames), math.inf)]
        # results of the segment before for the first frames of this one, by their index in this one
        older: dict[int, Tensor] = {}
        for segment in found:
            newer: dict[int, Tensor] = {}
            overlap = max(older, default=-1) + 1
            restored = self._stream_from(
                segment.frames, skip, partial(self._stream_segment, segment.scale)
            )
            for index, frame in enumerate(restored, skip):
                if index >= segment.length:
                    newer[index - segment.length] = frame
                    continue
                if index < overlap:
                    frame = torch.lerp(older[index], frame, (index + 1) / (overlap + 1))
                yield frame
            older = newer
            skip -= int(min(segment.length, skip))

    def _stream_segment(self, scale: float | str, frames: Iterator[Tensor]) -> Iterator[Tensor]:
        """The restored frames of a segment, the overlap with the next one included."""
        first = next(frames, None)
        if first is None:
            return
        plan = fixed_plan(scale, tuple(first.shape[-2:]))
        frames = itertools.chain([first], frames)
        originals, *sources = itertools.tee(frames, len(plan.parts) + 1)
        streams = []
        for part, source in zip(plan.parts, sources):
            streams.append(self._stream_whole(map(partial(_shrunken, scale=part.scale), source)))
        for frame, *results in zip(originals, *streams):
            yield _combined(frame, plan, results)

    def _stream_whole(
        self, frames: Iterable[Tensor], ends: bool = True, observe: Observer | None = None
    ) -> Iterator[Tensor]:
        """`stream` as the network alone has it."""
        network = self.network
        sizes: list[tuple[int, int]] = []
        shift = network.lost if ends else 0
        ranges: list[float] = []  # of the frames that went in; the first one comes out `lost` later
        upload = Upload(self.device)

        def padded() -> Iterator[Tensor]:
            for frame in network.extended(frames) if ends else frames:
                sizes.append(tuple(frame.shape[-2:]))
                if len(sizes) > 1:
                    _check_same_size(sizes.pop(), sizes[0])
                ranges.append(range_of(frame))
                frame = pad_to_multiple(upload(frame)[None], network.multiple)
                yield frame.contiguous(memory_format=torch.channels_last)

        def cut(frame: Tensor) -> Tensor:
            height, width = sizes[0]
            return frame[0, :, :height, :width].float()

        def watch(stage: int, index: int, frame: Tensor) -> None:
            observe(stage, index - shift, cut(frame).cpu())

        stream = downloaded(map(cut, network.stream(padded(), watch if observe else None)))
        restored_frames = each_in_inference(stream, self.device, self.dtype)
        for index, restored in enumerate(restored_frames, network.lost):
            yield checked(restored, ranges[index], self.weights)

    def windows(
        self,
        frames: Iterable[Tensor],
        length: int,
        margin: int,
        progress: Callable[[], object] | None = None,
    ) -> Iterator[Tensor]:
        """Restored frames [3,H,W] of windows, as some networks for videos are published.

        A window of `length` + 2 * `margin` frames restores those in between; the next one starts
        `length` frames later. The first `margin` frames and what is left after the last whole
        window are not restored. progress is called per restored frame. Raises ValueError where the
        network loses more frames than the margin.
        """
        lost = self.network.lost
        if lost > margin:
            raise ValueError(f"a margin of {margin} frames, but the network loses {lost}")
        if self.scale != 1 or self.strength != 1 or self.only_blurry:
            raise UserError(
                "this protocol restores windows of frames as they are: leave --scale, --strength "
                "and --only_blurry out, or choose another --protocol"
            )

        def restored() -> Iterator[Tensor]:
            window: list[Tensor] = []
            for frame in frames:
                window.append(frame)
                if len(window) == length + 2 * margin:
                    height, width = frame.shape[-2:]
                    clip = pad_to_multiple(torch.stack(window)[None], self.network.multiple)
                    result = self.network.restore_clip(clip.to(self.device))[0, margin - lost :]
                    yield from result[:length, :, :height, :width]
                    del window[:length]

        for frame in each_in_inference(restored(), self.device, self.dtype):
            yield frame.float().cpu()
            if progress:
                progress()

    def plan_memory(self, size: tuple[int, int]) -> str:
        """Prepare for frames of a size (height, width); returns what the user should know, or "".

        Raises UserError with the largest size that fits where frames need more than is free.
        """
        return self.network.plan_memory(size, available_memory(self.device))

    def previews(self, frames: list[Tensor]) -> dict[str, Tensor]:
        """What the network shows of three neighbouring frames [3,H,W], by what it is called.

        Pictures [3,H,W] in [0,1] or optical flow [2,H,W] in px, on the CPU.
        """
        height, width = frames[1].shape[-2:]
        multiple = self.network.multiple
        padded = [pad_to_multiple(frame[None], multiple).to(self.device) for frame in frames]
        with inference(self.device, torch.float32):
            shown = self.network.previews(*padded)
        return {
            label: values[..., :height, :width].float().cpu() for label, values in shown.items()
        }


def _as_array(frame: Tensor) -> np.ndarray:
    return frame.movedim(0, -1).contiguous().cpu().numpy()


def _shrunken(frame: Tensor, scale: float) -> Tensor:
    """A frame [3,H,W] at a scale."""
    return shrunk(pad_to_multiple(frame[None], 2 ** halvings(scale)), scale)[0]


def _combined(frame: Tensor, plan: Plan, results: list[Tensor]) -> Tensor:
    """A frame [3,H,W] with the residuals of its results at the scales of a plan."""
    if plan.is_whole:
        return results[0]
    height, width = frame.shape[-2:]
    restored = frame.clone()
    for part, result in zip(plan.parts, results):
        multiple = 2 ** halvings(part.scale)
        size = [-(-side // multiple) * multiple for side in (height, width)]
        residual = enlarged((result - _shrunken(frame, part.scale))[None], size)[0]
        restored += part.weight * residual[:, :height, :width]
    return restored


def _without_ends(frames: Iterable[Tensor], head: int, tail: int) -> Iterator[Tensor]:
    """The frames but the first `head` and the last `tail` ones."""
    kept: deque[Tensor] = deque()
    for frame in itertools.islice(frames, head, None):
        kept.append(frame)
        if len(kept) > tail:
            yield kept.popleft()


def _check_same_size(size: tuple[int, int], first: tuple[int, int]) -> None:
    if size != first:
        raise UserError(f"frames of different sizes: {size} after {first} (height, width)")
