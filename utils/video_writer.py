"""Writing of videos: frames into folders, video files and GIFs."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from PIL import Image

from utils.files import atomic_path, write_bytes
from utils.image import write_image
from utils.options import QUALITY
from utils.photo import encode_jpeg
from utils.video_encoding import USUAL, Encoding, encoder_frame
from utils.video_muxer import VideoMuxer
from utils.video_properties import VideoProperties

if TYPE_CHECKING:
    from utils.side_by_side import SideBySide
    from utils.video import TimedVideo


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
        write_bytes(path, encode_jpeg(frame, self.quality))


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
    """Writes a video with the properties, the sound, ... of a source.

    Frames go to NAME.partial.EXT; the final name appears when the block ends well. After an error
    or Ctrl-C the partial file is closed properly, so that what was done plays. For each thing of
    the source that can't be kept a note is printed.
    """

    def __init__(
        self, path: Path, source: "TimedVideo | NewVideo | SideBySide", encoding: Encoding = USUAL
    ):
        self.properties = source.properties
        encoding.encoder(self.properties)  # raises UserError before there is a file
        path.parent.mkdir(parents=True, exist_ok=True)
        self.frames = 0
        self._file = VideoMuxer(path, self.properties, encoding)
        self._end = 0  # of the last frame
        self._durations: dict[int, int] = {}  # of frames whose packets are not written, by pts

    def write(self, frame: np.ndarray, timestamp: int, duration: int = 0) -> None:
        """Add a frame [H,W,3], uint8 or (of deep sources) uint16.

        timestamp, duration (0: that of the rate): in units of the source's time base.
        Timestamps ascend.
        """
        stream = self._file.stream
        image = encoder_frame(frame, timestamp, stream.codec_context, self.properties)
        self._durations[timestamp] = duration or self.properties.step
        self._end = timestamp + self._durations[timestamp]
        self._mux(stream.encode(image))
        self._file.copy_tracks(float(timestamp * self.properties.time_base))
        self.frames += 1

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            if self.frames < 3:  # x265 leaves their times of decoding as it finds the memory
                packet.dts = packet.pts
        self._file.mux(packets)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._mux(self._file.stream.encode())
        except BaseException:
            self._file.abandon()
            raise
        self._file.close(self._end, whole=kind is None)
        if kind is None:
            return
        if self.frames:
            print(f"note: the {self.frames} frames done so far are in {self._file.partial}")
        else:
            self._file.partial.unlink(missing_ok=True)


def write_gif(path: Path, frames: Sequence[np.ndarray], fps: float) -> None:
    """Write an endlessly repeating GIF of frames [H,W,3] uint8."""
    pictures = [Image.fromarray(frame) for frame in frames]
    # ms; a GIF's clock counts hundredths of a second, and players slow down below two
    delay = max(round(100 / fps), 2) * 10
    with atomic_path(path) as temporary:
        pictures[0].save(
            temporary, "GIF", save_all=True, append_images=pictures[1:], duration=delay, loop=0
        )
