"""Writing of videos: frames into folders, video files and GIFs.

PyAV, which carries FFmpeg, x264 and x265, encodes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import av
import numpy as np
from PIL import Image

from utils.files import atomic_path
from utils.image import write_image
from utils.options import CRF, QUALITY
from utils.photo import encode_jpeg
from utils.video import CONVERSION, VideoFile
from utils.video_properties import MATRICES, RGB, VideoProperties
from utils.video_tracks import CopiedTracks

if TYPE_CHECKING:
    from utils.video_part import VideoPart

# by (lossless, more than 8 bits)
_CODECS = {
    (False, False): "libx264",
    (False, True): "libx265",
    (True, False): "libx264rgb",
    (True, True): "ffv1",
}


class FolderWriter:
    """Writes frames as FOLDER/NAME.png, or .jpg of a quality, each whole or not at all."""

    def __init__(self, folder: Path, names: list[str], format: str = "png", quality: int = QUALITY):
        self.paths = [folder / f"{name}.{format}" for name in names]
        self.quality = quality
        self._next = iter(self.paths)

    def write(self, frame: np.ndarray) -> None:
        """Write the next frame [H,W,3]; JPEG takes uint8 alone."""
        path = next(self._next)
        if path.suffix == ".png":
            write_image(path, frame)
            return
        jpeg = encode_jpeg(frame, self.quality)
        with atomic_path(path) as temporary:
            temporary.write_bytes(jpeg)

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

    @property
    def properties(self) -> VideoProperties:
        return VideoProperties(self.size, self.rate, 1 / self.rate)


class VideoWriter:
    """Writes H.264 with the properties, the sound, ... of a source; more than 8 bits as HEVC.

    Frames go to NAME.partial.EXT; the final name appears when the block ends well. After an error
    or Ctrl-C the partial file is closed properly, so that what was done plays. crf: of x264
    and x265, 0 to 51, higher is smaller. lossless: x264 in
    RGB (more than 8 bits: FFV1), which most browsers can't play. Odd sizes are stored as 4:4:4. For
    each thing of the source that can't be kept a note is printed.
    """

    def __init__(
        self,
        path: Path,
        source: "VideoFile | VideoPart | NewVideo",
        lossless: bool = False,
        crf: int = CRF,
    ):
        self.path = path
        self.properties = source.properties
        self.partial = path.with_name(f"{path.stem}.partial{path.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.frames = 0
        self._container = av.open(str(self.partial), "w")
        self._stream = _add_stream(self._container, self.properties, lossless, crf)
        self._end = 0  # of the last frame
        self._held_back: av.Packet | None = None
        self._first: tuple[int, int] | None = None  # pts and dts of the first packet
        self._durations: dict[int, int] = {}  # of frames whose packets are not written, by pts
        self._tracks = CopiedTracks(self.properties, self._container)
        self._container.metadata.update(self.properties.metadata)
        if self.properties.chapters:
            self._container.set_chapters(self.properties.chapters)

    def write(self, frame: np.ndarray, timestamp: int, duration: int = 0) -> None:
        """Add a frame [H,W,3], uint8 or (of deep sources) uint16.

        timestamp, duration (0: that of the rate): in units of the source's time base.
        Timestamps ascend.
        """
        deep = frame.dtype == np.uint16
        image = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(frame), "rgb48le" if deep else "rgb24"
        )
        if self._stream.pix_fmt != image.format.name:
            matrix = self._stream.codec_context.colorspace
            image = image.reformat(
                format=self._stream.pix_fmt,
                dst_colorspace=MATRICES.get(int(matrix)),
                interpolation=CONVERSION,
            )
        image.pts = timestamp
        image.time_base = self.properties.time_base
        usual = round(1 / self.properties.rate / self.properties.time_base)
        self._durations[timestamp] = duration or usual
        self._end = timestamp + (duration or usual)
        self._mux(self._stream.encode(image))
        self._tracks.copy_until(float(timestamp * self.properties.time_base))
        self.frames += 1

    def _mux(self, packets: Iterable[av.Packet]) -> None:
        """Write packets but for the last one, which waits for the next call."""
        for packet in packets:
            if self._first is None:
                self._first = (packet.pts, packet.dts)
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            if self._held_back is not None:
                self._container.mux(self._held_back)
            self._held_back = packet

    def _mux_last(self) -> None:
        """Write the last packet so that the video ends with its last frame.

        MP4 and MOV add up the times between packets as they are decoded. Where the encoder changes
        the order, the last decoded one is not the last shown.
        """
        packet = self._held_back
        if packet is None:
            return
        if self.path.suffix.lower() in (".mp4", ".mov", ".m4v"):
            end = round(self._end * self.properties.time_base / packet.time_base)
            first_shown, first_decoded = self._first
            packet.duration = max(end - first_shown - (packet.dts - first_decoded), 1)
        self._container.mux(packet)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            packets = self._stream.encode()
            if self.frames < 3:  # x265 leaves their times of decoding as it finds the memory
                for packet in packets:
                    packet.dts = packet.pts
            self._mux(packets)
            self._mux_last()
            self._tracks.copy_until(float("inf") if kind is None else -1.0)
        finally:
            self._tracks.close()
            self._container.close()
        if kind is None:
            _note_lost(self.partial, self.properties)
            self.partial.replace(self.path)
        elif self.frames:
            print(f"note: the {self.frames} frames done so far are in {self.partial}")
        else:
            self.partial.unlink(missing_ok=True)


def write_gif(path: Path, frames: Sequence[np.ndarray], fps: float) -> None:
    """Write an endlessly repeating GIF of frames [H,W,3] uint8."""
    pictures = [Image.fromarray(frame) for frame in frames]
    # ms; a GIF's clock counts hundredths of a second, and players slow down below two
    delay = max(round(100 / fps), 2) * 10
    with atomic_path(path) as temporary:
        pictures[0].save(
            temporary, "GIF", save_all=True, append_images=pictures[1:], duration=delay, loop=0
        )


def _add_stream(
    container: av.container.OutputContainer, properties: VideoProperties, lossless: bool, crf: int
) -> av.VideoStream:
    deep = properties.deep
    codec = _CODECS[lossless, deep]
    stream = container.add_stream(codec, rate=properties.rate)
    stream.height, stream.width = properties.size
    stream.time_base = stream.codec_context.time_base = properties.time_base
    stream.options = {"crf": "0" if lossless else str(crf), "preset": "fast"}
    context = stream.codec_context
    context.color_primaries = properties.colours.primaries
    context.color_trc = properties.colours.transfer
    context.colorspace = RGB if lossless else properties.colours.matrix
    if properties.pixel_aspect != 1:
        context.sample_aspect_ratio = properties.pixel_aspect
    if lossless:
        stream.pix_fmt = "rgb48le" if deep else "rgb24"
    else:
        odd = any(side % 2 for side in properties.size)
        stream.pix_fmt = ("yuv444p" if odd else "yuv420p") + ("10le" if deep else "")
    if codec == "ffv1":
        stream.options = {}
    if codec == "libx265":
        context.codec_tag = "hvc1"  # Apple's players know no other
        words = [f"log-level=error:crf={crf}", properties.light]
        stream.options |= {"x265-params": ":".join(filter(None, words))}
    return stream


def _note_lost(written: Path, properties: VideoProperties) -> None:
    """Say what of the source is not in the file that was written."""
    if properties.path is None:
        return
    lost = list(properties.left_out)
    with av.open(str(written), metadata_errors="replace") as container:
        kept = {key.lower() for key in container.metadata}
        missing = [key for key in properties.metadata if key.lower() not in kept]
        if missing:
            lost.append(f"entries {', '.join(missing)}")
        if len(container.chapters()) < len(properties.chapters):
            lost.append("chapters")
    for what in lost:
        print(f"note: {properties.path.name}: its {what} can't be kept in {written.suffix}")
