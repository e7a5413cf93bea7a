"""Means over windows that lie wholly inside a map, the local statistics of TLC.

Chu et al., ECCV 2022 (arXiv 2112.04491). Along an axis of length L there are n = L - k + 1 windows
of k px. They are fewer than pixels: pixel p has the window with index p - (k - 1) // 2, or the
outermost one where there is none. Means are [B,C,n_h,n_w], never enlarged to the map's size.
"""

import torch
from torch import Tensor

BLOCK = 16  # steps from one sum to the next: so few that float32 loses no digits


def window_means(features: Tensor, window: int) -> Tensor:
    """Means [B,C,n_h,n_w], of the type of features [B,C,H,W], over windows of `window` px.

    Windows are cut to the map per direction. Sums run in float32.
    """
    height, width = features.shape[-2:]
    rows = min(window, height)
    columns = min(window, width)
    with torch.autocast(features.device.type, enabled=False):
        sums = features.float()
        # the axis with relatively fewer windows first: it leaves less to do for the other
        if (height - rows) * width <= (width - columns) * height:
            sums = _sums_of_columns(_sums_of_rows(sums, rows), columns)
        else:
            sums = _sums_of_rows(_sums_of_columns(sums, columns), rows)
        means = sums / (rows * columns)
    return means.to(features.dtype)


def times_windows(features: Tensor, values: Tensor, window: int) -> Tensor:
    """Features [B,C,H,W], each pixel times the value [B,C,n_h,n_w] of its window.

    Without gradients in the memory of `features`, a tensor that nobody else needs.
    """
    if torch.is_grad_enabled():
        return features * of_pixels(values, features.shape[-2:], window)
    for rows, value_rows in _segments(features.shape[-2], values.shape[-2], window):
        for columns, value_columns in _segments(features.shape[-1], values.shape[-1], window):
            part = features[..., rows, columns]
            part.mul_(values[..., value_rows, value_columns])
    return features


def of_pixels(values: Tensor, size: tuple[int, int], window: int) -> Tensor:
    """The values [B,C,n_h,n_w] of windows as those of the map's pixels, [B,C,H,W]."""
    for axis, length in zip((-2, -1), size):
        side = min(window, length)
        position = torch.arange(length, device=values.device) - (side - 1) // 2
        values = values.index_select(axis, position.clamp(0, length - side))
    return values


def _segments(length: int, windows: int, window: int) -> list[tuple[slice, slice]]:
    """(pixels, their windows): those before the first own window, with one each, after the last."""
    first = (min(window, length) - 1) // 2
    last = first + windows
    segments = [
        (slice(0, first), slice(0, 1)),
        (slice(first, last), slice(0, windows)),
        (slice(last, length), slice(windows - 1, windows)),
    ]
    return [segment for segment in segments if segment[0].start < segment[0].stop]


def _sums_of_rows(features: Tensor, window: int) -> Tensor:
    """[B,C,H,W] -> [B,C,n_h,W]."""
    rows = features.permute(0, 2, 3, 1)  # [B,H,W,C], as it lies in channels_last memory
    sums = _sums(rows.flatten(2), window)  # [B,n,W*C]
    return sums.unflatten(2, rows.shape[2:]).permute(0, 3, 1, 2)


def _sums_of_columns(features: Tensor, window: int) -> Tensor:
    """[B,C,H,W] -> [B,C,H,n_w]."""
    rows = features.permute(0, 2, 3, 1)  # [B,H,W,C]
    sums = _sums(rows.flatten(0, 1), window)  # [B*H,n,C]
    return sums.unflatten(0, rows.shape[:2]).permute(0, 3, 1, 2)


def _sums(rows: Tensor, window: int) -> Tensor:
    """Sums [N,n,R] over `window` consecutive ones of rows [N,L,R], float32.

    The windows that start at a multiple of b are added up from sums of whole blocks of b rows and
    the rows left. The sum of each of the b - 1 windows after one of them is that of the window
    before, plus the row that enters, minus the row that leaves.
    """
    windows = rows.shape[1] - window + 1
    if windows == 1:
        return rows.sum(1, keepdim=True)
    sums = rows.new_empty(rows.shape[0], windows, rows.shape[2])
    entering = rows[:, window:]
    leaving = rows[:, : windows - 1]
    if torch.is_grad_enabled():
        sums[:, 1:] = entering - leaving
    else:
        torch.sub(entering, leaving, out=sums[:, 1:])
    many = window // BLOCK
    starts = -(-windows // BLOCK)  # blocks in which a window starts
    blocks = starts - 1 + many
    totals = rows[:, : blocks * BLOCK].unflatten(1, (blocks, BLOCK)).sum(2)  # [N,blocks,R]
    first = torch.zeros_like(rows[:, :starts])
    for index in range(many):
        first += totals[:, index : index + starts]
    for index in range(many * BLOCK, window):
        first += rows[:, index::BLOCK][:, :starts]
    sums[:, ::BLOCK] = first
    for index in range(1, min(BLOCK, windows)):
        following = sums[:, index::BLOCK]
        following += sums[:, index - 1 :: BLOCK][:, : following.shape[1]]
    return sums
