"""A video before and after, side by side in one frame, for a quick look."""

import dataclasses

import cv2
import numpy as np

from utils.video import TimedVideo

MAX_WIDTH = 1920  # px of one side; more than both together many players don't show
GAP = 4  # px of black between the sides


class SideBySide:
    """What a writer of such frames takes as its source: that of a video, but twice as wide."""

    def __init__(self, source: TimedVideo):
        height, width = source.size
        scale = min(MAX_WIDTH / width, 1)
        self.side = (max(round(height * scale / 2) * 2, 2), max(int(width * scale / 2) * 2, 2))
        size = (self.side[0], 2 * self.side[1] + GAP)
        self.properties = dataclasses.replace(source.properties, size=size)

    def joined(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """The frame [h,2w+GAP,3] of two [H,W,3] of one type, uint8 or uint16."""
        height, width = self.side
        frame = np.zeros((height, 2 * width + GAP, 3), before.dtype)
        frame[:, :width] = self._shrunk(before)
        frame[:, width + GAP :] = self._shrunk(after)
        return frame

    def _shrunk(self, pixels: np.ndarray) -> np.ndarray:
        if pixels.shape[:2] == self.side:
            return pixels
        return cv2.resize(pixels, self.side[::-1], interpolation=cv2.INTER_AREA)
