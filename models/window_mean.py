"""Means over windows that lie wholly inside a map, the local statistics of TLC.

Chu et al., ECCV 2022 (arXiv 2112.04491). Along an axis of length L there are n = L - k + 1 windows of
k px. They are fewer than pixels: pixel p has the window with index p - (k - 1) // 2, or the outermost
one where there is none. Means are [B,C,n_h,n_w]; nothing of the map's size is made of them.
"""

import torch
from torch import Tensor

BLOCK = 16  # terms of the prefix sums, at most: so few that float32 loses no digits


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
    if window == features.shape[2]:
        return features.mean(2, keepdim=True)
    rows = features.permute(0, 2, 3, 1)  # [B,H,W,C], as it lies in channels_last memory
    sums = _sums(rows.flatten(2), window)  # [B,n,W*C]
    return (sums / window).unflatten(2, rows.shape[2:]).permute(0, 3, 1, 2)


def _means_of_columns(features: Tensor, window: int) -> Tensor:
    """[B,C,H,W] -> [B,C,H,n_w]."""
    if window == features.shape[3]:
        return features.mean(3, keepdim=True)
    rows = features.permute(0, 2, 3, 1)  # [B,H,W,C]
    sums = _sums(rows.flatten(0, 1), window)  # [B*H,n,C]
    return (sums / window).unflatten(0, rows.shape[:2]).permute(0, 3, 1, 2)


def _sums(rows: Tensor, window: int) -> Tensor:
    """Sums [N,n,R] over `window` consecutive ones of rows [N,L,R], float32.

    With P the sums inside a block before each row, and D those over whole blocks from a window's first
    on: S(i) = D(i // b) + P(i + k) - P(i), where the block's size b divides k.
    """
    count, length, _ = rows.shape
    block = BLOCK
    while window % block:
        block //= 2
    blocks = -(-length // block) + 1
    padded = torch.nn.functional.pad(rows, (0, 0, 0, blocks * block - length))
    cut = padded.unflatten(1, (blocks, block))  # [N,M,b,R]
    totals = cut.sum(2)  # [N,M,R]
    before = _sums_before(cut).flatten(1, 2)  # P, [N,M*b,R]
    many = window // block
    starts = (length - window) // block + 1  # blocks in which a window starts
    whole = torch.stack([totals[:, index : index + starts] for index in range(many)]).sum(0)
    windows = length - window + 1
    sums = before[:, window : window + windows] - before[:, :windows]
    for index in range(starts):
        part = sums[:, index * block : (index + 1) * block]
        part += whole[:, index : index + 1]
    return sums


def _sums_before(cut: Tensor) -> Tensor:
    """Sums over the rows before each one inside its block, of [N,M,b,R]."""
    block = cut.shape[2]
    before = torch.ones(block, block, device=cut.device, dtype=cut.dtype).tril(-1)
    if cut.is_cuda:  # a product may be rounded there, see torch.backends.cuda.matmul
        return cut.cumsum(2) - cut
    return before @ cut
