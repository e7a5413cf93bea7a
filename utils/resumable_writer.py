"""Writing of a video file by a run that may be interrupted, and goes on when it is repeated."""

from collections.abc import Mapping
from pathlib import Path

import av
import av.error
import numpy as np

from utils.side_by_side import SideBySide
from utils.video import TimedVideo
from utils.video_encoding import Encoding, encoder_frame
from utils.video_muxer import VideoMuxer, partial_path
from utils.video_parts import EncodedFrame, EncodedParts

PART_FRAMES = 32  # an interrupted run loses at most so many; costs 2 % of the file's size at crf 14
GLOBAL_HEADER = 1 << 22  # of FFmpeg: the codec's header stands in the container


class ResumableWriter:
    """Writes a video as VideoWriter does, of parts that stay where a run is interrupted.

    origin: what the frames are made from (see EncodedParts); a run of another origin starts anew.
    frames: how many are there already; `write` takes those after them. Parts lie in
    NAME.partial.frames, whose frames also fill NAME.partial.EXT after an error or Ctrl-C.
    """

    def __init__(
        self,
        path: Path,
        source: TimedVideo | SideBySide,
        encoding: Encoding,
        origin: Mapping[str, str],
    ):
        self.path = path
        self.properties = source.properties
        self.encoding = encoding
        self._codec = encoding.encoder(self.properties)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._parts = EncodedParts(path.with_name(f"{path.stem}.partial.frames"), origin)
        self.frames = self._parts.frames
        if self._parts.changed:
            names = ", ".join(self._parts.changed)
            print(f"note: {path.name}: started anew, as the interrupted run had other {names}")
        elif self.frames:
            print(f"note: {path.name}: going on after the {self.frames} frames of an earlier run")
        self._encoder: av.VideoCodecContext | None = None
        self._packets: list[EncodedFrame] = []
        self._durations: dict[int, int] = {}  # of the part's frames, by timestamp

    def write(self, frame: np.ndarray, timestamp: int, duration: int = 0) -> None:
        """Add a frame as VideoWriter.write."""
        if self._encoder is None:
            self._encoder = av.CodecContext.create(self._codec, "w")
            self.encoding.configure(self._encoder, self.properties)
            self._encoder.flags |= GLOBAL_HEADER
        image = encoder_frame(frame, timestamp, self._encoder, self.properties)
        self._durations[timestamp] = duration or self.properties.step
        self._take(self._encoder.encode(image))
        self.frames += 1
        if len(self._durations) == PART_FRAMES:
            self._end_part()

    def _take(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            frame = (packet.pts, self._durations[packet.pts], packet.is_keyframe, bytes(packet))
            self._packets.append(EncodedFrame(*frame))

    def _flush(self) -> None:
        """Let the encoder give what it has of the part."""
        if self._encoder is not None:
            self._take(self._encoder.encode(None))
            self._encoder = None

    def _end_part(self) -> None:
        self._flush()
        if self._packets:
            self._parts.append(self._packets)
        self._packets = []
        self._durations = {}

    def __enter__(self) -> "ResumableWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._end_part()
            self._mux(whole=True)
            self._parts.delete()
            return
        kept = self._parts.frames
        if not self.frames:
            self._parts.delete()
            return
        try:
            self._flush()
            self._mux(whole=False)
        except (OSError, av.error.FFmpegError):
            partial_path(self.path).unlink(missing_ok=True)  # the error of the block is the cause
        else:
            print(f"note: the {self.frames} frames done so far are in {partial_path(self.path)}")
        if kept:
            print(f"note: the same command goes on after {kept} of them")

    def _mux(self, whole: bool) -> None:
        """Write all packets into the file, whole under its final name."""
        base = self.properties.time_base
        file = VideoMuxer(self.path, self.properties, self.encoding)
        end = self._parts.end
        try:
            for frame, decoded in self._parts.packets(self._packets):
                packet = av.Packet(frame.data)
                packet.stream = file.stream
                packet.time_base = base
                packet.pts = frame.timestamp
                packet.dts = decoded
                packet.duration = frame.duration
                packet.is_keyframe = frame.is_key
                end = max(end, frame.timestamp + frame.duration)
                file.mux([packet])
                file.copy_tracks(float(frame.timestamp * base))
        except BaseException:
            file.abandon()
            raise
        file.close(end, whole)
