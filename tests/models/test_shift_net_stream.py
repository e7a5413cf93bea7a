"""Shift-Net frame by frame: equal to whole clips, its reach, its memory."""

import gc
from collections.abc import Iterator

import pytest
import torch

from restoration.video import VideoRestorer
from tests.models.shift_nets import narrow
from utils.errors import UserError

REACH = {"plus": 28, "small": 24}


def video(count: int, height: int = 16, width: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.rand(1, count, 3, height, width, dtype=torch.float64, generator=generator)


def test_a_stream_of_plus_is_the_whole_clip():
    """28 frames later, and what it holds between frames does not grow with the video."""
    network = narrow("plus").double()
    clip = video(44, 8, 16)
    read = []
    held = []

    def frames() -> Iterator[torch.Tensor]:
        for index, frame in enumerate(clip.unbind(1)):
            read.append(index)
            if index in (34, 43):
                held.append(held_numbers())
            yield frame.clone()

    with torch.inference_mode():
        whole = network.restore_clip(clip)
        stream = network.stream(frames())
        first = next(stream)
        assert len(read) == 29
        streamed = [first.clone()]
        streamed += [frame.clone() for frame in stream]
    assert (torch.stack(streamed, 1) - whole).abs().max() <= 1e-11 * whole.abs().max()
    results = 9 * first.numel() * first.element_size()
    assert held[1] - held[0] == results


def held_numbers() -> int:
    """Bytes of the tensors that are alive."""
    gc.collect()
    storages = {}
    for value in gc.get_objects():
        if type(value) is torch.Tensor:
            storages[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
    return sum(storages.values())


@pytest.mark.parametrize("variant", REACH)
def test_a_frame_depends_on_its_reach_and_on_nothing_beyond(variant):
    """A change as many frames away shows, one frame further away it is bitwise nothing."""
    network = narrow(variant).double()
    reach = REACH[variant]
    assert network.context == reach
    clip = video(2 * reach + 7, 8, 12)
    changed = reach + 3  # both ends are farther away
    other = clip.clone()
    other[:, changed] = 1 - other[:, changed]
    with torch.inference_mode():
        difference = network.restore_clip(clip) != network.restore_clip(other)
    seen = [index for index, frame in enumerate(difference[0]) if frame.any()]
    assert seen == list(range(changed - reach, changed + reach + 1))


def test_a_stream_of_small_differs_at_the_ends_alone():
    """Whole clips wrap round, as published."""
    network = narrow("small").double()
    clip = video(50, 8, 12)
    with torch.inference_mode():
        whole = network.restore_clip(clip)
        streamed = torch.stack(list(network.stream(clip.unbind(1))), 1)
    difference = (streamed - whole).abs().amax((0, 2, 3, 4)) / whole.abs().max()
    assert difference[24:-24].max() < 1e-11
    assert difference[[0, 8, -9, -1]].min() > 1e-11


@pytest.mark.parametrize("variant", REACH)
@pytest.mark.parametrize("count", [1, 2])
def test_videos_shorter_than_the_reach_are_restored(variant, count):
    restorer = VideoRestorer(narrow(variant), torch.device("cpu"))
    frames = list(video(count, 13, 18)[0].float())
    restored = list(restorer.stream(frames))
    assert [frame.shape for frame in restored] == [(3, 13, 18)] * count


def test_tiles_where_memory_asks_for_them(monkeypatch):
    monkeypatch.setattr("models.shift_net.TILE_OVERLAP", 16)
    network = narrow("plus").double()
    clip = video(3, 40, 88)
    size = (40, 88)
    assert network.plan_memory(size, None) == network.plan_memory(size, 1e12) == ""
    words = network.plan_memory(size, 28e6)
    assert "tiles of 40 px" in words
    results = []
    with torch.inference_mode():
        for tile in (0, 88, network.tile):  # whole frames, one tile, several
            network.tile = tile
            results.append(torch.stack(list(network.stream(clip.unbind(1))), 1))
    whole, one, several = results
    assert (one - whole).abs().max() < 1e-11 * whole.abs().max()
    assert 0 < (several - whole).abs().mean() < (whole - clip).abs().mean()
    with pytest.raises(UserError, match="a window of frames alone.*the largest size"):
        network.plan_memory((4000, 6000), 1e9)
