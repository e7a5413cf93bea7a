"""A moving camera before a still picture, and objects that move in it.

A scene is a stack of planes: the background, and one plane per object over it, nearest last, each
with a motion of its own on top of the camera's. A camera that rotates moves every plane alike,
whatever its distance, so no depth is needed. Many views during an exposure are averaged in linear
light; where an object leaves, the background behind it (filled in) becomes visible.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from data.synthesis.camera import STANDARD, Response
from data.synthesis.exposure import exposure_times
from data.synthesis.motion import Trajectory, smooth_trajectory
from utils.rounding import array_to_8bit

FEATHER = 1.0  # px, standard deviation of the softening of an object's outline


@dataclass(frozen=True)
class Plane:
    """An object and its motion relative to the camera's.

    light_linear [H,W,3] is already multiplied by alpha [H,W].
    """

    light_linear: np.ndarray
    alpha: np.ndarray
    trajectory: Trajectory


@dataclass(frozen=True)
class Scene:
    """background_linear [H,W,3], the camera's path, and objects from far to near.

    focal: in px, of a rotating camera; None: a camera that shifts.
    """

    background_linear: np.ndarray
    camera: Trajectory
    objects: Sequence[Plane] = field(default_factory=tuple)
    focal: float | None = None

    def view(self, time: float, size: tuple[int, int]) -> np.ndarray:
        """What the window of `size` (h, w) sees at a time, linear [h,w,3].

        Outside the picture lies its reflection.
        """
        times = np.array([time])
        pose = self.camera.at(times)[0]
        shape = self.background_linear.shape[:2]
        matrix = _matrix(pose, shape, size, self.focal)
        seen = _warped(self.background_linear, matrix, size, cv2.BORDER_REFLECT_101)
        for plane in self.objects:
            matrix = _matrix(pose - plane.trajectory.at(times)[0], shape, size, self.focal)
            alpha = _warped(plane.alpha, matrix, size, cv2.BORDER_CONSTANT).clip(0, 1)
            light = _warped(plane.light_linear, matrix, size, cv2.BORDER_CONSTANT)
            seen = seen * (1 - alpha[..., None]) + light
        return seen

    def expose(
        self, middle: float, exposure: float, size: tuple[int, int], parts: int = 1
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """The mean view over an exposure, and the view in the middle of each of its equal `parts`.

        All are linear. middle, exposure: in frame intervals. At least one view per pixel of the
        fastest motion is averaged.
        """
        start = middle - exposure / 2
        end = middle + exposure / 2
        length = self.camera.length(start, end)
        length += max((plane.trajectory.length(start, end) for plane in self.objects), default=0.0)
        per_part = 1
        if exposure:
            per_part = 2 * int(np.ceil(length / parts / 2)) + 1  # odd, so that one is the middle
        total = 0.0
        sharp = []
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
    """A scene from a picture [H,W,3] (8-bit, or [0,1]) and its objects with a motion each.

    masks [N,H,W]: of the objects, the first the nearest.
    """
    linear = response.linear(picture)
    background = linear
    if len(masks):
        background = response.linear(_filled(picture, masks))
    planes = []
    for mask, motion in zip(masks, motions, strict=True):
        alpha = cv2.GaussianBlur(np.float32(mask), (0, 0), FEATHER)
        planes.append(Plane(linear * alpha[..., None], alpha, motion))
    return Scene(background, camera, tuple(reversed(planes)), focal)


def scene_clip(
    scene: Scene, frames: int, exposure: float, size: tuple[int, int], response: Response = STANDARD
) -> tuple[np.ndarray, np.ndarray]:
    """A blurry and a sharp clip [T,h,w,3]: exposures around t = 0, 1, ..., and their middles."""
    blurry = []
    sharp = []
    for frame in range(frames):
        mean, (middle,) = scene.expose(frame, exposure, size)
        blurry.append(response.encoded(mean))
        sharp.append(response.encoded(middle))
    return np.stack(blurry), np.stack(sharp)


def moved_clip(
    image: np.ndarray,
    trajectory: Trajectory,
    frames: int,
    exposure: float,
    size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """`scene_clip` of one encoded picture [H,W,3] that a camera moves over."""
    return scene_clip(Scene(STANDARD.linear(image), trajectory), frames, exposure, size)


def picture_clip(
    picture: np.ndarray,
    frames: int,
    blur: float,
    exposure: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """`moved_clip` along a random hand-held path with a mean blur of `blur` px.

    exposure: in frame intervals, 0 < exposure <= 1.
    """
    trajectory = smooth_trajectory(rng, frames, blur / exposure, turn=0.01)
    return moved_clip(picture, trajectory, frames, exposure, size)


def _matrix(
    pose: np.ndarray, picture: tuple[int, int], size: tuple[int, int], focal: float | None
) -> np.ndarray:
    """Homography [3,3] from the window's to the picture's pixels for a pose (dx, dy, angle).

    Window and picture are centred.
    """
    dx, dy, angle = pose
    cos = np.cos(angle)
    sin = np.sin(angle)
    roll = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    if focal is None:
        motion = _translation(dx, dy) @ roll
    else:  # K R K^-1 with R = yaw * pitch * roll
        lens = np.diag((focal, focal, 1.0))
        lens_inverse = np.diag((1 / focal, 1 / focal, 1.0))
        motion = lens @ _yaw(dx / focal) @ _pitch(dy / focal) @ roll @ lens_inverse
    to_centre = _translation(-(size[1] - 1) / 2, -(size[0] - 1) / 2)
    from_centre = _translation((picture[1] - 1) / 2, (picture[0] - 1) / 2)
    return from_centre @ motion @ to_centre


def _translation(dx: float, dy: float) -> np.ndarray:
    return np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]])


def _yaw(angle: float) -> np.ndarray:
    cos = np.cos(angle)
    sin = np.sin(angle)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def _pitch(angle: float) -> np.ndarray:
    cos = np.cos(angle)
    sin = np.sin(angle)
    return np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])


def _warped(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int
) -> np.ndarray:
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    if matrix[2].tolist() == [0, 0, 1]:
        return cv2.warpAffine(image, matrix[:2], size[::-1], flags=flags, borderMode=border).clip(0)
    return cv2.warpPerspective(image, matrix, size[::-1], flags=flags, borderMode=border).clip(0)


def _filled(picture: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The picture [H,W,3] with the objects painted over from their surroundings, 8-bit."""
    if picture.dtype == np.uint8:
        pixels = picture
    elif picture.dtype == np.uint16:
        pixels = np.uint8(np.round(picture / 257))
    else:
        pixels = array_to_8bit(picture)
    hole = cv2.dilate(np.uint8(masks.any(0)), np.ones((7, 7), np.uint8))
    return cv2.inpaint(pixels, hole, 5, cv2.INPAINT_TELEA)
