"""Sound, subtitles and cover pictures of a video, copied beside its new frames."""

import io
from collections.abc import Iterator

import av
import av.error

from utils.open_video import open_container
from utils.video import Clock, has_jumps
from utils.video_properties import VideoProperties, attached_picture

_KEPT_METADATA = ("language", "title", "handler_name")
_KINDS = {"audio": "sound", "subtitle": "subtitles", "video": "pictures", "data": "data"}


class CopiedTracks:
    """The packets of all sounds, subtitles and cover pictures, unchanged, as the video advances.

    A note names each that does not fit into the target, and what else there is.
    """

    def __init__(self, properties: VideoProperties, target: av.container.OutputContainer):
        self._target = target
        self._source = None
        self._packets: Iterator[av.Packet] = iter(())
        self._waiting = None
        self._copies: dict[int, av.stream.Stream] = {}
        self._clocks: dict[int, Clock] = {}
        self._length = properties.length
        if properties.path is None:
            return
        self._source = open_container(properties.path)
        self._add_tracks(properties)
        copied = [self._source.streams[index] for index in self._copies]
        if copied:
            self._packets = self._source.demux(copied)

    def copy_until(self, seconds: float) -> None:
        """Copy the packets up to a time; -1 copies none, infinity all."""
        while True:
            if self._waiting is None:
                self._waiting = self._next()
            packet = self._waiting
            if packet is None or float(packet.dts * packet.time_base) > seconds:
                return
            packet.stream = self._copies[packet.stream.index]
            self._target.mux(packet)
            self._waiting = None

    def close(self) -> None:
        if self._source:
            self._source.close()

    def _next(self) -> av.Packet | None:
        """The next packet, on the clock of the target."""
        for packet in self._packets:
            if attached_picture(packet.stream) and packet.size:
                packet.pts = packet.dts = 0
                return packet
            if packet.dts is None:
                continue
            clock = self._clocks[packet.stream.index]
            clock.step = packet.duration or clock.step
            moved = clock(packet.dts) - packet.dts
            packet.dts += moved
            if packet.pts is not None:
                packet.pts += moved
            if self._length is None or 0 <= packet.dts * packet.time_base < self._length:
                return packet
        return None

    def _add_tracks(self, properties: VideoProperties) -> None:
        streams = self._source.streams
        pictures = [stream for stream in streams.video if attached_picture(stream)]
        left_out = {"data": len(streams.data)}
        # a text track of chapters shows as data in MP4
        left_out["data"] -= bool(properties.chapters and left_out["data"])
        left_out["video"] = len(streams.video) - len(pictures) - 1
        name = properties.path.name
        for kind, count in left_out.items():
            if count:
                print(f"note: {name}: tracks of {_KINDS[kind]} that are left out: {count}")
        for stream in (*streams.audio, *streams.subtitles, *pictures):
            reason = _unfit(stream, self._target.format.name)
            if reason:
                language = f" ({stream.language})" if stream.language else ""
                print(
                    f"note: {name}: its {_KINDS[stream.type]}{language} can't be kept in "
                    f"{self._target.format.name}: {reason}"
                )
                continue
            copy = _added(self._target, stream)
            step = max(round(0.02 / stream.time_base), 1)
            # minutes without a subtitle are no jump
            jumps = has_jumps(self._source) and stream.type != "subtitle"
            self._clocks[stream.index] = Clock(properties.start, stream.time_base, step, jumps)
            self._copies[stream.index] = copy


def _added(target: av.container.OutputContainer, stream: av.stream.Stream) -> av.stream.Stream:
    """The stream's copy in a container."""
    copy = target.add_stream_from_template(stream)
    for key in _KEPT_METADATA:
        if key in stream.metadata:
            copy.metadata[key] = stream.metadata[key]
    copy.disposition = stream.disposition
    return copy


def _unfit(stream: av.stream.Stream, container: str) -> str:
    """Why a container can't hold a stream, "" where it can: the header is tried."""
    if stream.type == "video" and container != "mp4":
        return "MP4 alone has cover pictures"
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            _added(trial, stream)
            trial.start_encoding()
    except av.error.FFmpegError as error:
        return error.strerror
    except ValueError as error:
        return str(error)
    return ""
