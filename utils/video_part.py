"""A part of a video, perhaps with smaller frames, and copies of videos."""

import dataclasses
import math
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from utils.errors import UserError
from utils.progress import Progress
from utils.video import TimedFrame, VideoFile
from utils.video_properties import Colours, VideoProperties
from utils.video_writer import VideoWriter


class VideoPart:
    """A video from a time on: to its readers and writers as a VideoFile is.

    start, end: s. frames: at most so many. longest: px; larger frames are shrunk to this longer
    side. Timestamps start at 0, and sound is cut with the frames. Raises UserError where the video
    ends before the part starts.
    """

    def __init__(
        self,
        source: VideoFile,
        start: float = 0.0,
        end: float | None = None,
        frames: int | None = None,
        longest: int | None = None,
    ):
        if end is not None and end <= start:
            raise UserError(f"the part ends at {end:g} s, before it starts at {start:g} s")
        self.source = source
        self.path = source.path
        self.start = start
        self.end = end
        self.frames = frames
        self.longest = longest
        self._first = self._first_frame()
        self.properties = self._properties()

    @property
    def count(self) -> int | None:
        return self.properties.count

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a frame."""
        return self.properties.size

    @property
    def time_base(self) -> Fraction:
        """Unit of timestamps, s."""
        return self.properties.time_base

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in self.timed():
            yield frame.pixels

    def timed(self) -> Iterator[TimedFrame]:
        """As VideoFile.timed; what was read before the start is left out."""
        given = 0
        base = float(self.time_base)
        for timestamp, length, pixels in self.source.timed():
            if timestamp < self._first:
                continue
            if self.end is not None and timestamp * base >= self.end:
                return
            if given == self.frames:
                return
            if pixels.shape[:2] != self.size:
                pixels = cv2.resize(pixels, self.size[::-1], interpolation=cv2.INTER_AREA)
            yield TimedFrame(timestamp - self._first, length, pixels)
            given += 1

    def _first_frame(self) -> int:
        """The timestamp of the first frame in the source."""
        if not self.start:
            return 0
        base = float(self.source.time_base)
        for frame in self.source.timed():
            if frame.timestamp * base >= self.start - base / 2:
                return frame.timestamp
        raise UserError(f"{self.path} ends before {self.start:g} s")

    def _properties(self) -> VideoProperties:
        """Those of the source, moved to the part's start."""
        whole = self.source.properties
        moved = self._first * whole.time_base
        changes: dict = {"size": self._size(), "start": whole.start + moved}
        if self._first or self.end is not None or self.frames is not None:
            changes["length"] = self._length(whole, moved)
            changes["count"] = self._count(whole, changes["length"])
            changes["chapters"] = ()
        if whole.chapters and "chapters" in changes:
            changes["left_out"] = (*whole.left_out, "chapters")
        if self.source.as_bt709:
            changes |= {"deep": False, "light": ""}
            if not whole.colours.is_common:
                changes["colours"] = Colours()
        return dataclasses.replace(whole, **changes)

    def _size(self) -> tuple[int, int]:
        """(height, width), both even where frames are shrunk, so that every player takes them."""
        height, width = self.source.size
        if not self.longest:
            return height, width
        scale = min(self.longest / max(height, width), 1)
        return max(int(height * scale) // 2 * 2, 2), max(int(width * scale) // 2 * 2, 2)

    def _length(self, whole: VideoProperties, moved: Fraction) -> Fraction | float:
        """How long the part is at most, s."""
        lengths: list[Fraction | float] = [math.inf]
        if self.end is not None:
            lengths.append(Fraction(self.end).limit_denominator(10**6) - moved)
        if self.frames is not None:
            lengths.append(self.frames / whole.rate)
        return min(lengths)

    def _count(self, whole: VideoProperties, length: Fraction | float) -> int | None:
        """About how many frames the part has, None where the source does not say."""
        left = None
        if whole.count:
            left = max(whole.count - round(self._first * whole.time_base * whole.rate), 1)
        if length == math.inf:
            return left
        count = max(round(length * whole.rate), 1)
        return min(count, left) if left else count


def copy_video(part: VideoPart, target: Path) -> int:
    """Write a video's frames anew; returns their number."""
    with (
        VideoWriter(target, part) as writer,
        Progress(total=part.count, unit="frame", desc="copying") as bar,
    ):
        for timestamp, duration, pixels in part.timed():
            writer.write(pixels, timestamp, duration)
            bar.update()
    return bar.n


def seconds_of(text: str, rate: Fraction) -> float:
    """The seconds that a time means: 12.5, 1:02.5 (minutes), or 300f (frames at a rate).

    Raises UserError for anything else.
    """
    match = re.fullmatch(r"(?:(\d+):)?(\d+(?:\.\d+)?)(f)?", text.strip())
    if not match or match[1] and match[3]:
        raise UserError(f"{text!r} is no time: give seconds (12.5), 1:02.5, or frames (300f)")
    value = float(match[2])
    if match[3]:
        return value / float(rate)
    return 60 * int(match[1] or 0) + value
