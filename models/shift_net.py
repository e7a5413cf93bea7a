"""Shift-Net: video deblurring by grouped spatial-temporal shifts (Li et al., CVPR 2023, arXiv
2206.10810).

Convolutions, channel attention and shifts, no flow: U-Nets work on single frames at full
resolution, shift blocks between them exchange channels of neighbouring frames at 1/2 to 1/8. Two
networks are published, `plus` ("Ours+") and `small` ("Ours-s"), as they stand in the authors'
program (https://github.com/dasongli1/Shift-Net). Notation: x0, r, s, f, m as in the comments of
`features` and `_merged`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import added
from models.contracts import Observer, VideoNetwork, too_large
from models.shift_blocks import (
    AttentionBlock,
    AttentionBlocks,
    ShiftBlocks,
    UNet,
    Up,
    conv,
    down,
    new_slope,
)
from models.shift_maps import Held, Streamed, each, in_strips, joined, maps_of, streamed
from models.shift_net_keys import our_entries
from utils.checkpoint import load_strict
from utils.device import return_memory
from utils.errors import UserError
from utils.tiling import MEMORY_FRACTION, pad_to_multiple, restore_tiled, tile_for

TILE_OVERLAP = 128  # px
BYTES_OF_A_PIXEL = 12  # of a frame, float32

STREAM_REMARK = (
    "Shift-Net-s wraps round the ends of a clip; a video is restored as a stream here, which does "
    "not, so that its first and last 24 frames differ from those of a whole clip as published"
)


@dataclass(frozen=True)
class Variant:
    """What the two published networks differ in.

    width: channels at full resolution; growth: more of them per level of a U-Net; channels: of the
    fusion. unets: per outer stage; spare: further ones in the authors' files, which never run.
    divisor: channels per hidden channel of an attention. group: channels per group of the bodies'
    convolutions. steps: of a shift block. shifts: whether the fusion's encoder has shift blocks,
    else attention blocks. encoder, decoder: blocks per level, from fine to coarse. wraps: frames
    beyond an end of a clip are those at its other end. concatenates: at its end the fusion
    concatenates its skip, else it adds it.
    """

    width: int
    growth: int
    channels: int
    unets: int
    spare: int
    divisor: int
    group: int
    steps: int
    shifts: bool
    encoder: tuple[int, ...]
    decoder: tuple[int, ...]
    wraps: bool
    concatenates: bool


VARIANTS = {
    "plus": Variant(24, 12, 80, 5, 0, 4, 8, 8, False, (2, 2, 2), (3, 2, 2), False, True),
    "small": Variant(14, 4, 64, 3, 2, 1, 1, 4, True, (3, 3), (3, 3), True, False),
}


class ShiftNet(VideoNetwork):
    """The network; with the default arguments the published `plus` (12,994,742 parameters).

    variant: plus or small (4,705,960 parameters). width, growth, channels, unets: instead of the
    published ones, see Variant; channels are multiples of 16. past_frames, future_frames: frames at
    the ends of a clip that `forward` leaves out, 2 and 2 in the published test. unused: also hold
    the parameters in the authors' files that never run (1 of plus, 486,885 of small); they are not
    trained.
    """

    frames = 3
    longer_clips = True
    window = 56  # frames that are restored at a time in tiles

    def __init__(
        self,
        variant: str = "plus",
        width: int | None = None,
        growth: int | None = None,
        channels: int | None = None,
        unets: int | None = None,
        past_frames: int = 2,
        future_frames: int = 2,
        unused: bool = True,
    ):
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"unknown variant {variant!r}: choose from {', '.join(VARIANTS)}")
        form = VARIANTS[variant]
        width = width or form.width
        growth = growth or form.growth
        channels = channels or form.channels
        if channels % 16 or width < form.divisor:
            raise ValueError(
                f"channels={channels} must be a multiple of 16, width={width} at least "
                f"{form.divisor}"
            )
        self.form = form
        self.bytes_per_pixel = 5600  # plus measured at 1280x720: 4800
        if form.wraps:
            self.stream_remark = STREAM_REMARK
        self.past_frames = past_frames
        self.future_frames = future_frames
        self.multiple = 2 ** len(form.encoder) if form.wraps else 8
        blocks = sum(form.decoder) + (sum(form.encoder) if form.shifts else 0)
        self.context = blocks * form.steps // 2
        widths = (width, width + growth, width + 2 * growth)
        self.inward = conv(3, width, 3, bias=True)
        self.inward_block = AttentionBlock(width, width // form.divisor)
        self.inward_slope = new_slope()
        count = unets or form.unets
        self.first = nn.Sequential(*(UNet(widths, form.divisor) for _ in range(count)))
        self.transition = conv(width, width, 3, bias=True)
        self.fusion = Fusion(form, width, channels)
        self.outward = conv(3 * width, width, 3, bias=True)
        self.last = nn.Sequential(*(UNet(widths, form.divisor) for _ in range(count)))
        self.ending = conv(width, 3, 5)
        if unused:
            self.unused = Unused(widths, form)

    @property
    def is_local(self) -> bool:
        """`small` takes frames at the other end for those beyond an end."""
        return not self.form.wraps

    def forward(self, clip: Tensor) -> Tensor:
        """Restored frames [B,T-past-future,3,H,W] of clips [B,T,3,H,W], of any size.

        Raises ValueError for clips that have no more frames than are left out.
        """
        return self._restore(clip, self.past_frames, self.future_frames)

    def restore_clip(self, clip: Tensor) -> Tensor:
        """All frames [B,T,3,H,W] of clips [B,T,3,H,W]; of `small`, as published, each end sees the
        other one.
        """
        return self._tiled(clip) if self.tile else self._restore(clip, 0, 0)

    def training_outputs(self, clip: Tensor) -> list[tuple[Tensor, slice]]:
        """All frames but the first and the last, as published."""
        return [(self._restore(clip, 1, 1), slice(1, clip.shape[1] - 1))]

    def start_from(self, source: nn.Module, **options: Any) -> None:
        """Begin as another Shift-Net of the same shape, whatever either holds that never runs."""
        state = source.state_dict()
        if isinstance(source, ShiftNet):
            own = {key: value for key, value in self.state_dict().items() if _never_runs(key)}
            state = own | {key: value for key, value in state.items() if not _never_runs(key)}
        load_strict(self, state, f"the {type(source).__name__}")

    def _restore(self, clip: Tensor, past: int, future: int) -> Tensor:
        if clip.ndim != 5 or clip.shape[2] != 3 or clip.shape[1] <= past + future:
            raise ValueError(
                f"Shift-Net needs clips [B,T,3,H,W] of at least {past + future + 1} frames, got "
                f"{tuple(clip.shape)}"
            )
        count = clip.shape[1]
        height, width = clip.shape[3:]
        frames = pad_to_multiple(clip.flatten(0, 1), self.multiple)
        x0, r, f = self.features(frames)
        coarse = self.fusion.middle(self.fusion.shrink(f), count)
        kept = slice(past, count - future)

        def inner(features: Tensor) -> Tensor:
            return features.unflatten(0, (-1, count))[:, kept].flatten(0, 1)

        z = self._merged(*map(inner, (x0, r, f, coarse)))
        restored = self._restored(inner(frames), z)
        return restored.unflatten(0, (len(clip), -1))[..., :height, :width]

    def features(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the network finds in single frames [N,3,H,W]: x0, r and f, [N,c,H,W] each.

        x0: first features; r: those after the first U-Nets; f: what the fusion starts from.
        """
        x0 = self.inward_block(self.inward(frames), self.inward_slope)
        r = added(self.first(x0), x0)
        return x0, r, self.fusion.entry(self.transition(r), self.fusion.slope)

    def _merged(self, x0: Tensor, r: Tensor, f: Tensor, coarse: Tensor) -> Tensor:
        """z [N,c,H,W]; coarse: what the shift blocks made, [N,C,H/2,W/2]."""
        m = self.fusion.enlarge(coarse, f)
        return in_strips(partial(joined, self.outward), 1, x0, r, m)

    def _restored(self, frames: Tensor, z: Tensor) -> Tensor:
        """The restored frames [N,3,H,W]."""
        return frames + self.ending(added(self.last(z), z))

    def stream(self, frames: Iterable[Tensor], observe: Observer | None = None) -> Iterator[Tensor]:
        """Restored frames [B,3,H,W] of a video given frame by frame, `context` frames later.

        Each shift step holds half a frame, the frames themselves wait for their results and must
        not change; x0, r and f are computed once more instead of being held. Equal to
        `restore_clip`, but at the ends of a video also `small` keeps a frame's own features, so
        that its first and last 24 frames differ. In tiles (see plan_memory) windows of frames go
        through `_tiled`.
        """
        return super().stream(frames, observe) if self.tile else self._stream(frames)

    def first_needed(self, index: int) -> int | None:
        """As of any network; only tiles need windows."""
        return super().first_needed(index) if self.tile else max(index - self.context, 0)

    def _stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        waiting: deque[Tensor] = deque()

        def coarse(frame: Tensor) -> Tensor:
            waiting.append(frame)
            padded = pad_to_multiple(frame, self.multiple)
            return_memory(frame.device)
            return self.fusion.shrink(self.features(padded)[2])

        def finished(coarse: Tensor) -> Tensor:
            frame = waiting.popleft()
            padded = pad_to_multiple(frame, self.multiple)
            return_memory(frame.device)
            z = self._merged(*self.features(padded), coarse)
            return self._restored(padded, z)[..., : frame.shape[-2], : frame.shape[-1]]

        return map(finished, self.fusion.stream(map(coarse, frames)))

    def _tiled(self, clip: Tensor) -> Tensor:
        """All frames of a clip [B,T,3,H,W], tile after tile, each as a stream of its own."""

        def restored(part: Tensor) -> Tensor:
            frames = part.unflatten(1, (-1, 3)).unbind(1)
            return torch.cat(list(self._stream(frames)), 1)  # [B,T*3,h,w]

        tile = (self.tile, TILE_OVERLAP, self.multiple)
        return restore_tiled(restored, clip.flatten(1, 2), *tile).unflatten(1, (-1, 3))

    def plan_memory(self, size: tuple[int, int], available: float | None) -> str:
        """Let the network work in tiles where whole frames need more memory than is free.

        Tiles need windows of frames, `context` of which on each side are computed twice.
        """
        self.tile = 0
        pixels = size[0] * size[1]
        if available is None or self.bytes_per_pixel * pixels <= MEMORY_FRACTION * available:
            return ""
        frames = pixels * BYTES_OF_A_PIXEL * (2 * self.window + 2 * self.context)
        left = available - frames / MEMORY_FRACTION
        try:
            self.tile = tile_for(size, self.bytes_per_pixel, left, TILE_OVERLAP, self.multiple)
        except UserError:
            raise too_large(size, frames, available, " for a window of frames alone") from None
        return (
            f"frames of {size[1]}x{size[0]} are restored in tiles of {self.tile} px, as "
            f"{available / 2**30:.1f} GB are free; this takes about three times as long, and the "
            "attention sees tiles instead of whole frames, which changes the result a little"
        )


class Fusion(nn.Module):
    """What exchanges features between frames: an encoder and decoder at 1/2, 1/4, (1/8)."""

    def __init__(self, form: Variant, width: int, channels: int):
        super().__init__()
        narrow = (width, width // form.divisor)
        wide = (channels, channels // form.divisor)
        shift = (form.steps, channels, form.group, channels // form.divisor)
        self.concatenates = form.concatenates
        self.slope = new_slope()
        self.entry = AttentionBlock(*narrow)
        self.shrink_conv = nn.Conv2d(width, channels, 2, 2, bias=False)
        self.shrink_slope = new_slope()
        encoder: list[nn.Module] = []
        for count in form.encoder:
            if form.shifts:
                encoder.append(ShiftBlocks(count, *shift, form.wraps))
            else:
                encoder.append(AttentionBlocks(count, *wide))
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(
            ShiftBlocks(count, *shift, form.wraps) for count in form.decoder
        )
        between = range(len(form.encoder) - 1)
        self.skip = nn.ModuleList(AttentionBlock(*wide) for _ in between)
        self.down = nn.ModuleList(down(channels, channels) for _ in between)
        self.up = nn.ModuleList(Up(channels, channels) for _ in between)
        self.enlarge_conv = conv(channels, 4 * width, 3, bias=True)
        self.outer_skip = AttentionBlock(*narrow)
        if form.concatenates:
            self.join = conv(2 * width, width, 3, bias=True)
        else:
            self.join = conv(width, width, 3)
        self.exit = AttentionBlock(*narrow)

    def shrink(self, f: Tensor) -> Tensor:
        """[N,C,H/2,W/2] of f [N,c,H,W]."""
        return F.prelu(self.shrink_conv(f), self.shrink_slope)

    def middle(self, features: Tensor, frames: int) -> Tensor:
        """[N,C,H/2,W/2] of the same, of clips of so many frames."""
        skips = []
        for encoder, skip, shrink in zip(self.encoder, self.skip, self.down):
            features = encoder(features, self.slope, frames)
            skips.append(skip(features, self.slope))
            features = shrink(features)
        features = self.encoder[-1](features, self.slope, frames)
        features = self.decoder[-1](features, self.slope, frames)
        for level in reversed(range(len(self.up))):
            features = added(self.up[level](features), skips.pop())
            features = self.decoder[level](features, self.slope, frames)
        return features

    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """`middle` frame by frame; the skips wait for what comes up from the coarser levels."""
        return maps_of(self._stream_level(0, streamed(frames)))

    def _stream_level(self, level: int, frames: Iterable[Streamed]) -> Iterator[Streamed]:
        frames = self.encoder[level].stream(frames, self.slope)
        if level < len(self.up):
            waiting = Held()
            coarser = self._stream_level(level + 1, each(self._shrinking(level, waiting), frames))
            frames = each(self._growing(level, waiting), coarser)
        return self.decoder[level].stream(frames, self.slope)

    def _shrinking(self, level: int, waiting: Held) -> Callable[[Tensor], Tensor]:
        def shrink(features: Tensor) -> Tensor:
            waiting.append(self.skip[level](features, self.slope))
            return self.down[level](features)

        return shrink

    def _growing(self, level: int, waiting: Held) -> Callable[[Tensor], Tensor]:
        def grow(features: Tensor) -> Tensor:
            return_memory(features.device)  # levels use maps of other sizes
            return added(self.up[level](features), waiting.popleft())

        return grow

    def enlarge(self, coarse: Tensor, f: Tensor) -> Tensor:
        """m [N,c,H,W] of what the shift blocks made [N,C,H/2,W/2]."""
        fine = F.pixel_shuffle(self.enlarge_conv(coarse), 2)
        skip = self.outer_skip(f, self.slope)
        if self.concatenates:
            merged = in_strips(partial(joined, self.join), 1, fine, skip)
        else:
            merged = added(self.join(F.prelu(fine, self.slope)), skip)
        return self.exit(merged, self.slope)


class Unused(nn.Module):
    """Parameters of the authors' files that never run: a PReLU's slope, two U-Nets per stage."""

    def __init__(self, widths: tuple[int, int, int], form: Variant):
        super().__init__()
        self.slope = new_slope()
        self.first = nn.ModuleList(UNet(widths, form.divisor) for _ in range(form.spare))
        self.last = nn.ModuleList(UNet(widths, form.divisor) for _ in range(form.spare))
        self.requires_grad_(False)


PUBLISHED_SIZES = {"Shift-Net+": {"variant": "plus"}, "Shift-Net-s": {"variant": "small"}}
# What a state dict of the family that is neither of these may be.
PUBLISHED_HINT = (
    "Only the deblurring networks plus and small are known here: it may be a denoising or another "
    "variant of Shift-Net, or a mixture."
)


def published_arguments(state: dict[str, Tensor]) -> dict:
    """Constructor arguments read off the authors' state dict."""
    return {"variant": "plus" if "stage1.down23.down.weight" in state else "small"}


def published_state(state: dict[str, Tensor], network: ShiftNet) -> dict[str, Tensor]:
    """Our entries of the authors' state dict; those that never run where the network holds them."""
    ours = our_entries(state, network.form)
    if hasattr(network, "unused"):
        return ours
    return {key: value for key, value in ours.items() if not _never_runs(key)}


def _never_runs(key: str) -> bool:
    return key.startswith("unused.")
