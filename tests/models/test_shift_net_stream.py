"""Shift-Net frame by frame: equal to whole clips, its reach, its memory."""

import gc
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from models.shift_maps import Held, in_strips, joined, streamed
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


def test_a_step_holds_half_a_frame():
    """Only the first backward step can't know which frame is the last and holds whole ones."""
    steps = narrow("plus").double().fusion.decoder[-1]
    frame = torch.rand(1, 16, 4, 4, dtype=torch.float64)
    before = held_numbers()
    with torch.inference_mode():
        stream = steps.stream(streamed(frame.clone() for _ in range(30)), None)
        for _ in range(20):
            next(stream)
        whole = frame.numel() * frame.element_size()
        assert held_numbers() - before == whole * (len(steps.steps) + 1) / 2
        places = [is_last for _, is_last in stream]
    assert places == [False] * 9 + [True]


@pytest.mark.parametrize("variant", REACH)
def test_large_frames_in_strips_are_whole_frames(variant, monkeypatch):
    network = narrow(variant).double().to(memory_format=torch.channels_last)
    frames = video(2, 24, 16).unbind(1)
    with torch.inference_mode():
        whole = torch.stack(list(network.stream(frames)), 1)
        monkeypatch.setattr("models.shift_maps.LARGE", 0)
        strips = torch.stack(list(network.stream(frames)), 1)
    assert (strips - whole).abs().max() < 1e-11 * whole.abs().max()


def test_strips_need_their_halo(monkeypatch):
    """Every frame is the same with the rows that its layer reaches, and another one without."""
    monkeypatch.setattr("models.shift_maps.LARGE", 0)
    layer = torch.nn.Conv2d(2, 3, 5, padding=2).double()
    one, other = torch.rand(2, 1, 1, 22, 6, dtype=torch.float64)
    whole = joined(layer, one, other)
    with torch.inference_mode():
        strips = in_strips(partial(joined, layer), 2, one, other)
        narrow = in_strips(partial(joined, layer), 1, one, other)
    assert (strips - whole).abs().max() < 1e-12
    wrong = (narrow - whole).abs().amax((0, 1, 3)) > 1e-3
    assert wrong.nonzero().flatten().tolist() == [5, 6, 11, 12, 17, 18]


def test_held_maps_keep_their_values_in_memory_that_is_used_again():
    held = Held()
    maps = torch.rand(3, 1, 4, 5, 6).to(torch.bfloat16)
    with torch.inference_mode():
        for features in maps.clone():
            held.append(features.contiguous(memory_format=torch.channels_last))
            features.zero_()
        first = held.popleft()
        assert torch.equal(first, maps[0])
        assert first.is_contiguous(memory_format=torch.channels_last)
        held.append(maps[1, :, :2].repeat(1, 2, 1, 1))
        assert torch.equal(first[:, 2:], maps[1, :, :2])
        assert len(held) == 3 and torch.equal(held.popleft(), maps[1])
    features = maps[:1, 0].float().requires_grad_()
    held = Held()
    held.append(features)
    assert held.popleft() is features  # a copy would change below


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
