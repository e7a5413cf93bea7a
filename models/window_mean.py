"""Means over windows that lie wholly inside a map, the local statistics of TLC.

Chu et al., ECCV 2022 (arXiv 2112.04491). Along an axis of length L there are n = L - k + 1 windows
of k px. They are fewer than pixels: pixel p has the window with index p - (k - 1) // 2, or the
outermost one where there is none. Means are [B,C,n_h,n_w], never enlarged to the map's size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 16  # rows of a prefix sum: so few that float32 loses no digits


def window_means(features: Tensor, window: int) -> Tensor:
    """Means [B,C,n_h,n_w], of the type of features [B,C,H,W], over windows of `window` px.

    Windows are cut to the map per direction. Sums run in float32, in blocks.
    """
    height, width = features.shape[-2:]
    rows = min(window, height)
    columns = min(window, width)
    with torch.autocast(features.device.type, enabled=False):
        means = features.float()
        # the axis with relatively fewer windows first: it leaves less to do for the other
        if (height - rows) * width <= (width - columns) * height:
            means = _means_of_columns(_means_of_rows(means, rows), columns)
        else:
            means = _means_of_rows(_means_of_columns(means, columns), rows)
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


def _means_of_rows(features: Tensor, window: int) -> Tensor:
    """[B,C,H,W] -> [B,C,n_h,W]."""
    rows = features.permute(0, 2, 3, 1)  # [B,H,W,C], as it lies in channels_last memory
    sums = _sums(rows.flatten(2), window)  # [B,n,W*C]
    return (sums / window).unflatten(2, rows.shape[2:]).permute(0, 3, 1, 2)


def _means_of_columns(features: Tensor, window: int) -> Tensor:
    """[B,C,H,W] -> [B,C,H,n_w]."""
    rows = features.permute(0, 2, 3, 1)  # [B,H,W,C]
    sums = _sums(rows.flatten(0, 1), window)  # [B*H,n,C]
    return (sums / window).unflatten(0, rows.shape[:2]).permute(0, 3, 1, 2)


def _sums(rows: Tensor, window: int) -> Tensor:
    """Sums [N,n,R] over `window` consecutive ones of rows [N,L,R], float32.

    With k = m b + s, P the sums inside a block of b rows before each row, and T the sums of blocks:
    S(i) = T(i // b) + ... + T((i + k) // b - 1) + P(i + k) - P(i).
    """
    length = rows.shape[1]
    windows = length - window + 1
    if windows == 1:
        return rows.sum(1, keepdim=True)
    blocks = -(-length // BLOCK) + 1
    padded = F.pad(rows, (0, 0, 0, blocks * BLOCK - length))
    cut = padded.unflatten(1, (blocks, BLOCK))  # [N,M,b,R]
    inside = _sums_before(cut)  # P, [N,M,b,R]
    totals = inside[:, :, -1] + cut[:, :, -1]  # T, [N,M,R]
    before = inside.flatten(1, 2)  # [N,M*b,R]
    sums = before[:, window : window + windows] - before[:, :windows]
    many, left = divmod(window, BLOCK)
    starts = -(-windows // BLOCK)  # blocks in which a window starts
    whole = torch.zeros_like(totals[:, :starts])
    for index in range(many):
        whole += totals[:, index : index + starts]
    for index in range(starts):
        part = sums[:, index * BLOCK : (index + 1) * BLOCK]
        part += whole[:, index : index + 1]
        # windows from here on end one block later
        part[:, BLOCK - left :] += totals[:, index + many : index + many + 1]
    return sums


def _sums_before(cut: Tensor) -> Tensor:
    """Sums over the rows before each one inside its block, of [N,M,b,R]."""
    if cut.is_cuda:  # where a matrix product may be computed with fewer digits (TF32)
        return cut.cumsum(2) - cut
    return cut.new_ones(BLOCK, BLOCK).tril(-1) @ cut
