"""What a network of each kind answers, so that everything above models/ works with any of them.

A new network subclasses one of these, has a line in models/__init__.py: NETWORKS, and a recipe in a
method's configs/ (CONTRIBUTING.md shows both kinds in full). Images are RGB in [0,1],
gamma-encoded; [B,3,H,W], clips [B,T,3,H,W]; results are not clamped.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from utils.checkpoint import load_strict
from utils.errors import UserError
from utils.tiling import MEMORY_FRACTION

Observer = Callable[[int, int, Tensor], None]  # stage from 1, frame index, its result [B,3,H,W]


class ImageNetwork(nn.Module):
    """A network that restores images [B,3,H,W] of any size.

    channels: of the images that `forward_scales` takes, 3 unless the network sees one colour at a
    time. multiple: sides that `forward` pads to. bytes_per_pixel: an upper bound of what `forward`
    needs at its peak in float32, measured at 640x640; tiles follow from it.
    """

    kind = "network for single images"
    channels = 3
    multiple: int
    bytes_per_pixel: int

    def forward_scales(self, blurry: Tensor) -> list[Tensor]:
        """The results at every scale the network is trained at; by default the full one alone."""
        return [self(blurry)]

    def scales_of(self, sharp: Tensor) -> list[Tensor]:
        """The sharp images that the results of `forward_scales` are compared with."""
        return [sharp]

    def state_from(self, other: nn.Module) -> dict[str, Tensor]:
        """The state dict with which a training begins that starts from another network.

        By default the other's own; networks that can begin as another one override it.
        """
        return other.state_dict()

    def use_local_statistics(self, enabled: bool = True) -> Self:
        """Average over windows of about the training patch's size; most networks average
        nothing.
        """
        return self


class VideoNetwork(nn.Module):
    """A network that restores videos; it overrides `restore_clip`, `stream`, or both.

    multiple: H and W are multiples of it. frames: of a training clip; longer_clips: whether more
    will do. lost: frames at each end of a clip that have too few neighbours to be restored.
    context: frames on each side that influence a restored frame, None where there is no end to
    them. bytes_per_pixel: an upper bound of what `stream` needs at its peak in float32.
    stream_remark: how results of `stream` differ from those of `restore_clip`, if they do.
    """

    kind = "network for videos"
    stream_remark = ""
    multiple = 1
    frames: int
    longer_clips = False
    lost = 0
    context: int | None = None
    window = 8  # frames that the default `stream` restores at a time
    tile = 0  # side of the tiles in which plan_memory lets the network work, px; 0 = whole frames
    bytes_per_pixel: int

    @property
    def is_local(self) -> bool:
        """Whether a frame's result needs no more than `context` frames on each side, also at the
        ends of a video, so that a video may be cut into overlapping parts.
        """
        return self.context is not None

    def forward(self, clip: Tensor) -> Tensor:
        """As `restore_clip`, unless the authors' program has it another way."""
        return self.restore_clip(clip)

    def restore_clip(self, clip: Tensor) -> Tensor:
        """Restored frames [B,T-2*lost,3,H,W] of clips [B,T,3,H,W]; by default what `stream`
        gives.
        """
        return torch.stack(list(self.stream(clip.unbind(1))), 1)

    def stream(self, frames: Iterable[Tensor], observe: Observer | None = None) -> Iterator[Tensor]:
        """Restored frames [B,3,H,W] of a video given frame by frame, without `lost` at each end.

        The result is that of `restore_clip` on the whole video, and memory does not grow with its
        length. By default windows of `window` frames with `context` more on each side go through
        `restore_clip`. observe is called with the results of stages before the last, if any.
        """
        if self.context is None:
            raise TypeError(f"{type(self).__name__} has no end of context: override `stream`")
        kept: deque[Tensor] = deque()  # frames from index `first` on
        first, following = 0, self.lost  # the index of the next result
        frames = iter(frames)
        ended = False
        while not ended:
            wanted = following + self.window + self.context
            missing = wanted - first - len(kept)
            read = list(itertools.islice(frames, missing))
            kept.extend(read)
            ended = len(read) < missing
            end = first + len(kept)
            last = end - self.lost if ended else end - self.context
            if last > following:
                restored = self.restore_clip(
                    torch.stack(list(kept), 1)
                )  # from index first + lost on
                for index in range(following, last):
                    yield restored[:, index - first - self.lost]
                following = last
            while first < following - self.context:
                kept.popleft()
                first += 1

    def first_needed(self, index: int) -> int | None:
        """The first of the frames from which `stream`, given them alone, restores frame `index` and
        those after it as if it were given all; None where that takes all of them.

        By default `stream` has the same windows then.
        """
        if self.context is None:
            return None
        windows = index // self.window - math.ceil(self.context / self.window)
        return max(windows, 0) * self.window

    def extended(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """The frames with stand-ins for missing neighbours, so that all of them are restored.

        By default the first `lost` frames come before them once more, in order, and the last `lost`
        after them; where there are fewer, their last one is repeated.
        """
        frames = iter(frames)
        head = list(itertools.islice(frames, self.lost))
        if not head:
            yield from frames  # nothing is lost, or there are no frames
            return
        yield from head + head[-1:] * (self.lost - len(head))
        tail: deque[Tensor] = deque(maxlen=self.lost)
        for frame in itertools.chain(head, frames):
            tail.append(frame)
            yield frame
        yield from tail
        yield from [tail[-1]] * (self.lost - len(tail))

    def plan_memory(self, size: tuple[int, int], available: float | None) -> str:
        """Prepare for frames of a size (height, width) within `available` bytes (None: unknown).

        Returns what the user should know, or nothing. Raises UserError with the largest size that
        fits. By default nothing can be made smaller.
        """
        needed = self.bytes_per_pixel * size[0] * size[1]
        if available is not None and needed > MEMORY_FRACTION * available:
            raise too_large(size, needed, available)
        return ""

    def training_outputs(self, clip: Tensor) -> list[tuple[Tensor, slice]]:
        """(results [B,n,3,H,W], the frames of the clip they belong to), all of which the loss
        sees.
        """
        return [(self.restore_clip(clip), slice(self.lost, clip.shape[1] - self.lost))]

    def warm_up(self, frame: Tensor) -> Tensor:
        """The restored [B,3,H,W] of a frame that is its own neighbour; training may start with
        it.
        """
        clip = frame[:, None].expand(-1, self.frames, -1, -1, -1)
        restored = self.restore_clip(clip)
        return restored[:, restored.shape[1] // 2]

    def start_from(self, source: nn.Module, **options: Any) -> None:
        """Begin training as another network; by default one of the same shape.

        options: the network's own. Raises ValueError for a source that does not fit.
        """
        load_strict(self, source.state_dict(), f"the {type(source).__name__}")

    def start_fresh(self, files: Mapping[str, Path | None]) -> list[str]:
        """Take parts that are never trained from nothing out of files {part: file}.

        Returns what the user should be warned of. By default there are no such parts.
        """
        return []

    def parameter_groups(self, rate: float, own_rates: Mapping[str, float]) -> list[dict]:
        """Parameters with their learning rates; own_rates: {name of a part: its own rate}."""
        parts = {name: list(getattr(self, name, nn.Module()).parameters()) for name in own_rates}
        own = {id(parameter) for parameters in parts.values() for parameter in parameters}
        others = [parameter for parameter in self.parameters() if id(parameter) not in own]
        groups = [{"params": others, "lr": rate}]
        for name, parameters in parts.items():
            if parameters:
                groups.append({"params": parameters, "lr": own_rates[name]})
        return groups

    def previews(self, previous: Tensor, centre: Tensor, following: Tensor) -> dict[str, Tensor]:
        """What to show of three frames [1,3,H,W] besides the result, by what it is called.

        Pictures [3,H,W] in [0,1], or optical flow [2,H,W] in pixels. By default nothing.
        """
        return {}

    def use_local_statistics(self, enabled: bool = True) -> Self:
        """Average over windows of about the training patch's size; most networks average
        nothing.
        """
        return self


def too_large(size: tuple[int, int], needed: float, available: float, of: str = "") -> UserError:
    """The error for frames of a size (height, width) that need more bytes than are available."""
    scale = (available * MEMORY_FRACTION / needed) ** 0.5
    fits = f"{int(size[1] * scale)}x{int(size[0] * scale)}"
    return UserError(
        f"frames of {size[1]}x{size[0]} need about {needed / 2**30:.1f} GB{of}, "
        f"{available / 2**30:.1f} GB are free; the largest size of this shape that fits is about "
        f"{fits}"
    )


Values = Literal["imagenet_rgb", "imagenet_bgr", "rgb"]
IMAGENET = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # means and deviations of red, green, blue


class NormalisedInput(nn.Module):
    """A network of HyperCUT's family, which sees frames [...,3,H,W] as its weights were trained.

    values: what it sees. imagenet_rgb: (image - mean) / deviation with ImageNet's figures;
    imagenet_bgr: the same with red and blue exchanged and the figures left in the order red, green,
    blue, as HyperCUT's published training had it (OpenCV reads BGR); rgb: the image itself (Jin's
    own files).
    """

    def __init__(self, values: Values):
        super().__init__()
        if values not in ("imagenet_rgb", "imagenet_bgr", "rgb"):
            raise ValueError(f"values {values!r}: imagenet_rgb, imagenet_bgr or rgb")
        self.values = values

    def seen(self, image: Tensor) -> Tensor:
        """What the network sees of images [...,3,H,W] in [0,1]."""
        if self.values == "rgb":
            return image
        mean, deviation = (image.new_tensor(figures).view(3, 1, 1) for figures in IMAGENET)
        if self.values == "imagenet_bgr":
            image = image.flip(-3)
        return (image - mean) / deviation

    def shown(self, frames: Tensor) -> Tensor:
        """The inverse of `seen`."""
        if self.values == "rgb":
            return frames
        mean, deviation = (frames.new_tensor(figures).view(3, 1, 1) for figures in IMAGENET)
        image = frames * deviation + mean
        return image.flip(-3) if self.values == "imagenet_bgr" else image


class SequenceNetwork(NormalisedInput):
    """A network that makes the sharp frames of a blurry image: `forward` gives [B,frames,3,H,W].

    multiple: H and W are multiples of it. needs_centre: whether `forward` takes the sharp centre
    frame, too. mean_over_frames: whether its published loss is a mean over the frames or their sum.
    bytes_per_pixel: an upper bound of what `forward` needs at its peak in float32.
    """

    kind = "network that makes the sharp frames of a blurry picture"
    frames = 7
    multiple: int
    needs_centre = False
    mean_over_frames = False
    bytes_per_pixel: int

    def unfold(
        self, blurry: Tensor, centre: Tensor | None = None, axis: Tensor | None = None
    ) -> Tensor:
        """The sharp frames [B,frames,3,H,W] in [0,1] of blurry images [B,3,H,W] in [0,1].

        centre [B,3,H,W]: the sharp centre frame, where it is needed; axis: see `time_axis`.
        """
        return self.shown(self(self.seen(blurry)).float())

    def time_axis(self, blurry: Tensor, centre: Tensor | None) -> Tensor | None:
        """What the parts of one image must agree on about the direction of time; by default
        nothing.
        """
        return None

    def training_outputs(
        self, blurry: Tensor, centre: Tensor | None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """(frames [B,frames,3,h,w] at every scale, finest first; auxiliary losses by name).

        Inputs and results are as the network sees them.
        """
        return [self(blurry)], {}

    def halved(self, frames: Tensor, times: int) -> Tensor:
        """True frames [...,H,W] as a coarser scale of `training_outputs` is compared with them."""
        raise TypeError(f"{type(self).__name__} is trained at one scale")
