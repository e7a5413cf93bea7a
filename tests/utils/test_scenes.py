"""Cuts are found, and motion, noise and fades are none."""

import operator

import cv2
import numpy as np
import pytest

from utils.scenes import CutDetector, scenes


def texture(seed: int, size: tuple[int, int] = (120, 420)) -> np.ndarray:
    """Random rectangles, [H,W,3] uint8."""
    rng = np.random.default_rng(seed)
    picture = np.full((*size, 3), 120, np.uint8)
    for _ in range(size[0] * size[1] // 250):
        x, y = rng.integers(0, size[1]), rng.integers(0, size[0])
        corner = (int(x + rng.integers(3, 30)), int(y + rng.integers(3, 30)))
        colour = tuple(int(value) for value in rng.integers(20, 236, 3))
        cv2.rectangle(picture, (int(x), int(y)), corner, colour, -1)
    return cv2.GaussianBlur(picture, (0, 0), 0.6)


def shot(seed: int, frames: int = 8, speed: int = 6) -> list[np.ndarray]:
    """A camera that moves over a texture by `speed` px per frame."""
    wide = texture(seed)
    return [wide[:, speed * time : speed * time + 180] for time in range(frames)]


def cuts(frames: list[np.ndarray]) -> list[int]:
    begins_scene = CutDetector()
    return [index for index, frame in enumerate(frames) if begins_scene(frame)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_first_frame_of_another_shot_begins_a_scene(dtype):
    frames = [*shot(1), *shot(2, 1), *shot(3, speed=20), *shot(1)]
    scale = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    frames = [np.multiply(frame, scale, dtype=dtype) for frame in frames]
    assert cuts(frames) == [8, 9, 17]


def test_what_happens_within_a_scene_is_no_cut():
    rng = np.random.default_rng(0)
    still = texture(1)[:, :180]
    noise = [np.uint8((rng.normal(12, 6, (120, 180, 3))).clip(0, 255)) for _ in range(8)]
    fade = [np.uint8(still * (1 - step / 8)) for step in range(9)]
    blurred = [
        cv2.blur(frame, (12, 1)) if time % 2 else frame for time, frame in enumerate(shot(1))
    ]
    darker = [np.uint8(frame * (1 - 0.06 * time)) for time, frame in enumerate(shot(1))]
    black = [np.zeros_like(still)] * 4
    turned = []
    for angle in range(0, 24, 3):
        matrix = cv2.getRotationMatrix2D((90, 60), angle, 1)
        turned.append(cv2.warpAffine(still, matrix, (180, 120), borderMode=cv2.BORDER_REFLECT))
    for frames in (shot(1, speed=12), noise, fade, blurred, darker, black, turned):
        assert cuts(frames) == []


def test_scenes_are_runs_of_frames():
    frames = list(enumerate([*shot(1, 5), *shot(2, 3), *shot(3, 1)]))
    found = [[index for index, _ in scene] for scene in scenes(frames, operator.itemgetter(1))]
    assert found == [[0, 1, 2, 3, 4], [5, 6, 7], [8]]
    assert list(scenes([], operator.itemgetter(1))) == []


def test_scenes_are_read_as_they_are_used():
    read = []

    def frames():
        for index, pixels in enumerate([*shot(1, 5), *shot(2, 5)]):
            read.append(index)
            yield pixels

    runs = scenes(frames(), lambda pixels: pixels)
    first = next(runs)
    next(first)
    next(first)
    assert read == [0, 1]
