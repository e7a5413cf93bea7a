"""Reading and writing of videos: folders of frames and video files.

PyAV, which carries FFmpeg and x264, decodes and encodes. Frames are pixels [H,W,3], RGB, uint8
(uint16 from 16-bit pictures), upright; one is in memory at a time, however long the video.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import av.error
import numpy as np
from av.video.reformatter import Colorspace, Interpolation
from PIL import Image

from utils.errors import UserError
from utils.files import atomic_path
from utils.image import image_size, read_image, write_image
from utils.open_video import check_stream, open_container

EXTENSIONS = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".3gp", ".wmv",
)  # fmt: skip
QUALITY = "14"  # x264's crf: visually lossless
# Without these flags FFmpeg's conversion loses 5 dB on 4:2:0 and darkens by a level.
_CONVERSION = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
_BT709 = 1  # colour primaries, transfer and matrix in FFmpeg's numbering
_MATRICES = {
    1: Colorspace.ITU709,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
}
_SD_HEIGHT = 576  # untagged video up to this height is BT.601, above it BT.709, as players assume


def is_video(path: Path) -> bool:
    """Whether the name is that of a video file we read (hidden files are not)."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


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


class VideoFile:
    """The first video stream of a file.

    count: frames as the header says, cut-off ones included; None where it does not. size: (height,
    width) of the upright frame. rate: frames per second. time_base: unit of timestamps, s.
    """

    def __init__(self, path: Path):
        self.path = path
        with open_container(path) as container:
            stream = _video_stream(container, path)
            self.count = stream.frames or None
            self.rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            self.time_base = stream.time_base
            decoded = _decoded(container, stream, path)
            first = next((frame for frame in decoded if frame is not None), None)
            if first is None:
                raise UserError(f"{path} has no frames")
            self.size = (first.height, first.width)
            if first.rotation % 180:
                self.size = (first.width, first.height)

    def __iter__(self) -> Iterator[np.ndarray]:
        for _, pixels in self.timed():
            yield pixels

    def timed(self) -> Iterator[tuple[int, np.ndarray]]:
        """(timestamp in units of `time_base`, pixels) of every frame; timestamps ascend.

        Raises UserError where the file ends early.
        """
        given = 0
        left_out = 0
        timestamp = None
        with open_container(self.path) as container:
            stream = _video_stream(container, self.path)
            stream.thread_type = "AUTO"
            step = max(round(1 / self.rate / self.time_base), 1)
            for frame in _decoded(container, stream, self.path):
                if frame is None:
                    left_out += 1
                    continue
                timestamp = _next_timestamp(frame.pts, timestamp, step)
                yield timestamp, _pixels(frame)
                given += 1
        if self.count and given < self.count - left_out:
            raise UserError(
                f"{self.path} ends after {given} of {self.count} frames: it is truncated or damaged"
            )


class FolderWriter:
    """Writes frames as FOLDER/NAME.png, each whole or not at all."""

    def __init__(self, folder: Path, names: list[str]):
        self.paths = [folder / f"{name}.png" for name in names]
        self._next = iter(self.paths)

    def write(self, frame: np.ndarray) -> None:
        write_image(next(self._next), frame)

    def __enter__(self) -> "FolderWriter":
        return self

    def __exit__(self, *error: object) -> None:
        pass


@dataclass(frozen=True)
class NewVideo:
    """What a writer needs to know of a video without a source: size and rate; it has no sound.

    size: (height, width). rate: frames per second.
    """

    size: tuple[int, int]
    rate: Fraction
    path: None = None

    @property
    def time_base(self) -> Fraction:
        return 1 / self.rate


class VideoWriter:
    """Writes H.264 (BT.709, tagged) with the timestamps and the sound of a source file.

    Frames go to NAME.partial.EXT; the final name appears when the block ends well. After an error
    or Ctrl-C the partial file is closed properly, so that what was done plays. lossless: x264 in
    RGB, which most browsers can't play. Odd sizes are stored as 4:4:4.
    """

    def __init__(self, path: Path, source: VideoFile | NewVideo, lossless: bool = False):
        self.path = path
        self.source = source
        self.partial = path.with_name(f"{path.stem}.partial{path.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.frames = 0
        self._container = av.open(str(self.partial), "w")
        codec = "libx264rgb" if lossless else "libx264"
        self._stream = self._container.add_stream(codec, rate=source.rate)
        self._stream.height, self._stream.width = source.size
        self._stream.time_base = self._stream.codec_context.time_base = source.time_base
        if lossless:
            self._stream.pix_fmt = "rgb24"
            self._stream.options = {"crf": "0", "preset": "fast"}
        else:
            odd = any(side % 2 for side in source.size)
            self._stream.pix_fmt = "yuv444p" if odd else "yuv420p"
            self._stream.options = {"crf": QUALITY, "preset": "fast"}
            context = self._stream.codec_context
            context.color_primaries = context.color_trc = context.colorspace = _BT709
        self._sound = _Sound(source.path, self._container)

    def write(self, frame: np.ndarray, timestamp: int) -> None:
        """Add a frame [H,W,3] uint8 at a timestamp in units of the source's time base.

        Timestamps ascend.
        """
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
        if self._stream.pix_fmt != "rgb24":
            image = image.reformat(
                format=self._stream.pix_fmt,
                dst_colorspace=Colorspace.ITU709,
                interpolation=_CONVERSION,
            )
        image.pts = timestamp
        image.time_base = self.source.time_base
        self._container.mux(self._stream.encode(image))
        self._sound.copy_until(float(timestamp * self.source.time_base))
        self.frames += 1

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._container.mux(self._stream.encode())
            self._sound.copy_until(float("inf") if kind is None else -1.0)
        finally:
            self._sound.close()
            self._container.close()
        if kind is None:
            self.partial.replace(self.path)
        elif self.frames:
            print(f"note: the {self.frames} frames done so far are in {self.partial}")
        else:
            self.partial.unlink(missing_ok=True)


class _Sound:
    """The packets of a file's first audio stream, copied unchanged as the video advances."""

    def __init__(self, path: Path | None, target: av.container.OutputContainer):
        self._target = target
        self._source = None
        self._packets = iter(())
        self._waiting = None
        if path is None:
            return
        self._source = open_container(path)
        streams = self._source.streams.audio
        if not streams:
            return
        try:
            self._stream = target.add_stream_from_template(streams[0])
        except (ValueError, av.error.FFmpegError) as error:
            print(
                f"note: the sound of {path.name} does not fit into {target.format.name} and is "
                f"left out ({error})"
            )
            return
        self._packets = self._source.demux(streams[0])

    def copy_until(self, seconds: float) -> None:
        """Copy the packets up to a time; -1 copies none, infinity all."""
        while True:
            if self._waiting is None:
                timed = (packet for packet in self._packets if packet.dts is not None)
                self._waiting = next(timed, None)
            packet = self._waiting
            if packet is None or float(packet.dts * packet.time_base) > seconds:
                return
            packet.stream = self._stream
            self._target.mux(packet)
            self._waiting = None

    def close(self) -> None:
        if self._source:
            self._source.close()


def write_gif(path: Path, frames: Sequence[np.ndarray], fps: float) -> None:
    """Write an endlessly repeating GIF of frames [H,W,3] uint8."""
    pictures = [Image.fromarray(frame) for frame in frames]
    # ms; a GIF's clock counts hundredths of a second, and players slow down below two
    delay = max(round(100 / fps), 2) * 10
    with atomic_path(path) as temporary:
        pictures[0].save(
            temporary, "GIF", save_all=True, append_images=pictures[1:], duration=delay, loop=0
        )


def _video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    if not container.streams.video:
        kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
        raise UserError(f"{path} has no video stream, only {kinds}")
    stream = container.streams.video[0]
    check_stream(stream, path)
    return stream


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream, path: Path
) -> Iterator[av.VideoFrame | None]:
    """Frames in order; None for a packet that the file's edit list cuts off (a trimmed clip's)."""
    try:
        for packet in container.demux(stream):
            if packet.is_discard:
                yield None
            yield from packet.decode()
    except av.error.FFmpegError as error:
        raise UserError(f"{path} is damaged: {error.strerror}") from error


def _next_timestamp(given: int | None, last: int | None, step: int) -> int:
    """A frame's timestamp: the given one, else a step after the last; always after the last."""
    if last is None:
        return 0 if given is None else given
    if given is None:
        return last + step
    return max(given, last + 1)  # broken timestamps; a container wants them ascending


def _pixels(frame: av.VideoFrame) -> np.ndarray:
    """Upright RGB; the matrix is the tagged one, else the one that players assume for the size."""
    assumed = Colorspace.ITU601 if frame.height <= _SD_HEIGHT else Colorspace.ITU709
    matrix = _MATRICES.get(int(frame.colorspace), assumed)
    rgb = frame.reformat(format="rgb24", src_colorspace=matrix, interpolation=_CONVERSION)
    pixels = rgb.to_ndarray()
    if frame.rotation:
        pixels = np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))
    return pixels
