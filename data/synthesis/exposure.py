"""What a sensor collects while its shutter is open: averages of many moments in linear light.

Images are arrays [H,W,3]; `_linear` values are proportional to light, others gamma-encoded in
[0,1].
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from data.synthesis.camera import STANDARD, Response


def mean_in_linear_light(frames: Iterable[np.ndarray], response: Response = STANDARD) -> np.ndarray:
    """The exposure that lasts over the given encoded frames: their mean in linear light, encoded
    again.
    """
    total, count = 0.0, 0
    for frame in frames:
        total, count = total + response.linear(frame), count + 1
    return response.encoded(total / count)


def frames_needed(exposure: float, interpolate: bool = True) -> int:
    """How many frames around a middle one (an odd number) an exposure of so many frame intervals
    touches.
    """
    return 2 * int(np.ceil(exposure / 2 if interpolate else (exposure - 1) / 2)) + 1


def exposed_frame(
    frames: Sequence[np.ndarray],
    exposure: float,
    interpolate: bool = True,
    response: Response = STANDARD,
) -> np.ndarray:
    """What a shutter open for `exposure` frame intervals around the middle of sharp frames [H,W,3]
    collects (see frames_needed).

    interpolate: between two frames, at least one moment per pixel of motion is made by optical
    flow, so that no double contours remain; else the frames themselves are averaged.
    """
    if len(frames) != frames_needed(exposure, interpolate):
        raise ValueError(
            f"an exposure of {exposure} frame intervals needs "
            f"{frames_needed(exposure, interpolate)} frames, got {len(frames)}"
        )
    if not interpolate:
        return mean_in_linear_light(frames, response)
    middle = len(frames) // 2
    between = [InBetween(one, two) for one, two in zip(frames, frames[1:])]
    moments = (
        2 * int(np.ceil(exposure * max(pair.motion for pair in between) / 2)) + 1
    )  # odd, so that one is the middle frame
    times = exposure_times(middle, exposure, moments)
    return mean_in_linear_light((_at(frames, between, time) for time in times), response)


class InBetween:
    """Frames between two neighbours, by optical flow in both directions (time-weighted as in Super
    SloMo, Jiang et al. 2018, eq. 4).
    """

    def __init__(self, first: np.ndarray, second: np.ndarray):
        self.first, self.second = first, second
        luma = [
            cv2.cvtColor((frame * 255).round().astype(np.uint8), cv2.COLOR_RGB2GRAY)
            for frame in (first, second)
        ]
        search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.forth, self.back = search.calc(*luma, None), search.calc(*reversed(luma), None)
        # where going forth and back does not lead home, the pixel is hidden in the other frame
        self.hidden_in_second, self.hidden_in_first = (
            _round_trip(self.forth, self.back),
            _round_trip(self.back, self.forth),
        )
        self.motion = float(
            np.percentile(np.hypot(*np.moveaxis(self.forth, -1, 0)), 99)
        )  # px per interval

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
    return cv2.remap(
        image,
        x.astype(np.float32),
        y.astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _round_trip(forth: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Squared distance in px from home after going forth and back, at most 20."""
    away = forth + _sampled(back, forth)
    return (away**2).sum(-1).clip(0, 20)


def exposure_times(frame: float, exposure: float, moments: int) -> np.ndarray:
    """Midpoints of `moments` equal parts of the exposure around t = frame; exposure in frame
    intervals.
    """
    return frame + exposure * ((np.arange(moments) + 0.5) / moments - 0.5)
