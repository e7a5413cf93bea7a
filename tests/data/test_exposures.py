"""Clips of exposures over sharp videos, and mixtures of training sets."""

import numpy as np
import pytest
import torch

from data.catalog import find_videos
from data.exposures import ExposedFrames, ExposedVideos
from data.high_rate import high_rate
from data.mixture import Mixture
from data.synthesis.camera import NO_RESPONSE, STANDARD
from data.synthesis.exposure import mean_in_linear_light
from tests.utils.test_scenes import shot
from utils.errors import UserError
from utils.image import write_image

FRAMES = 24


@pytest.fixture
def videos(tmp_path, monkeypatch):
    """A smooth texture that moves 3 px per frame to the right, and one that stands still."""
    monkeypatch.setattr("data.high_rate.STEP", 2)  # px: DIS sees a little more than 3 in parts
    noise = np.random.default_rng(0).normal(size=(60, 200))
    squared_frequency = np.fft.fftfreq(60)[:, None] ** 2 + np.fft.fftfreq(200) ** 2
    texture = np.real(np.fft.ifft2(np.fft.fft2(noise) * np.exp(-80 * squared_frequency)))
    texture = np.uint8(128 + 100 * texture / np.abs(texture).max())
    for frame in range(FRAMES):
        for name, shift in (("moving", 3 * frame), ("still", 0)):
            pixels = np.roll(texture, shift, 1)[:, 70:150]
            file = tmp_path / "sharp" / name / f"{frame}.png"
            write_image(file, np.repeat(pixels[..., None], 3, 2))
    return find_videos(tmp_path / "sharp", "frames").videos


def make(videos, tmp_path, **others):
    settings = {"frames": 5, "size": 32, "seed": 1, "cache": tmp_path / "cache"}
    return ExposedVideos(videos, **settings | others)


def test_the_high_rate_holds_the_frames_and_those_between(videos, tmp_path):
    cache = tmp_path / "cache"
    video = high_rate(videos[0], cache)
    assert video.rate == 2 and video.real_frames == FRAMES
    assert video.frames.shape == (2 * FRAMES - 1, 60, 80, 3)
    inner = np.s_[8:-8, 8:-8]
    frame = video.frames[10].astype(int)
    expected = (np.roll(frame, 1, 1) + np.roll(frame, 2, 1)) / 2  # 1.5 px further
    assert np.abs(video.frames[11] - expected)[inner].mean() < 1.0
    made = cache.stat().st_mtime_ns
    assert high_rate(videos[0], cache).rate == 2
    assert cache.stat().st_mtime_ns == made
    assert high_rate(videos[1], cache).rate == 1  # nothing moves
    assert high_rate(videos[0], cache, max_frames=10).real_frames == 10


def test_clips_depend_on_the_seed_the_epoch_and_the_index_alone(videos, tmp_path):
    one = make(videos, tmp_path)
    two = make(videos, tmp_path)
    assert len(one) == 2 * ExposedVideos.PER_VIDEO
    for index in range(8):
        assert torch.equal(one[2, index]["blurry"], two[2, index]["blurry"])
    assert not torch.equal(one[0, 0]["sharp"], one[1, 0]["sharp"])
    assert not torch.equal(one[0, 0]["sharp"], make(videos, tmp_path, seed=2)[0, 0]["sharp"])


def test_pairs_are_clips_of_one_frame(videos, tmp_path):
    pairs = ExposedFrames(videos, 32, 1, tmp_path / "cache")
    clips = make(videos, tmp_path, frames=1)
    assert len(pairs) == len(clips)
    for index in range(6):
        pair = pairs[3, index]
        clip = clips[3, index]
        assert torch.equal(pair["blurry"], clip["blurry"][0])
        assert torch.equal(pair["sharp"], clip["sharp"][0])
        assert pair["name"] == f"{clip['video']}/{clip['frames'][0]}"


def test_blur_is_none_mild_and_strong_and_still_scenes_stay_sharp(videos, tmp_path):
    clips = make(videos, tmp_path)
    differences = {"moving": [], "still": []}
    for index in range(len(clips)):
        item = clips[0, index]
        assert item["blurry"].shape == item["sharp"].shape == (5, 3, 32, 32)
        assert item["blurry"].min() >= 0 and item["blurry"].max() <= 1
        differences[item["video"]].append((item["blurry"] - item["sharp"]).abs().mean().item())
    assert np.max(differences["still"]) < 0.02  # noise and compression alone
    assert np.min(differences["moving"]) < 0.004 < 0.04 < np.max(differences["moving"])


@pytest.mark.parametrize(("srgb_fraction", "response"), [(0, STANDARD), (1, NO_RESPONSE)])
def test_the_truth_is_a_real_frame_and_the_blur_a_mean_around_it(
    videos, tmp_path, monkeypatch, srgb_fraction, response
):
    """The mean is taken in linear light, or, as of GoPro's `blur`, in sRGB space."""

    def only_rounded(rng, clip, **fractions):
        return np.round(clip * 255) / 255

    monkeypatch.setattr("data.exposures.degrade", only_rounded)
    monkeypatch.setattr("data.exposures.crop_and_turn", lambda images, size, rng: images)
    monkeypatch.setattr("data.exposures.UNBLURRED_FRACTION", 0)
    monkeypatch.setattr("data.exposures.PLAIN_FRACTION", 1)
    clips = make(videos[:1], tmp_path, size=60, srgb_fraction=srgb_fraction)
    frames = clips.videos[0].frames[::2] / 255
    for index in range(6):
        item = clips[0, index]
        numbers = [int(number) for number in item["frames"]]
        assert len(set(np.diff(numbers))) == 1 and abs(numbers[1] - numbers[0]) >= 3
        sharp = item["sharp"][2].numpy().transpose(1, 2, 0)
        offsets = [
            left
            for left in range(21)
            if np.abs(frames[numbers[2]][:, left : left + 60] - sharp).max() < 1e-6
        ]
        assert len(offsets) == 1
        blurry = item["blurry"][2].numpy().transpose(1, 2, 0)
        part = np.s_[:, :, offsets[0] : offsets[0] + 60]
        errors = []
        for half in (1, 2):
            around = frames[numbers[2] - half : numbers[2] + half + 1][part]
            errors.append(np.abs(mean_in_linear_light(around, response) - blurry).max())
        assert min(errors) < 0.5 / 255 + 1e-4


def test_no_exposure_goes_over_a_cut(tmp_path, monkeypatch):
    """Three shots, of which the second is too short for a clip."""
    for index, pixels in enumerate([*shot(1, 9), *shot(2, 2), *shot(3, 14)]):
        write_image(tmp_path / f"sharp/cut/{index:02d}.png", pixels)
    used = []
    expose = ExposedVideos._expose

    def recorded(self, rng, video, middles, exposures, *rest):
        used.append((video, middles + np.array(exposures).T))
        return expose(self, rng, video, middles, exposures, *rest)

    monkeypatch.setattr(ExposedVideos, "_expose", recorded)
    clips = make(find_videos(tmp_path / "sharp", "frames").videos, tmp_path, frames=2)
    for index in range(60):
        clips[0, index]
    drawn = set()
    for video, frames in used:
        assert video.cuts == (9, 11)
        first, last = frames.min() / video.rate, frames.max() / video.rate
        inside = [0 <= first <= last <= 8, 11 <= first <= last <= 24]
        assert sum(inside) == 1
        drawn.add(inside.index(True))
    assert drawn == {0, 1}
    again = make(find_videos(tmp_path / "sharp", "frames").videos, tmp_path, frames=2)
    assert again.videos[0].cuts == (9, 11)  # of the cache


def test_too_short_or_too_small_videos_are_named(videos, tmp_path):
    with pytest.raises(UserError, match="moving: 24 frames of 80x60 are not enough"):
        make(videos, tmp_path, size=64)
    with pytest.raises(UserError, match="moving: 9 frames"):
        make(videos, tmp_path, max_frames=9)


def test_a_mixture_keeps_its_fraction():
    class Named(torch.utils.data.Dataset):
        def __init__(self, name, length):
            self.name = name
            self.length = length

        def __len__(self):
            return self.length

        def __getitem__(self, key):
            assert key[1] < self.length
            return self.name

    mixture = Mixture(Named("main", 500), Named("other", 7), 0.2, seed=0)
    names = [mixture[0, index] for index in range(500)]
    assert len(mixture) == 500 and 60 < names.count("other") < 140
    assert names == [mixture[0, index] for index in range(500)]
    assert names != [mixture[1, index] for index in range(500)]
