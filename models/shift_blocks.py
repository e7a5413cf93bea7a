"""Blocks of Shift-Net: channel attention blocks, U-Nets, and shift blocks (models/shift_net.py).

Frames are the batch of every layer, [N,C,H,W] with N = clips times frames. Shift blocks alone mix
frames: on whole clips (`forward`) or frame by frame, with a state per step (`stream`). Notation as
in Li et al., CVPR 2023 (arXiv 2206.10810).
"""

from collections.abc import Iterable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ChannelNorm, added, multiplied
from models.shift_maps import (
    Held,
    Streamed,
    each,
    frame_means,
    in_strips,
    lowered,
    plus_scaled,
    pointwise,
)

EPSILON = 1e-6  # of the normalisation
SLOPE = 0.25  # of PReLU, at the start
FAR = 8  # px, the largest offset of the spatial shift
# The offsets (dy, dx) of the groups of channels, px of any level: first the 16 outer ones, then the
# 8 inner ones. No group stays where it is.
OUTER = (
    (8, 8), (8, 4), (8, 0), (8, -4), (8, -8), (-8, 8), (-8, 4), (-8, 0), (-8, -4), (-8, -8),
    (4, 8), (4, -8), (0, 8), (0, -8), (-4, 8), (-4, -8),
)  # fmt: skip
INNER = ((4, 4), (4, 0), (4, -4), (0, 4), (0, -4), (-4, 4), (-4, 0), (-4, -4))


def conv(in_channels: int, out_channels: int, kernel_size: int, **options) -> nn.Conv2d:
    """A "same" convolution, without bias unless said."""
    options = {"bias": False, "padding": kernel_size // 2} | options
    return nn.Conv2d(in_channels, out_channels, kernel_size, **options)


def new_slope() -> nn.Parameter:
    """The slope of a PReLU, which several blocks may share."""
    return nn.Parameter(torch.full((1,), SLOPE))


class ChannelAttention(nn.Module):
    """Factors [N,C,1,1] in 0..1 for the channels of a map, from their means over the frame."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.squeeze = conv(channels, hidden, 1)
        self.excite = conv(hidden, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        means = frame_means(features).flatten(1)
        hidden = F.linear(means, self.squeeze.weight.flatten(1)).relu()
        factors = F.linear(hidden, self.excite.weight.flatten(1)).sigmoid()
        return factors[:, :, None, None]


class AttentionBlock(nn.Module):
    """CAB: x + attention(conv(PReLU(conv(x)))).

    The slope of the PReLU is handed in, since all blocks of a U-Net share one.
    """

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.conv1 = conv(channels, channels, 3)
        self.conv2 = conv(channels, channels, 3)
        self.attention = ChannelAttention(channels, hidden)

    def forward(self, features: Tensor, slope: Tensor) -> Tensor:
        inner = in_strips(partial(self._inner, slope), 2, features)
        return plus_scaled(features, inner, self.attention(inner).to(inner.dtype))

    def _inner(self, slope: Tensor, features: Tensor) -> Tensor:
        return self.conv2(F.prelu(self.conv1(features), slope))


class AttentionBlocks(nn.ModuleList):
    """Attention blocks one after the other."""

    def __init__(self, count: int, channels: int, hidden: int):
        super().__init__(AttentionBlock(channels, hidden) for _ in range(count))

    def forward(self, features: Tensor, slope: Tensor, frames: int = 1) -> Tensor:
        for block in self:
            features = block(features, slope)
        return features

    def stream(self, frames: Iterable[Streamed], slope: Tensor) -> Iterator[Streamed]:
        """The same frame by frame."""
        return each(partial(self, slope=slope), frames)


class Up(nn.Module):
    """Twice the size: bilinear interpolation and a 1x1 convolution, which comes first here.

    Both are linear and act on other axes, so that the order is free; this one is cheaper.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = conv(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        narrow = pointwise(features, self.conv.weight)
        return F.interpolate(narrow, scale_factor=2, mode="bilinear", align_corners=False)


def down(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Half the size."""
    return conv(in_channels, out_channels, 3, stride=2, bias=True)


class UNet(nn.Module):
    """Attention blocks on three levels of `widths` channels; no skip from its input.

    divisor: channels per hidden channel of the attention.
    """

    def __init__(self, widths: tuple[int, int, int], divisor: int):
        super().__init__()
        counts = (1, 3, 3)
        hidden = [width // divisor for width in widths]
        levels = list(zip(counts, widths, hidden))
        self.slope = new_slope()
        self.encoder = nn.ModuleList(AttentionBlocks(*level) for level in levels)
        self.decoder = nn.ModuleList(AttentionBlocks(*level) for level in levels)
        self.skip = nn.ModuleList(AttentionBlock(*level[1:]) for level in levels[:2])
        self.down = nn.ModuleList(down(*pair) for pair in zip(widths, widths[1:]))
        self.up = nn.ModuleList(Up(*pair) for pair in zip(widths[1:], widths))

    def forward(self, features: Tensor) -> Tensor:
        skips = []
        for blocks, skip, shrink in zip(self.encoder, self.skip, self.down):
            features = blocks(features, self.slope)
            skips.append(skip(features, self.slope))
            features = shrink(features)
        features = self.decoder[2](self.encoder[2](features, self.slope), self.slope)
        for level in (1, 0):
            features = added(self.up[level](features), skips.pop())
            features = self.decoder[level](features, self.slope)
        return features


def spatial_shift(features: Tensor, opposite: bool = False) -> Tensor:
    """Groups of channels moved by OUTER and INNER: out(y, x) = in(y - dy, x - dx), else zero.

    [N,C/2,H,W]; of C/16 = n channels (n-1) // 2 go to each outer group, the rest to the inner ones.
    opposite: the other way, which is the gradient.
    """
    return _SpatialShift.apply(features, opposite)


class _SpatialShift(torch.autograd.Function):
    """Slices that are written once; autograd by itself would copy the map for each of them."""

    @staticmethod
    def forward(features: Tensor, opposite: bool) -> Tensor:
        height, width = features.shape[-2:]
        moved = torch.zeros_like(features)
        sign = -1 if opposite else 1
        for group, dy, dx in shift_groups(features.shape[1]):
            target_rows, source_rows = _overlap(height, sign * dy)
            target_columns, source_columns = _overlap(width, sign * dx)
            source = features[:, group, source_rows, source_columns]
            moved[:, group, target_rows, target_columns] = source
        return moved

    @staticmethod
    def setup_context(context, inputs: tuple[Tensor, bool], output: Tensor) -> None:
        context.opposite = inputs[1]

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        return spatial_shift(gradient, not context.opposite), None


def shift_groups(moved: int) -> list[tuple[slice, int, int]]:
    """(channels, dy, dx) of the groups of `moved` channels, in order; empty ones left out."""
    unit = moved // 8
    outer = (unit - 1) // 2
    sizes = [outer] * len(OUTER) + [unit - 2 * outer] * len(INNER)
    groups = []
    start = 0
    for size, (dy, dx) in zip(sizes, OUTER + INNER):
        if size:
            groups.append((slice(start, start + size), dy, dx))
        start += size
    return groups


def _overlap(length: int, offset: int) -> tuple[slice, slice]:
    """Where (to, from) values of a side land that moves by `offset`; empty beyond the side."""
    offset = max(-length, min(length, offset))
    to = slice(max(offset, 0), length + min(offset, 0))
    return to, slice(to.start - offset, to.stop - offset)


class Body(nn.Module):
    """The correction [N,C,H,W] that a fusion makes of normalised features [N,k,H,W].

    1x1 k->2C; v + depthwise 3x3 (v); first half * second half; v + 5x5 (v) + 3x3 (v) of `group`
    channels each; 1x1 C->2C; first half * sigmoid(second half); attention; 1x1 C->C.
    """

    def __init__(self, in_channels: int, channels: int, group: int, hidden: int):
        super().__init__()
        groups = channels // group
        self.expand = conv(in_channels, 2 * channels, 1)
        self.local = conv(2 * channels, 2 * channels, 3, groups=2 * channels)
        self.wide = conv(channels, channels, 5, groups=groups)
        self.near = conv(channels, channels, 3, groups=groups)
        self.gate = conv(channels, 2 * channels, 1)
        self.attention = ChannelAttention(channels, hidden)
        self.project = conv(channels, channels, 1)

    def forward(self, features: Tensor, norm: nn.Module, beta: Tensor) -> Tensor:
        """The first C of the features + beta * correction, of the normalised features."""
        inner = in_strips(partial(self._inner, norm), 3, features)
        inner = multiplied(inner, self.attention(inner).to(inner.dtype))
        weight = self.project.weight * beta.view(-1, 1, 1, 1)
        return in_strips(partial(_corrected, weight), 0, features[:, : len(weight)], inner)

    def _inner(self, norm: nn.Module, features: Tensor) -> Tensor:
        """What the attention sees [N,C,H,W].

        The two halves are computed apart, which keeps every map dense.
        """
        features = norm(lowered(features))
        halves = zip(self.expand.weight.chunk(2), plus_identity(self.local.weight).chunk(2))
        first, second = (_local(features, *weights) for weights in halves)
        inner = multiplied(first, second)  # [N,C,H,W]
        del features, first, second
        kernel = plus_identity(self.wide.weight + F.pad(self.near.weight, (1, 1, 1, 1)))
        inner = F.conv2d(inner, kernel, padding=2, groups=self.wide.groups)
        first, second = (pointwise(inner, weight) for weight in self.gate.weight.chunk(2))
        del inner
        return multiplied(first, second.sigmoid())


def _corrected(weight: Tensor, features: Tensor, inner: Tensor) -> Tensor:
    return features + pointwise(inner, weight)


def _local(features: Tensor, expand: Tensor, local: Tensor) -> Tensor:
    return F.conv2d(pointwise(features, expand), local, padding=1, groups=len(local))


def plus_identity(weight: Tensor) -> Tensor:
    """The weight [C,group,K,K] of v + convolution(v): 1 more at each channel's own centre."""
    channels, group, size, _ = weight.shape
    own = torch.eye(group, dtype=weight.dtype, device=weight.device).repeat(channels // group, 1)
    return weight + F.pad(own[:, :, None, None], [size // 2] * 4)


class ShiftStep(nn.Module):
    """A grouped spatial-temporal shift and the two fusions after it.

    Half of the channels come from the frame before (backward: the frame after); a copy of them is
    shifted in space. The halves change sides: the first half of a forward step's result comes from
    the frame before, the second one of a backward step's from the frame after.
    """

    def __init__(self, backward: bool, channels: int, group: int, hidden: int):
        super().__init__()
        half = channels // 2
        self.backward = backward
        self.smooth = conv(half, half, 3, groups=half)
        self.norm1 = ChannelNorm(channels + half, EPSILON)
        self.body1 = Body(channels + half, channels, group, hidden)
        self.beta1 = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.norm2 = ChannelNorm(channels, EPSILON)
        self.body2 = Body(channels, channels, group, hidden)
        self.beta2 = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, features: Tensor, frames: int, wraps: bool) -> Tensor:
        """Of clips of so many frames each, [B*frames,C,H,W].

        wraps: a neighbour beyond an end is the frame at the other end; else the frame keeps its own
        features there.
        """
        own: list[Tensor] = []
        moved: list[Tensor] = []
        for clip in features.split(frames):
            first, second = clip.chunk(2, 1)  # [T,C/2,H,W]
            if self.backward:
                own += [second] if wraps else [second[:-1], first[-1:]]
                moved += [first[1:], first[:1] if wraps else second[-1:]]
            else:
                own += [first] if wraps else [second[:1], first[1:]]
                moved += [second[-1:] if wraps else first[:1], second[:-1]]
        return self._fused(torch.cat(own), torch.cat(moved))

    def stream(self, frames: Iterable[Streamed]) -> Iterator[Streamed]:
        """The same frame by frame, ends without wrapping; a backward step waits for a frame.

        Results leave through a list, so that a suspended generator holds nothing but its state.
        """
        return self._stream_backward(frames) if self.backward else self._stream(frames)

    def _stream(self, frames: Iterable[Streamed]) -> Iterator[Streamed]:
        before = Held()  # the second half of the frame before
        for frame, is_last in frames:
            first, second = frame.chunk(2, 1)
            if before:
                result = [self._fused(first, before.popleft())]
            else:
                result = [self._fused(second, first)]
            before.append(second)
            del frame, first, second
            yield result.pop(), is_last

    def _stream_backward(self, frames: Iterable[Streamed]) -> Iterator[Streamed]:
        """The last frame keeps both of its halves, of the others only the second one is needed:
        where nobody knows which frame is the last, both are held.
        """
        held = Held()  # the frame before, or its second half
        for frame, is_last in frames:
            first, second = frame.chunk(2, 1)
            result = []
            if held:
                own = held.popleft()[:, -second.shape[1] :]
                result.append(self._fused(own, first))
                del own
            if not is_last:
                held.append(frame if is_last is None else second)
                del frame, first, second
            if result:
                yield result.pop(), False
            if is_last:
                yield self._fused(first, second), True
        if held:
            yield self._fused(*held.popleft().chunk(2, 1)), True

    def _fused(self, own: Tensor, moved: Tensor) -> Tensor:
        """[N,C,H,W] of the halves that a frame keeps and that come from its neighbour."""
        halves = (own, moved) if self.backward else (moved, own)
        shifted = self.smooth(spatial_shift(moved))
        features = torch.cat((*halves, shifted), 1)
        del shifted
        features = self.body1(features, self.norm1, self.beta1)
        return self.body2(features, self.norm2, self.beta2)


class ShiftBlocks(nn.Module):
    """Shift blocks one after the other: steps that are forward and backward in turn.

    count, steps: blocks, and steps in each. wraps: see ShiftStep.forward; `stream` never wraps.
    """

    def __init__(self, count: int, steps: int, channels: int, group: int, hidden: int, wraps: bool):
        super().__init__()
        directions = [bool(step % 2) for step in range(steps)] * count
        self.steps = nn.ModuleList(
            ShiftStep(backward, channels, group, hidden) for backward in directions
        )
        self.wraps = wraps

    def forward(self, features: Tensor, slope: Tensor, frames: int = 1) -> Tensor:
        for step in self.steps:
            features = step(features, frames, self.wraps)
        return features

    def stream(self, frames: Iterable[Streamed], slope: Tensor) -> Iterator[Streamed]:
        for step in self.steps:
            frames = step.stream(frames)
        return iter(frames)
