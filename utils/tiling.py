"""Sizes that a network can take: padding to multiples, and large images in tiles, so that memory
does not grow with the image.

Tiles start at multiples of the network's own, so that its grid lies as on the whole image, and
overlap. The outer three eighths of an overlap are thrown away (there a tile sees its own border),
across the middle quarter one tile fades smoothly into the other. A network whose reach is at most
three eighths of the overlap gives the whole-image result; one that averages over the image (channel
attention) gives another.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from utils.errors import UserError

OVERLAP = 64  # px
MEMORY_FRACTION = 0.7  # of the free memory


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Extend [...,H,W] at the bottom and right to multiples of `multiple` by reflection; crop the
    result with [..., :H, :W].

    Sides shorter than the padding are reflected again and again, so any size works.
    """
    for axis in (-2, -1):
        size = image.shape[axis]
        missing = -size % multiple
        if missing:
            period = max(
                2 * (size - 1), 1
            )  # positions of an endless reflection without repeating the border
            position = torch.arange(size + missing, device=image.device) % period
            image = image.index_select(
                axis, torch.where(position < size, position, period - position)
            )
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
    """function(image) [B,D,H,W] of an image [B,C,H,W], worked out in tiles of `tile` px on
    `device`; the result stays with the image.

    multiple: tiles start at multiples of it. progress is called per tile. other: of a result that
    is as good another way round (time backward), the other way; each tile takes the one that fits
    the tiles before it. Raises ValueError for tiles not larger than two overlaps.
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
    rows, columns = (positions(length, tile, overlap, multiple) for length in size)
    result: Tensor | None = None
    for top, bottom in rows:
        for left, right in columns:
            part = function(image[..., top:bottom, left:right].to(device)).float().to(image.device)
            fade = _fade(rows, top, bottom).view(-1, 1).to(part) * _fade(columns, left, right).to(
                part
            )
            if result is None:
                result = part.new_zeros(*part.shape[:-2], *size)
                share = part.new_zeros(size)  # of the weights that are there
            elif other:
                part = _fitting(
                    part,
                    other(part),
                    result[..., top:bottom, left:right],
                    share[top:bottom, left:right],
                )
            part = part * fade
            share[top:bottom, left:right] += fade
            result[..., top:bottom, left:right] += part
            if progress:
                progress()
    return result


def positions(length: int, tile: int, overlap: int, multiple: int) -> list[tuple[int, int]]:
    """(start, end) of the tiles along a side, all but the last of one size of at most `tile`;
    neighbours share `overlap` px.

    Starts are multiples of `multiple`, for which the overlap is rounded up.
    """
    if length <= tile:
        return [(0, length)]
    overlap = -(-overlap // multiple) * multiple
    count = -(-(length - overlap) // (tile // multiple * multiple - overlap))
    step = -(-(length - overlap) // (count * multiple)) * multiple
    return [
        (start, min(start + step + overlap, length)) for start in range(0, length - overlap, step)
    ]


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
    """The largest tile that `available` bytes of memory allow; the longer side where the whole
    image fits, or nothing is known.

    Raises UserError with the bytes that the smallest sensible tile needs if they are not there.
    """
    whole = max(size)
    if available is None or size[0] * size[1] * bytes_per_pixel <= MEMORY_FRACTION * available:
        return whole
    least = -(-(2 * overlap + 1) // multiple) * multiple
    tile = (
        int(math.sqrt(MEMORY_FRACTION * max(available, 0) / bytes_per_pixel)) // multiple * multiple
    )
    if tile < least:
        free, needed = (
            f"{amount / 2**30:.2f} GB"
            for amount in (available, least**2 * bytes_per_pixel / MEMORY_FRACTION)
        )
        raise UserError(
            f"not enough memory: {free} are free, tiles of {least} px need {needed}: close other "
            "programs"
        )
    return min(tile, whole)


def _fitting(part: Tensor, other: Tensor, there: Tensor, share: Tensor) -> Tensor:
    """The one of two [...,h,w] that is nearer to what is `there` already, of which a `share` [h,w]
    is done.
    """
    errors = [((share * one - there) ** 2).sum() for one in (part, other)]
    return other if errors[1] < errors[0] else part


def _fade(tiles: list[tuple[int, int]], start: int, end: int) -> Tensor:
    """Weights [end - start] of a tile; those of all tiles add up to 1 everywhere."""
    place = tiles.index((start, end))
    weights = torch.ones(end - start)
    if place > 0:  # from the tile before
        shared = tiles[place - 1][1] - start
        weights[:shared] = _ramp(shared)
    if place + 1 < len(tiles):
        shared = end - tiles[place + 1][0]
        weights[end - start - shared :] = 1 - _ramp(shared)
    return weights


def _ramp(length: int) -> Tensor:
    """0 on the first three eighths, a smooth rise on the middle quarter, 1 on the last three
    eighths.
    """
    position = (torch.arange(length) + 0.5) / length
    return torch.sin(((position - 0.375) * 4).clamp(0, 1) * math.pi / 2) ** 2
