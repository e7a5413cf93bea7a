"""Sizes that a network can take: padding to multiples, and large images in tiles.

With tiles memory does not grow with the image. Tiles start at multiples of the network's own, so
that its grid lies as on the whole image, and overlap. The outer three eighths of an overlap are
thrown away (there a tile sees its own border), across the middle quarter one tile fades smoothly
into the other. A network whose reach is at most three eighths of the overlap gives the whole-image
result; one that averages over the image (channel attention) gives another.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from utils.errors import UserError

OVERLAP = 64  # px
MEMORY_FRACTION = 0.7  # of the free memory


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Extend [...,H,W] at the bottom and right to multiples of `multiple` by reflection.

    Crop the result with [..., :H, :W]. Sides shorter than the padding are reflected again and
    again, so any size works.
    """
    for axis in (-2, -1):
        size = image.shape[axis]
        missing = -size % multiple
        if missing:
            # an endless reflection without repeating the border
            period = max(2 * (size - 1), 1)
            position = torch.arange(size + missing, device=image.device) % period
            reflected = torch.where(position < size, position, period - position)
            image = image.index_select(axis, reflected)
    return image


def restore_tiled(
    function: Callable[[Tensor], Tensor],
    image: Tensor,
    tile: int,
    overlap: int = OVERLAP,
    multiple: int = 1,
    device: torch.device | None = None,
    progress: Callable[[], object] | None = None,
    other: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """function(image) [B,D,H,W] of an image [B,C,H,W], worked out in tiles of `tile` px.

    device: of the function; the result stays with the image. multiple: tiles start at multiples of
    it. progress is called per tile. other: of a result that is as good another way round (time
    backward), the other way; each tile takes the one that fits the tiles before it. Raises
    ValueError for tiles not larger than two overlaps.
    """
    size = image.shape[-2:]
    device = device or image.device
    if max(size) <= tile:
        restored = function(image.to(device)).to(image.device)
        if progress:
            progress()
        return restored
    if tile <= 2 * overlap:
        raise ValueError(
            f"tiles of {tile} px with an overlap of {overlap}: they must be larger than two "
            "overlaps"
        )
    rows = positions(size[0], tile, overlap, multiple)
    columns = positions(size[1], tile, overlap, multiple)
    result: Tensor | None = None
    for top, bottom in rows:
        for left, right in columns:
            region = (..., slice(top, bottom), slice(left, right))
            part = function(image[region].to(device)).float().to(image.device)  # [B,D,h,w]
            row_fade = _fade(rows, top, bottom).view(-1, 1).to(part)
            fade = row_fade * _fade(columns, left, right).to(part)  # [h,w]
            if result is None:
                result = part.new_zeros(*part.shape[:-2], *size)
                done = part.new_zeros(size)  # the weights added so far
            elif other:
                part = _fitting(part, other(part), result[region], done[region])
            done[region] += fade
            result[region] += part * fade
            if progress:
                progress()
    return result


def positions(length: int, tile: int, overlap: int, multiple: int) -> list[tuple[int, int]]:
    """(start, end) of the tiles along a side; neighbours overlap by `overlap` px.

    All but the last have one size of at most `tile`. Starts are multiples of `multiple`, for which
    the overlap is rounded up.
    """
    if length <= tile:
        return [(0, length)]
    overlap = -(-overlap // multiple) * multiple
    to_cover = length - overlap
    count = -(-to_cover // (tile // multiple * multiple - overlap))
    step = -(-to_cover // (count * multiple)) * multiple
    return [(start, min(start + step + overlap, length)) for start in range(0, to_cover, step)]


def count_tiles(size: tuple[int, int], tile: int, overlap: int, multiple: int) -> int:
    """How many tiles an image of a size (height, width) is worked out in."""
    if max(size) <= tile:
        return 1
    return math.prod(len(positions(length, tile, overlap, multiple)) for length in size)


def tile_for(
    size: tuple[int, int],
    bytes_per_pixel: float,
    available: int | None,
    overlap: int,
    multiple: int,
) -> int:
    """The largest tile that `available` bytes of memory allow.

    It is the longer side where the whole image fits, or nothing is known (None). Raises UserError
    with the bytes that the smallest sensible tile needs if they are not there.
    """
    whole = max(size)
    if available is None or size[0] * size[1] * bytes_per_pixel <= MEMORY_FRACTION * available:
        return whole
    smallest = -(-(2 * overlap + 1) // multiple) * multiple
    side = int(math.sqrt(MEMORY_FRACTION * max(available, 0) / bytes_per_pixel))
    tile = side // multiple * multiple
    if tile < smallest:
        free = available / 2**30
        needed = smallest**2 * bytes_per_pixel / MEMORY_FRACTION / 2**30
        raise UserError(
            f"not enough memory: {free:.2f} GB are free, tiles of {smallest} px need "
            f"{needed:.2f} GB: close other programs"
        )
    return min(tile, whole)


def _fitting(part: Tensor, other: Tensor, result: Tensor, done: Tensor) -> Tensor:
    """The one of two parts [...,h,w] that is nearer to the result of the tiles before it.

    done: the weights [h,w] with which these were added.
    """
    error = ((done * part - result) ** 2).sum()
    other_error = ((done * other - result) ** 2).sum()
    return other if other_error < error else part


def _fade(tiles: list[tuple[int, int]], start: int, end: int) -> Tensor:
    """Weights [end - start] of a tile; those of all tiles add up to 1 everywhere."""
    index = tiles.index((start, end))
    weights = torch.ones(end - start)
    if index > 0:
        overlap = tiles[index - 1][1] - start
        weights[:overlap] = _ramp(overlap)
    if index + 1 < len(tiles):
        overlap = end - tiles[index + 1][0]
        weights[end - start - overlap :] = 1 - _ramp(overlap)
    return weights


def _ramp(length: int) -> Tensor:
    """0 on the first three eighths, a smooth rise, 1 on the last three eighths."""
    position = (torch.arange(length) + 0.5) / length
    return torch.sin(((position - 0.375) * 4).clamp(0, 1) * math.pi / 2) ** 2
