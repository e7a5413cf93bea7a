"""What a sensor collects while its shutter is open: averages of many views in linear light.

Images are arrays [H,W,3]; `_linear` values are proportional to light, others gamma-encoded in
[0,1].
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from data.synthesis.camera import STANDARD, Response


def mean_in_linear_light(frames: Iterable[np.ndarray], response: Response = STANDARD) -> np.ndarray:
    """The exposure that lasts over encoded frames: their mean in linear light, encoded again."""
    total = 0.0
    count = 0
    for frame in frames:
        total = total + response.linear(frame)
        count += 1
    return response.encoded(total / count)


def frames_needed(exposure: float, interpolate: bool = True) -> int:
    """How many frames (an odd number) an exposure of so many frame intervals touches."""
    reach = exposure / 2
    if not interpolate:  # a frame stands for half an interval on either side
        reach -= 0.5
    return 2 * int(np.ceil(reach)) + 1


def exposed_frame(
    frames: Sequence[np.ndarray],
    exposure: float,
    interpolate: bool = True,
    response: Response = STANDARD,
) -> np.ndarray:
    """The picture that a shutter collects around the middle one of sharp frames [H,W,3].

    exposure: in frame intervals; `frames` are as many as frames_needed says. interpolate: between
    two frames, at least one view per pixel of motion is made by optical flow, so that no double
    contours remain; else the frames themselves are averaged.
    """
    needed = frames_needed(exposure, interpolate)
    if len(frames) != needed:
        raise ValueError(
            f"an exposure of {exposure} frame intervals needs {needed} frames, got {len(frames)}"
        )
    if not interpolate:
        return mean_in_linear_light(frames, response)
    between = [InBetween(first, second) for first, second in zip(frames, frames[1:])]
    motion = max(pair.motion for pair in between)
    count = 2 * int(np.ceil(exposure * motion / 2)) + 1  # odd, so that one is the middle frame
    times = exposure_times(len(frames) // 2, exposure, count)
    return mean_in_linear_light((_at(frames, between, time) for time in times), response)


def exposure_times(middle: float, exposure: float, count: int) -> np.ndarray:
    """Midpoints of `count` equal parts of an exposure around a time, all in frame intervals."""
    return middle + exposure * ((np.arange(count) + 0.5) / count - 0.5)


def luma_8bit(frame: np.ndarray) -> np.ndarray:
    """The luma [H,W] uint8 of a frame [H,W,3] in [0,1], as optical flow takes it."""
    return cv2.cvtColor((frame * 255).round().astype(np.uint8), cv2.COLOR_RGB2GRAY)


class InBetween:
    """Frames between two neighbours [H,W,3] in [0,1], by optical flow in both directions.

    Time-weighted as in Super SloMo (Jiang et al. 2018, eq. 4). motion: 99th percentile of the flow
    in px per frame interval.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray):
        self.first = first
        self.second = second
        first_luma = luma_8bit(first)
        second_luma = luma_8bit(second)
        search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.forward_flow = search.calc(first_luma, second_luma, None)  # [H,W,2]
        self.backward_flow = search.calc(second_luma, first_luma, None)
        # Where the two flows disagree, the pixel is hidden in the other frame.
        self.hidden_in_second = _disagreement(self.forward_flow, self.backward_flow)  # [H,W]
        self.hidden_in_first = _disagreement(self.backward_flow, self.forward_flow)
        lengths = np.hypot(self.forward_flow[..., 0], self.forward_flow[..., 1])
        self.motion = float(np.percentile(lengths, 99))

    def at(self, time: float) -> np.ndarray:
        """The frame at `time` in 0 (first) .. 1 (second), bicubic, encoded."""
        to_first = -(1 - time) * time * self.forward_flow + time**2 * self.backward_flow
        to_second = (1 - time) ** 2 * self.forward_flow - time * (1 - time) * self.backward_flow
        weight_first = (1 - time) * np.exp(-_sampled(self.hidden_in_second, to_first)) + 1e-6
        weight_second = time * np.exp(-_sampled(self.hidden_in_first, to_second)) + 1e-6
        fraction = (weight_second / (weight_first + weight_second))[..., None]
        first = _sampled(self.first, to_first)
        second = _sampled(self.second, to_second)
        return ((1 - fraction) * first + fraction * second).clip(0, 1)


def _at(frames: Sequence[np.ndarray], between: Sequence[InBetween], time: float) -> np.ndarray:
    index = int(time)
    if time == index:
        return frames[index]
    return between[index].at(time - index)


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


def _disagreement(flow: np.ndarray, reverse_flow: np.ndarray) -> np.ndarray:
    """Squared distance in px between a pixel and where both flows lead it, at most 20."""
    distance = flow + _sampled(reverse_flow, flow)
    return (distance**2).sum(-1).clip(0, 20)
