"""What a sensor collects while its shutter is open: averages of many moments in linear light.

Images are arrays [H,W,3]; `_linear` values are proportional to light, others gamma-encoded in [0,1].
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from data.synthesis.camera import Response
from data.synthesis.motion import Trajectory, smooth_trajectory

def mean_in_linear_light(frames: Iterable[np.ndarray], response: Response = Response()) -> np.ndarray:
    """The exposure that lasts over the given encoded frames: their mean in linear light, encoded again."""
    total, count = 0.0, 0
    for frame in frames:
        total, count = total + response.linear(frame), count + 1
    return response.encoded(total / count)


def frames_needed(exposure: float, interpolate: bool = True) -> int:
    """How many frames around a middle one (an odd number) an exposure of so many frame intervals touches."""
    return 2 * int(np.ceil(exposure / 2 if interpolate else (exposure - 1) / 2)) + 1


def exposed_frame(frames: Sequence[np.ndarray], exposure: float, interpolate: bool = True, response: Response = Response()) -> np.ndarray:
    """What a shutter open for `exposure` frame intervals around the middle of sharp frames [H,W,3] collects (see frames_needed).

    interpolate: between two frames, at least one moment per pixel of motion is made by optical flow, so that no double contours
    remain; else the frames themselves are averaged.
    """
    if len(frames) != frames_needed(exposure, interpolate):
        raise ValueError(
            f"an exposure of {exposure} frame intervals needs {frames_needed(exposure, interpolate)} frames, got {len(frames)}"
        )
    if not interpolate:
        return mean_in_linear_light(frames, response)
    middle = len(frames) // 2
    between = [InBetween(one, two) for one, two in zip(frames, frames[1:])]
    moments = 2 * int(np.ceil(exposure * max(pair.motion for pair in between) / 2)) + 1  # odd, so that one is the middle frame
    times = exposure_times(middle, exposure, moments)
    return mean_in_linear_light((_at(frames, between, time) for time in times), response)


class InBetween:
    """Frames between two neighbours, by optical flow in both directions (time-weighted as in Super SloMo, Jiang et al. 2018, eq. 4)."""

    def __init__(self, first: np.ndarray, second: np.ndarray):
        self.first, self.second = first, second
        luma = [cv2.cvtColor((frame * 255).round().astype(np.uint8), cv2.COLOR_RGB2GRAY) for frame in (first, second)]
        search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.forth, self.back = search.calc(*luma, None), search.calc(*reversed(luma), None)
        # where going forth and back does not lead home, the pixel is hidden in the other frame
        self.hidden_in_second, self.hidden_in_first = _round_trip(self.forth, self.back), _round_trip(self.back, self.forth)
        self.motion = float(np.percentile(np.hypot(*np.moveaxis(self.forth, -1, 0)), 99))  # px per interval

    def at(self, time: float) -> np.ndarray:
        """The frame at `time` in 0 (first) .. 1 (second), bicubic, encoded."""
        to_first = -(1 - time) * time * self.forth + time**2 * self.back
        to_second = (1 - time) ** 2 * self.forth - time * (1 - time) * self.back
        weight_first = (1 - time) * np.exp(-_sampled(self.hidden_in_second, to_first)) + 1e-6
        weight_second = time * np.exp(-_sampled(self.hidden_in_first, to_second)) + 1e-6
        share = (weight_second / (weight_first + weight_second))[..., None]
        first, second = _sampled(self.first, to_first), _sampled(self.second, to_second)
        return ((1 - share) * first + share * second).clip(0, 1)


def _at(frames: Sequence[np.ndarray], between: Sequence[InBetween], time: float) -> np.ndarray:
    index = int(time)
    return frames[index] if time == index else between[index].at(time - index)


def _sampled(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """image(p + flow(p)), bicubic, edges repeated."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return cv2.remap(image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _round_trip(forth: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Squared distance in px from home after going forth and back, at most 20."""
    away = forth + _sampled(back, forth)
    return (away**2).sum(-1).clip(0, 20)


def exposure_times(frame: float, exposure: float, moments: int) -> np.ndarray:
    """Midpoints of `moments` equal parts of the exposure around t = frame; exposure in frame intervals (0 .. 1)."""
    return frame + exposure * ((np.arange(moments) + 0.5) / moments - 0.5)


def moved_clip(
    image: np.ndarray,
    trajectory: Trajectory,
    frames: int,
    exposure: float,
    size: tuple[int, int],
    response: Response = Response(),
) -> tuple[np.ndarray, np.ndarray]:
    """A blurry and a sharp clip [T,h,w,3] seen by a camera that moves over one encoded picture [H,W,3].

    The window of `size` (h, w) starts at the picture's middle; outside lies its reflection. Every blurry frame is the mean in linear
    light of at least one moment per pixel of motion, the sharp frame is the moment in the middle of the exposure.
    """
    linear = response.linear(image)
    blurry, sharp = [], []
    for frame in range(frames):
        length = trajectory.length(frame - exposure / 2, frame + exposure / 2)
        moments = 2 * int(np.ceil(length / 2)) + 1 if exposure else 1  # odd, so that one lies in the middle
        views = [_view(linear, pose, size) for pose in trajectory.at(exposure_times(frame, exposure, moments))]
        sharp.append(response.encoded(views[moments // 2]))
        blurry.append(response.encoded(np.mean(views, axis=0)) if moments > 1 else sharp[-1])
    return np.stack(blurry), np.stack(sharp)


def picture_clip(
    picture: np.ndarray, frames: int, blur: float, exposure: float, size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """`moved_clip` along a random hand-held path with a mean blur of `blur` px; exposure in frame intervals (0 < exposure <= 1)."""
    trajectory = smooth_trajectory(rng, frames, blur / exposure, turn=0.01)
    return moved_clip(picture, trajectory, frames, exposure, size)


def _view(linear: np.ndarray, pose: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The window of `size` moved by pose = (dx, dy, angle) over the picture, bicubic."""
    (height, width), (dx, dy, angle) = linear.shape[:2], pose
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = (size[1] - 1) / 2, (size[0] - 1) / 2  # the window's centre
    matrix = np.array(
        [
            [cos, -sin, (width - 1) / 2 + dx - cos * x + sin * y],
            [sin, cos, (height - 1) / 2 + dy - sin * x - cos * y],
        ]
    )
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(linear, matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_REFLECT_101).clip(0)
