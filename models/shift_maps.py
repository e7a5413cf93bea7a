"""How Shift-Net computes and holds maps of features [N,C,H,W] (models/shift_net.py): in strips of a
frame, in memory that is used again, and in channels_last memory without torch's slow paths.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import itemgetter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.device import lasting_like

STRIPS = 4  # of a large frame
LARGE = 2**15  # px of a map, above which it is worked out in strips

# A frame's map in a stream, and whether the frame is the last one; None: not known yet.
Streamed = tuple[Tensor, bool | None]


def streamed(frames: Iterable[Tensor]) -> Iterator[Streamed]:
    """The maps of a video, of which nobody knows how long it is."""
    return map(_of_unknown_position, frames)  # here and below: a generator would hold a frame


def maps_of(frames: Iterable[Streamed]) -> Iterator[Tensor]:
    return map(itemgetter(0), frames)


def each(function: Callable[[Tensor], Tensor], frames: Iterable[Streamed]) -> Iterator[Streamed]:
    """The stream of function(map)."""
    return map(partial(_of_result, function), frames)


def _of_unknown_position(features: Tensor) -> Streamed:
    return features, None


def _of_result(function: Callable[[Tensor], Tensor], frame: Streamed) -> Streamed:
    features, is_last = frame
    return function(features), is_last


def in_strips(function: Callable[..., Tensor], halo: int, *maps: Tensor) -> Tensor:
    """function(*maps), of layers that keep the size and reach `halo` rows.

    Without gradients a large frame [1,C,H,W] is worked out in strips of rows, so that maps in
    between need little memory. Strips overlap by the halo, where they see an edge that the frame
    has not; at the borders of the frame they are as the frame.
    """
    count, _, height, width = maps[0].shape
    if torch.is_grad_enabled() or count > 1 or height * width <= LARGE:
        return function(*maps)
    rows = -(-height // STRIPS)
    result: Tensor | None = None
    for top in range(0, height, rows):
        start = max(top - halo, 0)
        strip = function(*(map_[:, :, start : top + rows + halo] for map_ in maps))
        if result is None:
            form = torch.channels_last if _by_pixel(strip) else torch.contiguous_format
            shape = (1, strip.shape[1], height, width)
            result = torch.empty(shape, dtype=strip.dtype, device=strip.device, memory_format=form)
        result[:, :, top : top + rows] = strip[:, :, top - start :][:, :, :rows]
    return result


class Held:
    """Maps [N,C,H,W] of one size that wait in line, copied into memory that is used again.

    With gradients they are held as they are, since a copy's values change later.
    """

    def __init__(self):
        self.waiting: deque[Tensor] = deque()
        self.free: list[Tensor] = []

    def __len__(self) -> int:
        return len(self.waiting)

    def append(self, features: Tensor) -> None:
        if torch.is_grad_enabled():
            self.waiting.append(features)
            return
        copy = self.free.pop() if self.free else lasting_like(features)
        self.waiting.append(copy.copy_(features))

    def popleft(self) -> Tensor:
        """The first one, which is valid until the next `append`."""
        features = self.waiting.popleft()
        if not torch.is_grad_enabled():
            self.free.append(features)
        return features


def joined(layer: nn.Module, *maps: Tensor) -> Tensor:
    """A layer of maps that are concatenated."""
    return layer(torch.cat(maps, 1))


def lowered(features: Tensor) -> Tensor:
    """The features in the type that convolutions compute in."""
    device = features.device.type
    if features.dtype == torch.float32 and torch.is_autocast_enabled(device):
        return features.to(torch.get_autocast_dtype(device))
    return features


def pointwise(features: Tensor, weight: Tensor) -> Tensor:
    """A 1x1 convolution.

    On one thread torch takes a slow path for fewer than 16 images, so that rows become images. In
    bf16 a matrix product is faster still.
    """
    if not _by_pixel(features):
        return F.conv2d(features, weight)
    rows = features.permute(0, 2, 3, 1)  # [N,H,W,C]
    if features.dtype == torch.bfloat16:
        return F.linear(rows, weight.flatten(1)).permute(0, 3, 1, 2)
    images = rows.flatten(0, 1)[:, None].permute(0, 3, 1, 2)  # [N*H,C,1,W]
    result = F.conv2d(images, weight).permute(0, 2, 3, 1)
    return result.reshape(*rows.shape[:3], len(weight)).permute(0, 3, 1, 2)


def frame_means(features: Tensor) -> Tensor:
    """Means [N,C,1,1] over each frame; in channels_last memory as sums of whole rows first."""
    if not _by_pixel(features):
        return features.mean((2, 3), keepdim=True)
    count, channels, height, width = features.shape
    rows = features.permute(0, 2, 3, 1).flatten(2)  # [N,H,W*C]
    sums = rows.sum(1).view(count, width, channels)
    return (sums.mean(1) / height).view(count, channels, 1, 1)


def plus_scaled(features: Tensor, inner: Tensor, factors: Tensor) -> Tensor:
    """features + inner * factors [N,C,1,1]; in channels_last memory with factors for a whole row,
    since few channels make short loops.
    """
    if not (_by_pixel(features) and _by_pixel(inner)):
        return torch.addcmul(features, inner, factors)
    count, channels, height, width = inner.shape
    of_row = factors.view(count, 1, channels).repeat(1, 1, width)
    rows = [map_.permute(0, 2, 3, 1).flatten(2) for map_ in (features, inner)]  # [N,H,W*C]
    result = torch.addcmul(*rows, of_row)
    return result.view(count, height, width, channels).permute(0, 3, 1, 2)


def _by_pixel(features: Tensor) -> bool:
    """Whether a map lies in memory pixel after pixel (channels_last) and not also otherwise."""
    by_pixel = features.is_contiguous(memory_format=torch.channels_last)
    return by_pixel and not features.is_contiguous()
