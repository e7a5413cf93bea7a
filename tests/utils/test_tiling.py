"""Tiles give the whole-image result where the network's reach allows it, and never a seam."""

import pytest
import torch
from torch import nn

from models import build
from utils.errors import UserError
from utils.tiling import count_tiles, positions, restore_tiled, tile_for

SIDES = [(340, 200, 64, 1), (1000, 300, 60, 16), (513, 512, 64, 16), (97, 96, 8, 4)]


@pytest.mark.parametrize(("length", "tile", "overlap", "multiple"), SIDES)
def test_tiles_cover_a_side(length, tile, overlap, multiple):
    found = positions(length, tile, overlap, multiple)
    assert found[0][0] == 0 and found[-1][1] == length
    assert all(start % multiple == 0 and end - start <= tile for start, end in found)
    assert all(before[1] - after[0] >= overlap for before, after in zip(found, found[1:]))
    # at most two tiles share a pixel
    assert all(before[1] <= later[0] for before, later in zip(found, found[2:]))
    assert count_tiles((length, 10), tile, overlap, multiple) == len(found)


def test_blending_keeps_what_every_tile_agrees_on():
    image = torch.rand(2, 3, 200, 130)
    assert (restore_tiled(lambda part: part, image, 72, 16, 8) - image).abs().max() < 1e-6


def test_a_short_reach_gives_the_whole_result():
    torch.manual_seed(0)
    network = nn.Conv2d(3, 3, 9, padding=4)  # reach 4 = a quarter of the overlap
    image = torch.rand(1, 3, 150, 90)
    calls = []
    with torch.inference_mode():
        tiled = restore_tiled(network, image, 48, 16, progress=lambda: calls.append(1))
        assert (tiled - network(image)).abs().max() < 1e-6
    assert len(calls) == count_tiles((150, 90), 48, 16, 1)


def test_tiles_of_a_result_that_is_as_good_turned_around_agree():
    """A sign that depends on what a tile shows differs; with `other` all tiles follow the first."""
    image = torch.randn(1, 1, 160, 230, generator=torch.Generator().manual_seed(0))

    def turning(part):
        return part * part.sum().sign()

    mixed = restore_tiled(turning, image, 72, 16)
    agreed = restore_tiled(turning, image, 72, 16, other=torch.neg)
    assert min((mixed - image).abs().max(), (mixed + image).abs().max()) > 0.5
    assert min((agreed - image).abs().max(), (agreed + image).abs().max()) < 1e-5


@pytest.mark.parametrize("name", ["light_dehaze", "mimo_unet"])
def test_seams_of_real_networks_stay_below_a_grey_level(name):
    torch.manual_seed(0)
    sizes = {"light_dehaze": {"width": 16}, "mimo_unet": {"width": 16, "blocks": 4}}
    network = build(name, **sizes[name]).eval()
    if name == "light_dehaze":
        network.attention.weight.data.zero_()  # an average over the image has no finite reach
    image = torch.rand(1, 3, 1, 1) * torch.rand(1, 1, 160, 400)
    with torch.inference_mode():
        tiled = restore_tiled(network, image, 272, 128, network.multiple)
        difference = tiled - network(image)
    assert difference.abs().max() <= 1 / 255


def test_tile_follows_the_budget():
    assert tile_for((300, 500), 1000, None, 64, 16) == 500
    assert tile_for((300, 500), 1000, 10**9, 64, 16) == 500
    tile = tile_for((3000, 5000), 1000, 10**9, 64, 16)
    assert tile % 16 == 0 and 0.6 * 10**9 < tile**2 * 1000 <= 0.7 * 10**9
    with pytest.raises(UserError, match="0.00 GB are free, tiles of 144 px need 0.03 GB"):
        tile_for((3000, 5000), 1000, 10**6, 64, 16)
    with pytest.raises(ValueError, match="larger than two overlaps"):
        restore_tiled(lambda part: part, torch.rand(1, 3, 200, 200), 100, 50)
