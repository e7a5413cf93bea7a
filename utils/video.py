"""Reading of videos: folders of frames and video files (writing: utils/video_writer.py).

PyAV, which carries FFmpeg, decodes. Frames are pixels [H,W,3], RGB, uint8 (uint16 from pictures and
videos with more than 8 bits), upright and deinterlaced; one is in memory at a time, however long
the video.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.filter import Graph
from av.video.reformatter import Interpolation

from utils.colours import to_bt709
from utils.errors import UserError
from utils.image import image_size, read_image
from utils.open_video import check_stream, open_container
from utils.video_properties import (
    MATRICES,
    VideoProperties,
    attached_picture,
    read_properties,
    source_matrix,
)

EXTENSIONS = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts",
    ".3gp", ".wmv",
)  # fmt: skip
# Without these flags FFmpeg's conversion loses 5 dB on 4:2:0 and darkens by a level.
CONVERSION = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
JUMP_S = 10.0  # of a broadcast's clock forwards: a new clock, as FFmpeg's program has it
JUMP_BACK_FRAMES = 10  # more than frames are ever out of order


def is_video(path: Path) -> bool:
    """Whether the name is that of a video file we read (hidden files are not)."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


class TimedFrame(NamedTuple):
    """A frame [H,W,3]; timestamp and duration in units of its video's time base."""

    timestamp: int
    duration: int
    pixels: np.ndarray


@dataclass(frozen=True)
class FrameFolder:
    """Frames as picture files, in the given order."""

    paths: tuple[Path, ...]

    @property
    def count(self) -> int:
        return len(self.paths)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return image_size(self.paths[0])

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(read_image, self.paths)


class TimedVideo:
    """What a video and a part of one answer alike, by their `properties` and `timed`."""

    properties: VideoProperties

    def timed(self) -> Iterator[TimedFrame]:
        """Every frame with its timestamp and duration."""
        raise TypeError(f"{type(self).__name__} has no frames: override `timed`")

    def timed_from(self, index: int) -> Iterator[TimedFrame]:
        """As `timed`, of the frames from `index` on."""
        for number, frame in enumerate(self.timed()):
            if number >= index:
                yield frame

    @property
    def count(self) -> int | None:
        return self.properties.count

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the upright frame."""
        return self.properties.size

    @property
    def time_base(self) -> Fraction:
        """Unit of timestamps, s."""
        return self.properties.time_base

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in self.timed():
            yield frame.pixels


class VideoFile(TimedVideo):
    """The video that players show of a file: no cover picture, of several tracks the main one.

    properties: what the file says of itself. as_bt709: frames with the colours of BT.709 and 8
    bits, whatever the file has, for programs that reckon with common pictures; else as stored.
    Raises UserError for a missing, damaged or foreign file.
    """

    def __init__(self, path: Path, as_bt709: bool = False):
        self.path = path
        self.as_bt709 = as_bt709
        self._noted: set[str] = set()
        with open_container(path) as container, _damage_as_sentence(path):
            stream = _video_stream(container, path)
            first = next(iter(_Decoded(container, stream)), None)
            if first is None:
                raise UserError(f"{path} has no frames")
            self.properties = read_properties(path, container, stream, first)
        self._converts = as_bt709 and not self.properties.colours.is_common
        self._deep = self.properties.deep and (self._converts or not as_bt709)

    def timed(self) -> Iterator[TimedFrame]:
        """Every frame; timestamps ascend, and picture or sound starts at 0.

        Raises UserError where the file ends early, is damaged, or changes its frames' size.
        """
        given = 0
        if self._converts:
            self._note("its colours (HDR or a wide gamut) are converted to BT.709")
        with open_container(self.path) as container, _damage_as_sentence(self.path):
            stream = _video_stream(container, self.path)
            stream.thread_type = "AUTO"
            clock = Clock(
                self.properties.start,
                stream.time_base,
                max(round(1 / self.properties.rate / stream.time_base), 1),
                has_jumps(container),
            )
            decoded = _Decoded(container, stream)
            for frame in self._deinterlaced(self._of_one_size(decoded), stream):
                timestamp = clock(frame.pts)
                yield TimedFrame(timestamp, frame.duration or clock.step, self._pixels(frame))
                given += 1
        count = self.properties.count
        if count and given < count - decoded.cut_off:
            raise UserError(
                f"{self.path} ends after {given} of {count} frames: it is truncated or damaged"
            )

    def _of_one_size(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        size = None
        for index, frame in enumerate(frames):
            size = size or (frame.width, frame.height)
            if (frame.width, frame.height) != size:
                raise UserError(
                    f"{self.path}: the size changes from {size[0]}x{size[1]} to {frame.width}x"
                    f"{frame.height} at frame {index}: cut the video there into files of one size"
                )
            yield frame

    def _deinterlaced(
        self, frames: Iterator[av.VideoFrame], stream: av.VideoStream
    ) -> Iterator[av.VideoFrame]:
        """Progressive frames, as many; from the first interlaced one on through FFmpeg's bwdif."""
        graph = None
        for frame in frames:
            if graph is None and frame.interlaced_frame:
                self._note("it is interlaced, its frames are deinterlaced (bwdif)")
                graph = _bwdif(stream, frame)
            if graph is None:
                yield frame
                continue
            graph.vpush(frame)
            yield from _pulled(graph, stream.time_base)
        if graph is not None:
            graph.vpush(None)
            yield from _pulled(graph, stream.time_base)

    def _pixels(self, frame: av.VideoFrame) -> np.ndarray:
        rgb = frame.reformat(
            format="rgb48le" if self._deep else "rgb24",
            src_colorspace=MATRICES.get(source_matrix(frame, self.path)),
            interpolation=CONVERSION,
        )
        pixels = self.properties.upright(rgb.to_ndarray())
        return to_bt709(pixels, self.properties.colours) if self._converts else pixels

    def _note(self, words: str) -> None:
        """Print a note once."""
        if words not in self._noted:
            self._noted.add(words)
            print(f"note: {self.path.name}: {words}")


class Clock:
    """Timestamps that ascend from about 0, of those that a file gives its frames or packets.

    start: what is 0, s. step: the usual distance of two timestamps. has_jumps: whether the clock of
    such files may jump, as that of broadcasts does; after a jump it goes on.
    """

    def __init__(self, start: Fraction, time_base: Fraction, step: int, has_jumps: bool):
        self.step = step
        self._shift = round(start / time_base)
        self._limit = round(JUMP_S / time_base) if has_jumps else None
        self._last: int | None = None

    def __call__(self, given: int | None) -> int:
        """The timestamp of the next frame or packet, after the last one's."""
        following = 0 if self._last is None else self._last + self.step
        shown = following if given is None else given - self._shift
        if self._last is not None:
            ahead = self._limit is not None and shown > self._last + self._limit
            behind = shown < self._last - JUMP_BACK_FRAMES * self.step
            if ahead or behind:
                self._shift += shown - following
                shown = following
            shown = max(shown, self._last + 1)  # broken ones; a container wants them ascending
        self._last = shown
        return shown


def has_jumps(container: av.container.InputContainer) -> bool:
    """Whether a file is of a kind whose clock may jump."""
    return bool(container.format.flags & av.format.Flags.ts_discont.value)


class _Decoded:
    """Frames of a stream in order; cut_off: packets that the file's edit list (a trimmed clip's)
    leaves out, of those read so far."""

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream):
        self._container = container
        self._stream = stream
        self.cut_off = 0

    def __iter__(self) -> Iterator[av.VideoFrame]:
        for packet in self._container.demux(self._stream):
            self.cut_off += packet.is_discard
            yield from packet.decode()


@contextmanager
def _damage_as_sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as error:
        raise UserError(f"{path} is damaged: {error.strerror}") from error


def _video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """As FFmpeg chooses: the default one before others, then the largest."""
    streams = [stream for stream in container.streams.video if not attached_picture(stream)]
    if not streams:
        kinds = ", ".join(stream.type for stream in container.streams if stream.type != "video")
        raise UserError(f"{path} has no video stream, only {kinds or 'nothing'}")
    is_default = av.stream.Disposition.default
    stream = max(streams, key=lambda one: (bool(one.disposition & is_default), _pixels(one)))
    check_stream(stream, path)
    return stream


def _pixels(stream: av.VideoStream) -> int:
    """Of a frame; 0 where the codec is unknown."""
    context = stream.codec_context
    return context.width * context.height if context else 0


def _bwdif(stream: av.VideoStream, frame: av.VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=stream.time_base
    )
    bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
    return graph


def _pulled(graph: Graph, time_base: Fraction) -> Iterator[av.VideoFrame]:
    """The frames that are ready, with timestamps in units of a time base."""
    while True:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        unit = frame.time_base / time_base
        if frame.pts is not None:
            frame.pts = round(frame.pts * unit)
        frame.duration = round(frame.duration * unit)
        frame.time_base = time_base
        yield frame
