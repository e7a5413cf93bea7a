"""Writing of videos: frames into folders, video files and GIFs."""

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
from utils.options import QUALITY
from utils.photo import encode_jpeg
from utils.video import VideoFile
from utils.video_encoding import USUAL, Encoding, encoder_frame
from utils.video_properties import VideoProperties
from utils.video_tracks import CopiedTracks

if TYPE_CHECKING:
    from utils.side_by_side import SideBySide
    from utils.video_part import VideoPart


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
    """Writes a video with the properties, the sound, ... of a source.

    Frames go to NAME.partial.EXT; the final name appears when the block ends well. After an error
    or Ctrl-C the partial file is closed properly, so that what was done plays. For each thing of
    the source that can't be kept a note is printed.
    """

    def __init__(
        self,
        path: Path,
        source: "VideoFile | VideoPart | NewVideo | SideBySide",
        encoding: Encoding = USUAL,
    ):
        self.path = path
        self.properties = source.properties
        self.partial = path.with_name(f"{path.stem}.partial{path.suffix}")
        encoder = encoding.encoder(self.properties)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.frames = 0
        self._container = av.open(str(self.partial), "w")
        self._stream = self._container.add_stream(encoder, rate=self.properties.rate)
        self._stream.time_base = self.properties.time_base
        encoding.configure(self._stream.codec_context, self.properties)
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
        image = encoder_frame(frame, timestamp, self._stream.codec_context, self.properties)
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
