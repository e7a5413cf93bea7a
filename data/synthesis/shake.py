"""Blur of a camera that moves during an exposure, before layers at several distances.

A pose is (dx, dy, angle, log zoom): a shift in px, a rotation about the optical axis in radians and
a change of scale, so that blur varies over the frame. A nearer layer moves by more than the
background (parallax), or by itself. Light is averaged over the poses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from data.synthesis.kernels import random_path, resampled_path

MAX_VIEWS = 49  # of one exposure
EXACT_VIEWS = 8  # up to so many are interpolated bicubically, as what is nearly sharp must stay so


@dataclass(frozen=True)
class Layer:
    """light [H,W,3], already multiplied by alpha [H,W] (none: opaque), and its poses [N,4]."""

    light: np.ndarray
    poses: np.ndarray
    alpha: np.ndarray | None = None


def draw_poses(
    rng: np.random.Generator, length: float, turning: float, zooming: float, side: int
) -> np.ndarray:
    """Poses [N,4] of a random hand-held exposure with a blur of about `length` px.

    Their mean is the sharp image. turning, zooming: 0 .. 1, px at the rim of a picture of `side` px
    that rotation and zoom add, as a fraction of `length`.
    """
    views = 1
    if length:
        views = min(round(length) + 5, MAX_VIEWS)
    times = np.linspace(0, 1, views)
    poses = np.zeros((views, 4))
    poses[:, :2] = resampled_path(random_path(rng, length), times)
    rim = side / 2
    extra = resampled_path(random_path(rng, length / rim), times)
    poses[:, 2] = turning * extra[:, 0]
    poses[:, 3] = zooming * extra[:, 1]
    return poses - poses.mean(0)


def exposed(
    layers: Sequence[Layer], size: int, centre: tuple[float, float] = (0, 0)
) -> tuple[np.ndarray, np.ndarray]:
    """(blurred, sharp) [size,size,3]: the mean of the layers over their poses, and without motion.

    layers: from far to near, all with as many poses; the window is their middle. centre: (x, y) of
    the optical axis in px from the window's middle.
    """
    views = len(layers[0].poses)
    interpolation = cv2.INTER_CUBIC if views <= EXACT_VIEWS else cv2.INTER_LINEAR
    total = np.zeros((size, size, 3), np.float32)
    for index in range(views):
        poses = [layer.poses[index] for layer in layers]
        total += _view(layers, poses, size, centre, interpolation)
    still = [np.zeros(4)] * len(layers)
    return total / views, _view(layers, still, size, centre, cv2.INTER_CUBIC)


def random_blob(rng: np.random.Generator, side: int, fraction: float) -> np.ndarray:
    """A random soft-edged region [side,side] in [0,1] that covers about a fraction of a square."""
    coarse = rng.standard_normal((5, 5)).astype(np.float32)
    height = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    threshold = np.quantile(height[::4, ::4], 1 - fraction)
    region = np.float32(height > threshold)
    return cv2.GaussianBlur(region, (0, 0), 0.8)


def blur_length(poses: np.ndarray) -> float:
    """Extent in px of the shifts of poses [N,4]: the longest distance between two of them."""
    points = poses[:, :2]
    return float(np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)).max())


def _view(
    layers: Sequence[Layer],
    poses: Sequence[np.ndarray],
    size: int,
    centre: tuple[float, float],
    interpolation: int,
) -> np.ndarray:
    seen = None
    for layer, pose in zip(layers, poses, strict=True):
        matrix = _matrix(pose, layer.light.shape[0], size, centre)
        light = _warped(layer.light, matrix, size, interpolation)
        if layer.alpha is None:
            seen = light
        else:
            alpha = _warped(layer.alpha, matrix, size, interpolation)
            seen = seen * (1 - alpha[..., None]) + light
    return seen


def _matrix(pose: np.ndarray, side: int, size: int, centre: tuple[float, float]) -> np.ndarray:
    """[2,3] from the pixels of the window to those of a layer; both are centred."""
    dx, dy, angle, log_zoom = pose
    scale = np.exp(log_zoom)
    cos = scale * np.cos(angle)
    sin = scale * np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    axis = (size - 1) / 2 + np.array(centre)
    middle = (side - size) / 2
    shift = axis + middle + (dx, dy) - turn @ axis
    return np.hstack([turn, shift[:, None]])


def _warped(image: np.ndarray, matrix: np.ndarray, size: int, interpolation: int) -> np.ndarray:
    whole = np.round(matrix[:, 2])
    if np.array_equal(matrix[:, :2], np.eye(2)) and np.abs(matrix[:, 2] - whole).max() < 1e-6:
        left, top = whole.astype(int)
        inside = min(left, top) >= 0 and max(left, top) + size <= len(image)
        if inside:  # no interpolation softens what does not move
            return image[top : top + size, left : left + size]
    return cv2.warpAffine(
        image,
        matrix,
        (size, size),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
