import cv2
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from data.synthesis.camera import Response
from data.synthesis.exposure import (
    InBetween,
    exposed_frame,
    exposure_times,
    frames_needed,
    mean_in_linear_light,
)
from data.synthesis.motion import Trajectory, smooth_trajectory
from data.synthesis.scene import moved_clip, picture_clip, scene_clip, scene_of


def straight(dx: float, dy: float = 0.0) -> Trajectory:
    """(dx, dy) pixels per frame interval through the origin at t = 1."""
    times = np.array([-1.0, 1.0, 3.0])
    return Trajectory(CubicSpline(times, np.outer(times - 1, (dx, dy, 0))))


@pytest.fixture
def picture():
    noise = np.random.default_rng(0).random((80, 100, 3), dtype=np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


def test_response_by_hand():
    assert Response().linear(np.float32([0.5]))[0] == pytest.approx(0.5**2.2)
    encoded = Response().encoded(np.float32([0.25, 2, -1]))
    assert encoded.tolist() == pytest.approx([0.25 ** (1 / 2.2), 1, 0])
    black = np.zeros((1, 1, 3), np.float32)
    mean = mean_in_linear_light([black, black + 1])
    assert mean[0, 0].tolist() == pytest.approx([0.5 ** (1 / 2.2)] * 3)


def test_exposure_is_centred_on_the_frame():
    times = exposure_times(3, 0.5, 5)
    assert times.tolist() == pytest.approx([2.8, 2.9, 3.0, 3.1, 3.2])


def test_static_scene_stays_sharp(picture):
    blurry, sharp = moved_clip(picture, straight(0), 3, 0.8, (40, 50))
    assert np.array_equal(blurry, sharp)
    assert np.abs(sharp[0] - picture[20:60, 25:75]).max() < 1e-5


def test_translation_is_a_box_blur_in_linear_light(picture):
    blurry, sharp = moved_clip(picture, straight(8), 3, 1.0, (40, 60))
    window = Response().linear(picture)[20:60]
    x, y = np.meshgrid(np.arange(20, 80, dtype=np.float32), np.arange(40, dtype=np.float32))
    offsets = np.float32((np.arange(9) - 4) * 8 / 9)  # 9 views, 8/9 px from each to the next
    views = [cv2.remap(window, x + dx, y, cv2.INTER_CUBIC) for dx in offsets]
    expected = np.mean(views, axis=0)
    assert np.abs(Response().linear(blurry[1]) - expected)[4:-4, 4:-4].max() < 0.01
    assert np.abs(sharp[1] - picture[20:60, 20:80]).max() < 1e-5
    assert np.abs(sharp[2] - picture[20:60, 28:88]).max() < 1e-5  # the camera went on by 8 px


def test_light_is_conserved_and_time_can_run_backwards(picture):
    forth, _ = moved_clip(picture, straight(6, 2), 3, 0.9, (40, 40))
    back, _ = moved_clip(picture, straight(-6, -2), 3, 0.9, (40, 40))
    assert np.abs(forth[1] - back[1]).max() < 1e-5
    flat = np.full((60, 60, 3), 0.3, np.float32)
    assert np.abs(moved_clip(flat, straight(6, 2), 3, 0.9, (40, 40))[0] - 0.3).max() < 1e-5


def test_trajectories_have_the_asked_speed_and_are_repeatable():
    lengths = [
        smooth_trajectory(np.random.default_rng(seed), 5, 4.0).length(0, 4) / 4
        for seed in range(200)
    ]
    assert np.mean(lengths) == pytest.approx(4, rel=0.1)
    one, two = (
        smooth_trajectory(np.random.default_rng(7), 5, 4.0, 0.1).at(np.arange(5)) for _ in range(2)
    )
    assert np.array_equal(one, two)
    assert np.abs(one[2]).max() < 1e-12  # the origin is the middle frame
    assert smooth_trajectory(np.random.default_rng(0), 5, 0.0).length(0, 4) == 0


def panning_frames(count: int, step: float) -> list[np.ndarray]:
    noise = np.random.default_rng(1).random((120, 200, 3), dtype=np.float32)
    scene = cv2.GaussianBlur(noise, (0, 0), 2) * 3 - 1
    x, y = np.meshgrid(np.arange(120, dtype=np.float32) + 20, np.arange(80, dtype=np.float32) + 20)
    return [
        cv2.remap(scene, x + np.float32(step * index), y, cv2.INTER_CUBIC).clip(0, 1)
        for index in range(count)
    ]


def test_a_frame_between_two_is_half_way():
    first, middle, second = panning_frames(3, 2.0)  # 4 px from first to second
    between = InBetween(first, second)
    inner = (slice(12, -12), slice(12, -12))
    assert np.abs(first - middle)[inner].mean() > 0.05
    assert np.abs(between.at(0.5) - middle)[inner].mean() < 0.01
    assert np.abs(between.at(0.0) - first)[inner].max() < 1e-3
    assert np.abs(between.at(1.0) - second)[inner].max() < 1e-3
    assert between.motion == pytest.approx(4, abs=0.3)


def test_interpolated_exposure_has_no_double_contours():
    fine = panning_frames(33, 0.25)  # 8 px in all; every 16th is a frame the generator sees
    coarse = fine[::16]
    truth = mean_in_linear_light(fine[8:25])  # an exposure of one interval around the middle frame
    inner = (slice(12, -12), slice(12, -12))
    smooth = np.abs(exposed_frame(coarse, 1.0) - truth)[inner].mean()
    ghosts = np.abs(mean_in_linear_light(coarse) - truth)[inner].mean()
    assert smooth < 0.012 and smooth < ghosts / 4


def test_exposures_take_the_frames_they_touch():
    assert [frames_needed(exposure) for exposure in (0.5, 1, 2, 3, 7)] == [3, 3, 3, 5, 9]
    assert [frames_needed(exposure, interpolate=False) for exposure in (2, 3, 7)] == [3, 3, 7]
    frames = panning_frames(7, 1.0)
    assert np.array_equal(exposed_frame(frames, 7, interpolate=False), mean_in_linear_light(frames))
    still = [frames[0]] * 3
    assert np.abs(exposed_frame(still, 1.0) - frames[0]).max() < 1e-5
    with pytest.raises(ValueError, match="needs 5 frames, got 3"):
        exposed_frame(frames[:3], 3)


def test_picture_clips_have_the_asked_blur(picture):
    blurry, sharp = picture_clip(picture, 9, 6.0, 0.8, (40, 50), np.random.default_rng(0))
    assert blurry.shape == sharp.shape == (9, 40, 50, 3)
    assert np.abs(np.diff(blurry, axis=2)).mean() < 0.8 * np.abs(np.diff(sharp, axis=2)).mean()


def square(picture):
    mask = np.zeros(picture.shape[:2], bool)
    mask[30:50, 40:60] = True
    return mask[None]


def test_a_scene_that_stands_still_is_sharp(picture):
    scene = scene_of(picture, square(picture), straight(0), [straight(0)])
    blurry, sharp = scene_clip(scene, 3, 0.8, (40, 60))
    assert np.array_equal(blurry, sharp)
    plain, _ = moved_clip(picture, straight(0), 3, 0.8, (40, 60))
    # The object itself lies where it lay.
    assert np.abs(sharp - plain)[:, 15:25, 25:35].max() < 1e-4


def test_only_the_moving_object_is_blurred_and_it_covers_the_background(picture):
    scene = scene_of(picture, square(picture), straight(0), [straight(10)])
    blurry, sharp = scene_clip(scene, 3, 1.0, (60, 80))  # the window starts at (10, 10)
    reach = np.zeros((60, 80), bool)
    reach[14:46, 10:70] = True
    assert np.abs(blurry - sharp)[:, ~reach].max() < 1e-5
    assert np.abs(blurry[1] - sharp[1])[22:38, 25:55].mean() > 0.01
    # one frame later everything of the object lies 10 px to the right
    assert np.abs(sharp[2][24:36, 44:56] - sharp[1][24:36, 34:46]).max() < 0.02
    # inside the object, far from its outline, the blur is the object's own box blur
    linear = Response().linear(picture)
    expected = linear[34:46, 45:56].mean(1, keepdims=True)
    assert np.abs(Response().linear(blurry[1])[24:36, 40:41] - expected).max() < 0.02


def test_light_of_a_scene_is_that_of_its_parts(picture):
    """The blur is the mean of the parts' blurs; running backwards changes nothing."""
    scene = scene_of(picture, square(picture), straight(4, 1), [straight(-6, 3)])
    mean, sharp = scene.expose(1, 0.9, (40, 60), parts=7)
    assert len(sharp) == 7
    parts = [
        scene.expose(1 + 0.9 * ((part + 0.5) / 7 - 0.5), 0.9 / 7, (40, 60))[0] for part in range(7)
    ]
    assert np.abs(mean - np.mean(parts, axis=0)).max() < 2e-3
    assert np.abs(sharp[3] - scene.view(1, (40, 60))).max() < 1e-6
    back = scene_of(picture, square(picture), straight(-4, -1), [straight(6, -3)])
    assert np.abs(back.expose(1, 0.9, (40, 60))[0] - scene.expose(1, 0.9, (40, 60))[0]).max() < 1e-5


def test_a_rotating_camera_with_a_long_lens_shifts(picture):
    shift = scene_of(picture, square(picture), straight(5, -2), [straight(3)])
    far, near = (
        scene_of(picture, square(picture), straight(5, -2), [straight(3)], focal=focal)
        for focal in (1e5, 60.0)
    )
    reference = shift.view(1.8, (40, 60))
    assert np.abs(far.view(1.8, (40, 60)) - reference).max() < 2e-3
    assert np.abs(near.view(1.8, (40, 60)) - reference).max() > 0.02
