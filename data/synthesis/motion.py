"""Smooth random motion of a camera or an object over the frames of a clip.

Time is counted in frame intervals: frame k is exposed around t = k. Displacements are in pixels,
angles in radians.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline


@dataclass(frozen=True)
class Trajectory:
    """A smooth path; `at(times)` gives (dx, dy, angle) as [N,3] for times [N]."""

    spline: CubicSpline

    def at(self, times: np.ndarray) -> np.ndarray:
        return self.spline(times)

    def length(self, start: float, end: float) -> float:
        """Length in pixels of the translation between two times."""
        steps = np.diff(self.at(np.linspace(start, end, 33))[:, :2], axis=0)
        return float(np.hypot(*steps.T).sum())


def smooth_trajectory(
    rng: np.random.Generator, frames: int, speed: float, turn: float = 0.0
) -> Trajectory:
    """A hand-held camera's path over t = -1 .. frames, through the origin at the middle frame.

    speed: mean displacement in pixels per frame interval; its direction wanders (about 30 degrees
    per interval) and its size varies by about a third. turn: standard deviation of the rotation per
    interval in radians.
    """
    times = np.arange(-1, frames + 1)
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, np.pi / 6, len(times)))
    pace = speed * np.exp(rng.normal(0, 0.3, len(times)))
    rotation = np.zeros(len(times))
    if turn:
        rotation = rng.normal(0, turn, len(times))
    steps = np.stack((pace * np.cos(heading), pace * np.sin(heading), rotation), 1)
    path = np.cumsum(steps, axis=0)
    spline = CubicSpline(times, path)
    return Trajectory(CubicSpline(times, path - spline((frames - 1) / 2)))
