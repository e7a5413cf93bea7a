"""A moving camera before a still picture, and objects that move in it: the physics of `blend`, over
time.

A scene is a stack of planes: the background, and one plane per object over it, nearest last, each
with a motion of its own on top of the camera's. A camera that rotates moves every plane alike,
whatever its distance, so no depth is needed. Light is averaged over many moments of an exposure in
linear light; where an object leaves, the background behind it (filled in) comes to light.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from data.synthesis.camera import STANDARD, Response
from data.synthesis.exposure import exposure_times
from data.synthesis.motion import Trajectory, smooth_trajectory

FEATHER = 1.0  # px, standard deviation of the softening of an object's outline


@dataclass(frozen=True)
class Plane:
    """An object: light_linear [H,W,3] already multiplied by its alpha [H,W], and its motion
    relative to the camera's.
    """

    light_linear: np.ndarray
    alpha: np.ndarray
    trajectory: Trajectory


@dataclass(frozen=True)
class Scene:
    """background_linear [H,W,3], the camera's path, objects from far to near; focal in px: a
    rotating camera, None: one that shifts.
    """

    background_linear: np.ndarray
    camera: Trajectory
    objects: Sequence[Plane] = field(default_factory=tuple)
    focal: float | None = None

    def view(self, time: float, size: tuple[int, int]) -> np.ndarray:
        """What the window of `size` (h, w) sees at a time, linear [h,w,3]; outside the picture lies
        its reflection.
        """
        (pose,) = self.camera.at(np.array([time]))
        shape = self.background_linear.shape[:2]
        seen = _warped(
            self.background_linear,
            _matrix(pose, shape, size, self.focal),
            size,
            cv2.BORDER_REFLECT_101,
        )
        for plane in self.objects:
            matrix = _matrix(
                pose - plane.trajectory.at(np.array([time]))[0], shape, size, self.focal
            )
            alpha = _warped(plane.alpha, matrix, size, cv2.BORDER_CONSTANT).clip(0, 1)[..., None]
            seen = seen * (1 - alpha) + _warped(
                plane.light_linear, matrix, size, cv2.BORDER_CONSTANT
            )
        return seen

    def expose(
        self, middle: float, exposure: float, size: tuple[int, int], parts: int = 1
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """The mean over an exposure (in frame intervals) around a time, and the view in the middle
        of each of its equal `parts`; linear.

        At least one moment per pixel of the fastest motion.
        """
        start, end = middle - exposure / 2, middle + exposure / 2
        length = self.camera.length(start, end)
        length += max((plane.trajectory.length(start, end) for plane in self.objects), default=0.0)
        per_part = (
            2 * int(np.ceil(length / parts / 2)) + 1 if exposure else 1
        )  # odd, so that one lies in the middle
        total, sharp = 0.0, []
        for index, time in enumerate(exposure_times(middle, exposure, per_part * parts)):
            view = self.view(time, size)
            total = total + view
            if index % per_part == per_part // 2:
                sharp.append(view)
        return total / (per_part * parts), sharp


def scene_of(
    picture: np.ndarray,
    masks: np.ndarray,
    camera: Trajectory,
    motions: Sequence[Trajectory],
    response: Response = STANDARD,
    focal: float | None = None,
) -> Scene:
    """A scene from a picture [H,W,3] (8-bit, or [0,1]) and its objects' masks [N,H,W] with a motion
    each, the first the nearest.
    """
    linear = response.linear(picture)
    planes = []
    for mask, motion in reversed(list(zip(masks, motions, strict=True))):
        alpha = cv2.GaussianBlur(np.float32(mask), (0, 0), FEATHER)
        planes.append(Plane(linear * alpha[..., None], alpha, motion))
    background = response.linear(_filled(picture, masks)) if len(masks) else linear
    return Scene(background, camera, tuple(planes), focal)


def scene_clip(
    scene: Scene, frames: int, exposure: float, size: tuple[int, int], response: Response = STANDARD
) -> tuple[np.ndarray, np.ndarray]:
    """A blurry and a sharp clip [T,h,w,3]: exposures around t = 0, 1, ..., and the moments in their
    middles.
    """
    blurry, sharp = [], []
    for frame in range(frames):
        mean, (middle,) = scene.expose(frame, exposure, size)
        sharp.append(response.encoded(middle))
        blurry.append(response.encoded(mean) if mean is not middle else sharp[-1])
    return np.stack(blurry), np.stack(sharp)


def moved_clip(
    image: np.ndarray,
    trajectory: Trajectory,
    frames: int,
    exposure: float,
    size: tuple[int, int],
    response: Response = STANDARD,
) -> tuple[np.ndarray, np.ndarray]:
    """`scene_clip` of one encoded picture [H,W,3] that a camera moves over."""
    return scene_clip(Scene(response.linear(image), trajectory), frames, exposure, size, response)


def picture_clip(
    picture: np.ndarray,
    frames: int,
    blur: float,
    exposure: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """`moved_clip` along a random hand-held path with a mean blur of `blur` px; exposure in frame
    intervals (0 < exposure <= 1).
    """
    trajectory = smooth_trajectory(rng, frames, blur / exposure, turn=0.01)
    return moved_clip(picture, trajectory, frames, exposure, size)


def _matrix(
    pose: np.ndarray, picture: tuple[int, int], size: tuple[int, int], focal: float | None
) -> np.ndarray:
    """Homography [3,3] from the window's to the picture's pixels for a pose (dx, dy, angle), both
    centred.
    """
    dx, dy, angle = pose
    cos, sin = np.cos(angle), np.sin(angle)
    roll = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    to_centre = np.array([[1, 0, -(size[1] - 1) / 2], [0, 1, -(size[0] - 1) / 2], [0, 0, 1]])
    from_centre = np.array([[1, 0, (picture[1] - 1) / 2], [0, 1, (picture[0] - 1) / 2], [0, 0, 1]])
    if focal is None:
        motion = np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]]) @ roll
    else:  # K R K^-1 with R = yaw * pitch * roll
        yaw, pitch = dx / focal, dy / focal
        turn_y = np.array(
            [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        )
        turn_x = np.array(
            [[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]]
        )
        lens = np.diag((focal, focal, 1.0))
        motion = lens @ turn_y @ turn_x @ roll @ np.diag((1 / focal, 1 / focal, 1.0))
    return from_centre @ motion @ to_centre


def _warped(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int
) -> np.ndarray:
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    if matrix[2].tolist() == [0, 0, 1]:
        return cv2.warpAffine(image, matrix[:2], size[::-1], flags=flags, borderMode=border).clip(0)
    return cv2.warpPerspective(image, matrix, size[::-1], flags=flags, borderMode=border).clip(0)


def _filled(picture: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The picture [H,W,3] with the objects painted over from their surroundings, 8-bit."""
    pixels = picture
    if picture.dtype != np.uint8:
        pixels = np.uint8(
            np.round(picture / 257 if picture.dtype == np.uint16 else picture.clip(0, 1) * 255)
        )
    hole = cv2.dilate(np.uint8(masks.any(0)), np.ones((7, 7), np.uint8))
    return cv2.inpaint(pixels, hole, 5, cv2.INPAINT_TELEA)
