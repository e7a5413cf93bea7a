"""A part of a video, perhaps with smaller frames, and copies of videos."""

import dataclasses
import math
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2

from utils.errors import UserError
from utils.progress import Progress
from utils.video import TimedFrame, TimedVideo, VideoFile
from utils.video_properties import Colours, VideoProperties
from utils.video_writer import VideoWriter


class VideoPart(TimedVideo):
    """A video from a time on: to its readers and writers as a VideoFile is.

    start, end: s, or as whole numbers frames. frames: at most so many. longest: px; larger frames
    are shrunk to this longer side. Timestamps start at 0, and sound is cut with the frames. Raises
    UserError where the video ends before the part starts.
    """

    def __init__(
        self,
        source: VideoFile,
        start: float | int = 0.0,
        end: float | int | None = None,
        frames: int | None = None,
        longest: int | None = None,
    ):
        same_unit = isinstance(start, int) == isinstance(end, int)
        if end is not None and end <= start and (same_unit or not end):
            raise UserError(f"the part ends at {_named(end)}, before it starts at {_named(start)}")
        self.source = source
        self.path = source.path
        self.start = start
        self.end = end
        self.frames = frames
        self.longest = longest
        self._first = self._first_frame()
        self.properties = self._properties()

    def timed(self) -> Iterator[TimedFrame]:
        """As VideoFile.timed; what was read before the start is left out."""
        given = 0
        for index, (timestamp, length, pixels) in enumerate(self.source.timed()):
            if timestamp < self._first:
                continue
            if given == self.frames or self._reached(self.end, index, timestamp):
                return
            if pixels.shape[:2] != self.size:
                pixels = cv2.resize(pixels, self.size[::-1], interpolation=cv2.INTER_AREA)
            yield TimedFrame(timestamp - self._first, length, pixels)
            given += 1

    def _reached(self, time: float | int | None, index: int, timestamp: int) -> bool:
        """Whether a frame is at or after a time."""
        if time is None:
            return False
        if isinstance(time, int):
            return index >= time
        base = float(self.source.time_base)
        return timestamp * base >= time - base / 2

    def _first_frame(self) -> int:
        """The timestamp of the first frame in the source."""
        if not self.start:
            return 0
        for index, frame in enumerate(self.source.timed()):
            if self._reached(self.start, index, frame.timestamp):
                return frame.timestamp
        raise UserError(f"{self.path} ends before {_named(self.start)}")

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
        if isinstance(self.end, int):
            lengths.append(self.end / whole.rate - moved)
        elif self.end is not None:
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


def opened(
    path: Path, start: str = "", end: str = "", longest: float | None = None
) -> VideoFile | VideoPart:
    """A video file, or its part between two times (see `time_of`; "": its start, its end).

    longest: the seconds of its frames are at most so many.
    """
    video = VideoFile(path)
    if not (start or end or longest):
        return video
    first = time_of(start) if start else 0.0
    last = time_of(end) if end else None
    frames = max(round(longest * video.properties.rate), 1) if longest else None
    return VideoPart(video, first, last, frames)


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


def time_of(text: str) -> float | int:
    """The time that a text means: 12.5 s, 1:02.5 (minutes), or as a whole number frames (300f).

    Raises UserError for anything else.
    """
    if match := re.fullmatch(r"(\d+)f", text.strip()):
        return int(match[1])
    match = re.fullmatch(r"(?:(\d+):)?(\d+(?:\.\d+)?)", text.strip())
    if not match:
        raise UserError(f"{text!r} is no time: give seconds (12.5), 1:02.5, or frames (300f)")
    return 60.0 * int(match[1] or 0) + float(match[2])


def _named(time: float | int) -> str:
    return f"frame {time}" if isinstance(time, int) else f"{time:g} s"
