"""A stream that goes on in the middle of a video gives what the whole one gives, bit by bit."""

from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from models import build
from models.contracts import VideoNetwork
from restoration import video as restoration_video
from restoration.video import VideoRestorer
from tests.models.shift_nets import narrow
from tests.models.test_contracts import Mean
from tests.utils.test_scenes import texture
from utils.image import to_tensor

CPU = torch.device("cpu")
CASCADE = {"stages": 2, "width": 4, "blocks": 1, "kernel_size": 3, "flow": "dis"}


def cascade(**changes) -> VideoNetwork:
    torch.manual_seed(0)
    network = build("cdvd_tsp", **CASCADE | changes).eval()
    torch.nn.init.normal_(network.reconstruction.outward[-1].weight, std=0.1)
    return network


def video(count: int, size: tuple[int, int] = (80, 120), cuts: Sequence[int] = ()) -> list[Tensor]:
    """A camera that moves over a texture, another one from each cut on."""
    frames = []
    wide = texture(0, (80, 200))
    for index in range(count):
        if index in cuts:
            wide = texture(index, (80, 200))
        frames.append(to_tensor(wide[: size[0], 2 * index : 2 * index + size[1]]))
    return frames


def counted(network: VideoNetwork) -> list[int]:
    """Numbers of frames that the network's `stream` is given, in a list that grows."""
    given: list[int] = []
    stream = network.stream

    def counting(frames, observe=None) -> Iterator[Tensor]:
        given.append(0)

        def each() -> Iterator[Tensor]:
            for frame in frames:
                given[-1] += 1
                yield frame

        return stream(each(), observe)

    network.stream = counting
    return given


def check(
    restorer: VideoRestorer, frames: list[Tensor], followings: Sequence[int], ends: bool = True
) -> None:
    """Assert that results from each of the frames on are those of the whole stream."""
    whole = list(restorer.stream(frames, ends, cuts=True))
    first = 0 if ends else restorer.network.lost
    for following in followings:
        start = restorer.scene_start(frames, following)
        skip = following - start
        rest = list(restorer.stream(frames[start:], ends, cuts=True, skip=skip))
        assert len(rest) == max(len(whole) + first - following, 0)
        for frame, expected in zip(rest, whole[following - first :]):
            assert torch.equal(frame, expected)


@pytest.mark.parametrize(
    ("scale", "recurrent"), [(1, False), (0.8, False), ("mean", False), (1, True), (0.8, True)]
)
def test_cascades(scale, recurrent):
    restorer = VideoRestorer(cascade(recurrent=recurrent), CPU, scale=scale)
    check(restorer, video(12), [2, 9, 11, 12])


def test_without_the_ends():
    restorer = VideoRestorer(cascade(), CPU)
    check(restorer, video(14, cuts=(6, 11)), [2, 5, 6, 7, 11, 12, 13], ends=False)


@pytest.mark.parametrize(("context", "lost"), [(0, 0), (1, 0), (2, 1), (9, 2)])
def test_windows_are_the_same_windows(context, lost):
    check(VideoRestorer(Mean(context, lost), CPU), video(30), [3, 8, 16, 25, 29])


def test_shift_net():
    check(VideoRestorer(narrow("plus"), CPU), video(30, (16, 16)), [29])


def test_changes_of_the_scale_are_blended_as_before(monkeypatch):
    """Shots of a scene, of blocks of 8 frames, with another scale from frame 8 on, and at 16."""

    def decide(block: list[Tensor], tuned: bool) -> float:
        return 0.5 if 0.45 < float(block[0].mean()) < 0.55 else 1.0

    monkeypatch.setattr(restoration_video, "decide_scale", decide)
    frames = video(20)
    mean = float(frames[0].mean())
    levels = [0.4] * 8 + [0.5] * 8 + [0.6] * 4
    frames = [frame * (level / mean) for frame, level in zip(frames, levels)]
    restorer = VideoRestorer(cascade(), CPU, scale="auto")
    assert restorer.scene_start(frames, 19) == 0
    check(restorer, frames, [4, 8, 10, 14, 16, 18])


def test_hardly_more_than_needed_is_computed():
    network = cascade()
    given = counted(network)
    restorer = VideoRestorer(network, CPU)
    frames = video(14, cuts=(4,))
    list(restorer.stream(frames, cuts=True))
    assert given == [4 + 4, 10 + 4]  # with stand-ins at the ends
    given.clear()
    start = restorer.scene_start(frames, 11)
    list(restorer.stream(frames[start:], cuts=True, skip=11 - start))
    assert start == 4
    assert given == [2 + 3 + 4]  # two of context


def test_recurrent_networks_need_their_whole_scene():
    assert cascade(recurrent=True).first_needed(20) is None
    assert cascade().first_needed(20) == 18
    assert Mean(9, 2).first_needed(20) == 0
    assert Mean(9, 2).first_needed(40) == 24
    assert narrow("plus").first_needed(40) == 12
