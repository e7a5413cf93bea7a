"""What every video network gets for nothing: streaming in windows, stand-ins at the ends."""

import pytest
import torch
from torch import Tensor, nn

from models.contracts import VideoNetwork
from restoration.video import VideoRestorer
from utils.errors import UserError


class Mean(VideoNetwork):
    """The mean of each frame and `context` ones on both sides, those that there are."""

    bytes_per_pixel = 12

    def __init__(self, context: int, lost: int):
        super().__init__()
        self.context = context
        self.lost = lost
        self.frames = 2 * context + 1
        self.longest = 0

    def restore_clip(self, clip: Tensor) -> Tensor:
        count = clip.shape[1]
        self.longest = max(self.longest, count)
        means = []
        for index in range(self.lost, count - self.lost):
            around = clip[:, max(index - self.context, 0) : index + self.context + 1]
            means.append(around.mean(1))
        return torch.stack(means, 1)


def video(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(count)
    return list(torch.rand(count, 1, 3, 4, 5, generator=generator))


@pytest.mark.parametrize(("context", "lost"), [(0, 0), (1, 0), (2, 1), (3, 3), (9, 2)])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 31])
def test_windows_give_what_the_whole_clip_gives(context, lost, count):
    network = Mean(context, lost)
    streamed = list(network.stream(iter(video(count))))
    if count <= 2 * lost:
        assert streamed == []
        return
    whole = network.restore_clip(torch.stack(video(count), 1))
    torch.testing.assert_close(torch.stack(streamed, 1), whole)


def test_windows_do_not_grow_with_the_video():
    network = Mean(2, 1)
    assert len(list(network.stream(iter(video(60))))) == 58
    assert network.longest == network.window + 2 * network.context


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_stand_ins_are_the_first_and_last_frames_once_more(count):
    network = Mean(2, 2)
    numbers = [int(frame) for frame in network.extended(torch.arange(count))]
    head = [0, min(1, count - 1)]
    tail = [max(count - 2, 0), count - 1]
    assert numbers == [*head, *range(count), *tail]
    assert list(network.extended([])) == []


class Running(VideoNetwork):
    """A mean that never forgets: a recurrent network without end."""

    bytes_per_pixel = 12
    frames = 3
    longer_clips = True

    def stream(self, frames, observe=None):
        state = None
        for frame in frames:
            state = frame if state is None else 0.5 * (state + frame)
            yield state


def test_a_recurrent_network_restores_clips_by_its_stream():
    clip = torch.stack(video(4), 1)
    restored = Running().restore_clip(clip)
    assert restored.shape == clip.shape
    torch.testing.assert_close(restored[:, 1], (clip[:, 0] + clip[:, 1]) / 2)


def test_a_network_without_both_is_told_what_to_override():
    class Nothing(VideoNetwork):
        context = None

    with pytest.raises(TypeError, match="override `stream`"):
        next(Nothing().stream(iter(video(3))))


def test_parts_may_learn_at_rates_of_their_own():
    network = nn.Module.__new__(Mean)
    VideoNetwork.__init__(network)
    network.body = nn.Linear(2, 3)
    network.flow = nn.Linear(4, 5)
    groups = network.parameter_groups(1e-3, {"flow": 1e-6, "nothing": 1.0})
    assert [group["lr"] for group in groups] == [1e-3, 1e-6]
    sizes = [sum(value.numel() for value in group["params"]) for group in groups]
    assert sizes == [9, 25]


def test_frames_too_large_for_the_memory_are_an_error(monkeypatch):
    restorer = VideoRestorer(Mean(1, 0), torch.device("cpu"))
    monkeypatch.setattr("restoration.video.available_memory", lambda device: 12 * 65 * 65 / 0.7)
    assert restorer.plan_memory((64, 64)) == ""
    with pytest.raises(UserError, match="of 128x128 need about .* that fits is about 65x65"):
        restorer.plan_memory((128, 128))


def test_frames_of_another_size_are_an_error():
    restorer = VideoRestorer(Mean(1, 0), torch.device("cpu"))
    frames = [torch.rand(3, 8, 9), torch.rand(3, 8, 10)]
    with pytest.raises(UserError, match="frames of different sizes"):
        list(restorer.stream(frames))
