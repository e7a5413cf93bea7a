"""Laws of cameras, moving cameras, compression and the pairs made with them."""

import cv2
import numpy as np
import pytest
import torch

from data.compression import h264, jpeg
from data.exposures import _with_sharp_neighbours
from data.realistic import RealisticPairs, compressed_clip, realism_of
from data.synthesis.camera import STANDARD
from data.synthesis.development import (
    Camera,
    ToneCurve,
    brightened_highlights,
    draw_camera,
    mosaic_noise,
)
from data.synthesis.realism import Realism, developed_pair, draw_length, side_needed
from data.synthesis.shake import Layer, blur_length, draw_poses, exposed, random_blob
from utils.errors import UserError
from utils.image import write_image

NOTHING = Realism(unblurred=0, mild=0, camera=0, srgb=0, highlights=0, night=0, turning=0, layers=0)


@pytest.fixture
def picture():
    """A smooth colourful picture [96,96,3] uint8."""
    noise = np.random.default_rng(3).random((96, 96, 3), np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))


def test_a_tone_curve_by_hand_and_its_inverse():
    curve = ToneCurve(gamma=2, contrast=0.5)
    # v = 0.5 of light 0.25; 0.5 * 0.5 + 0.5 * (3 * 0.25 - 2 * 0.125) = 0.5; v = 0.3: 0.258
    assert curve.encoded(np.float32([0.25, 0.09])) == pytest.approx([0.5, 0.258], abs=1e-6)
    levels = np.arange(256, dtype=np.uint8)
    for contrast in (0.0, 0.4, 1.0):
        curve = ToneCurve(2.2, contrast)
        assert np.abs(curve.encoded(curve.linear(levels)) - levels / 255).max() < 1e-4


@pytest.mark.parametrize("seed", range(5))
def test_undoing_and_developing_returns_the_picture(picture, seed):
    """Without blur and noise, to a 255th."""
    rng = np.random.default_rng(seed)
    camera = draw_camera(rng, sharpened=False, denoised=False)
    quiet = Camera(camera.curve, camera.to_sensor, camera.gains)
    assert np.abs(quiet.developed(quiet.light(picture), rng) - picture / 255).max() < 1 / 255
    assert np.allclose(camera.to_sensor.sum(1), 1)
    assert camera.gains.min() >= 1


def test_noise_in_the_mosaic_has_the_stated_variance():
    """At its own pixels of the mosaic, and less, correlated noise where it is interpolated."""
    shot, read = 0.01, 0.0004
    for signal in (0.05, 0.5):
        grey = np.full((256, 256, 3), signal, np.float32)
        noise = mosaic_noise(grey, np.random.default_rng(1), shot, read)
        own = noise[::2, ::2, 0]
        assert own.var() == pytest.approx(shot * signal + read, rel=0.05)
        between = noise[::2, 1:-1:2, 0]  # the mean of two red neighbours
        assert between.var() == pytest.approx((shot * signal + read) / 2, rel=0.05)
        neighbours = np.corrcoef(noise[::2, :-1:2, 0].ravel(), noise[::2, 1::2, 0].ravel())
        assert neighbours[0, 1] == pytest.approx(np.sqrt(0.5), abs=0.05)


def test_saturated_streaks_are_as_bright_as_they_must_be():
    """A light of five times full scale, drawn out over ten pixels, is half of full scale."""
    light = np.zeros((40, 40, 3), np.float32)
    light[20, 20] = 1
    bright = brightened_highlights(light, 5.0)
    assert bright[20, 20].tolist() == [5, 5, 5]
    poses = np.zeros((10, 4))
    poses[:, 0] = np.arange(10) - 4
    blurred, sharp = exposed([Layer(bright, poses)], 24)
    streak = blurred[12, :, 0]
    assert np.count_nonzero(streak > 0.45) == 10
    assert streak[streak > 0.45] == pytest.approx([0.5] * 10)
    assert STANDARD.encoded(sharp).max() == 1
    assert brightened_highlights(np.float32([[[0.3, 0.5, 0.8]]]), 5.0).max() == np.float32(0.8)


def test_averages_preserve_light(picture):
    """Away from the border, as much light arrives as was sent."""
    light = np.zeros((96, 96, 3), np.float32)
    light[30:60, 30:60] = STANDARD.linear(picture)[30:60, 30:60]
    rng = np.random.default_rng(2)
    for _ in range(3):
        poses = draw_poses(rng, 12.0, 0.3, 0.0, 96)
        blurred, _ = exposed([Layer(light, poses)], 90)
        assert blurred.sum() == pytest.approx(light.sum(), rel=2e-3)


def test_a_motion_is_as_long_as_asked_and_centred():
    rng = np.random.default_rng(4)
    for length in (0.0, 5.0, 30.0):
        poses = draw_poses(rng, length, 0.5, 0.5, 200)
        assert np.abs(poses.mean(0)).max() < 1e-9
        assert length * 0.75 <= blur_length(poses) <= length * 1.42 + 1e-9
    still = draw_poses(rng, 0.0, 1, 1, 200)
    assert not still.any()


def test_turning_blurs_the_rim_more_than_the_middle(picture):
    poses = np.zeros((9, 4))
    poses[:, 2] = np.linspace(-0.1, 0.1, 9)
    blurred, sharp = exposed([Layer(np.float32(picture), poses)], 80)
    change = np.abs(blurred - sharp).mean(-1)
    assert change[36:44, 36:44].mean() < 0.3 * change[:8].mean()


def test_something_nearer_hides_what_is_behind_it(picture):
    far = Layer(np.zeros((96, 96, 3), np.float32), np.zeros((5, 4)))
    alpha = random_blob(np.random.default_rng(1), 96, 0.3)
    moved = np.zeros((5, 4))
    moved[:, 0] = np.linspace(-6, 6, 5)
    near = Layer(np.float32(alpha[..., None] * np.ones(3)), moved, alpha)
    blurred, sharp = exposed([far, near], 80)
    assert sharp[..., 0] == pytest.approx(alpha[8:-8, 8:-8], abs=1e-6)
    assert blurred.max() <= 1.001 and 0.1 < alpha.mean() < 0.5
    assert np.abs(blurred - sharp).max() > 0.2


def test_without_blur_a_pair_is_equal(picture):
    rng = np.random.default_rng(0)
    pair = developed_pair(rng, picture, picture, 96 - side_needed(0), NOTHING, length=0.0)
    assert np.array_equal(pair.blurry, pair.sharp) and pair.length == 0
    assert np.abs(pair.sharp - picture[8:-8, 8:-8] / 255).max() < 1e-5


def test_clean_samples_have_neither_noise_nor_compression(picture, tmp_path):
    """Those without blur come out equal; with `clean` 0 none does."""
    write_image(tmp_path / "a.png", picture)
    noisy = {"unblurred": 1, "mild": 0, "camera": 1, "srgb": 0, "jpeg": 1, "layers": 0, "night": 0}
    for clean in (0, 1):
        realism = Realism(clean=clean, highlights=0, **noisy)
        pairs = RealisticPairs(tmp_path, 32, realism, seed=1)
        items = [pairs[epoch, 0] for epoch in range(4)]
        equal = [torch.equal(item["blurry"], item["sharp"]) for item in items]
        assert equal == [bool(clean)] * 4


def test_lengths_come_in_the_stated_fractions():
    rng = np.random.default_rng(0)
    lengths = np.array([draw_length(rng, Realism(unblurred=0.3, mild=0.2)) for _ in range(4000)])
    assert (lengths == 0).mean() == pytest.approx(0.3, abs=0.03)
    assert ((lengths > 0) & (lengths < 2)).mean() == pytest.approx(0.2, abs=0.03)
    assert lengths.max() <= 50


def test_compression_halves_the_colours_and_costs_quality(picture):
    stripes = picture.copy()
    stripes[:, ::2] = (250, 30, 30)
    stripes[:, 1::2] = (30, 30, 250)
    assert np.abs(jpeg(picture, 95).astype(int) - picture).mean() < 5
    assert np.abs(jpeg(stripes, 95).astype(int) - stripes).mean() > 40  # colours are mixed
    clip = np.stack([np.roll(picture, shift, 1) for shift in range(3)])
    errors = [np.abs(h264(clip, crf).astype(int) - clip).mean() for crf in (18, 34)]
    assert errors[0] < 10 and errors[1] > 1.3 * errors[0]
    assert compressed_clip(
        np.random.default_rng(0), clip / 255, Realism(h264=0, jpeg=0)
    ) == pytest.approx(clip / 255)


def test_sharp_neighbours_stand_beside_a_blurry_middle():
    exposure = np.arange(-4, 5)
    for seed in range(20):
        exposures = _with_sharp_neighbours(np.random.default_rng(seed), [exposure] * 3)
        assert len(exposures[1]) == 9
        assert min(len(exposures[0]), len(exposures[2])) <= 5
        assert all(0 in offsets for offsets in exposures)


def test_realistic_pairs_depend_on_seed_epoch_and_index_alone(picture, tmp_path):
    for name in "abc":
        write_image(tmp_path / f"{name}.png", np.roll(picture, ord(name), 0))
    pairs = RealisticPairs(tmp_path, 48, Realism(), 5, zoom=(1.0, 2.0))
    again = RealisticPairs(tmp_path, 48, Realism(), 5, zoom=(1.0, 2.0))
    assert len(pairs) == 3
    for key in ((0, 1), (7, 2)):
        assert torch.equal(pairs[key]["blurry"], again[key]["blurry"])
    assert not torch.equal(pairs[0, 1]["blurry"], pairs[1, 1]["blurry"])
    assert pairs[0, 1]["sharp"].shape == (3, 48, 48)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"jpg": 0.5}, "jpg"),
        ({"jpeg": 1.5}, "jpeg is 1.5"),
        ({"crf": [34, 18]}, "crf"),
        ({"camera": 0.7, "srgb": 0.7}, "together"),
        ({"max_length": 1}, "max_length"),
    ],
)
def test_what_realism_refuses(values, said):
    with pytest.raises(UserError, match=said):
        realism_of(values)
