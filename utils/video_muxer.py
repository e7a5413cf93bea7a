"""A video file in the making: encoded frames beside the sound and the notes of their source."""

from collections.abc import Iterable
from pathlib import Path

import av

from utils.video_encoding import Encoding
from utils.video_properties import VideoProperties
from utils.video_tracks import CopiedTracks


class VideoMuxer:
    """Writes packets of frames to NAME.partial.EXT, with all that goes with them.

    For each thing of the source that can't be kept a note is printed. `stream` is the video's, with
    an encoder of its own.
    """

    def __init__(self, path: Path, properties: VideoProperties, encoding: Encoding):
        self.path = path
        self.partial = partial_path(path)
        self.properties = properties
        self._container = av.open(str(self.partial), "w")
        self.stream = self._container.add_stream(encoding.encoder(properties), rate=properties.rate)
        self.stream.time_base = properties.time_base
        encoding.configure(self.stream.codec_context, properties)
        self._held_back: av.Packet | None = None
        self._first: tuple[int, int] | None = None  # pts and dts of the first packet
        self._tracks = CopiedTracks(properties, self._container)
        self._container.metadata.update(properties.metadata)
        if properties.chapters:
            self._container.set_chapters(properties.chapters)

    def mux(self, packets: Iterable[av.Packet]) -> None:
        """Write packets but for the last one, which waits for the next call."""
        for packet in packets:
            if self._first is None:
                self._first = (packet.pts, packet.dts)
            if self._held_back is not None:
                self._container.mux(self._held_back)
            self._held_back = packet

    def copy_tracks(self, seconds: float) -> None:
        """Copy sound, subtitles, ... up to a time; infinity: all."""
        self._tracks.copy_until(seconds)

    def close(self, end: int, whole: bool) -> None:
        """End the file with its last frame, which ends at a time in time bases.

        whole: with all of the sound, and under its final name.
        """
        try:
            self._mux_last(end)
            if whole:
                self.copy_tracks(float("inf"))
        finally:
            self.abandon()
        if whole:
            self._note_lost()
            self.partial.replace(self.path)

    def abandon(self) -> None:
        """Close the file as it is."""
        self._tracks.close()
        self._container.close()

    def _mux_last(self, end: int) -> None:
        """Write the last packet so that the video ends with its last frame.

        MP4 and MOV add up the times between packets as they are decoded. Where the encoder changes
        the order, the last decoded one is not the last shown.
        """
        packet = self._held_back
        if packet is None:
            return
        if self.path.suffix.lower() in (".mp4", ".mov", ".m4v"):
            end = round(end * self.properties.time_base / packet.time_base)
            first_shown, first_decoded = self._first
            packet.duration = max(end - first_shown - (packet.dts - first_decoded), 1)
        self._container.mux(packet)

    def _note_lost(self) -> None:
        """Say what of the source is not in the file that was written."""
        properties = self.properties
        if properties.path is None:
            return
        lost = list(properties.left_out)
        with av.open(str(self.partial), metadata_errors="replace") as container:
            kept = {key.lower() for key in container.metadata}
            missing = [key for key in properties.metadata if key.lower() not in kept]
            if missing:
                lost.append(f"entries {', '.join(missing)}")
            if len(container.chapters()) < len(properties.chapters):
                lost.append("chapters")
        for what in lost:
            print(f"note: {properties.path.name}: its {what} can't be kept in {self.path.suffix}")


def partial_path(path: Path) -> Path:
    """Where a video file lies until it is whole."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")
