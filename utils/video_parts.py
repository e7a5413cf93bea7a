"""Encoded parts of a video on the disk, from which an interrupted run goes on.

A part is some frames that were encoded on their own, so that a run in one go and one that was
interrupted give the same file. The file of parts is: a line of JSON that says what the frames were
made from; then for each part a line with the packets' times and sizes, and the packets' bytes.
"""

import json
import os
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from utils.files import write_bytes

MAX_LINE = 2**24  # bytes of a line of JSON


class EncodedFrame(NamedTuple):
    """A frame's packet. timestamp, duration: in time bases; is_key: whether it stands alone."""

    timestamp: int
    duration: int
    is_key: bool
    data: bytes


@dataclass(frozen=True)
class _Part:
    """Where a part's packets lie, and what is known of them. delay: see `decoding_delay`."""

    position: int
    frames: list[tuple[int, int, bool, int]]  # timestamp, duration, is_key, bytes
    delay: int


class EncodedParts:
    """The parts of one video in a file; what is appended is on the disk or not there at all.

    origin: what the frames are made from, by name. Parts of another origin are dropped, and
    `changed` names the differences. frames: how many frames the parts have.
    """

    def __init__(self, path: Path, origin: Mapping[str, str]):
        self.path = path
        self.changed: list[str] = []
        self._parts: list[_Part] = []
        if not self._read(dict(origin)):
            write_bytes(path, _line(dict(origin)))

    @property
    def frames(self) -> int:
        return sum(len(part.frames) for part in self._parts)

    @property
    def end(self) -> int:
        """When the last frame ends, in time bases."""
        last = self._parts[-1].frames if self._parts else []
        return max((timestamp + duration for timestamp, duration, *_ in last), default=0)

    def append(self, packets: Sequence[EncodedFrame]) -> None:
        """Add a part, packets in the order of decoding."""
        frames = [(*packet[:3], len(packet.data)) for packet in packets]
        data = b"".join(packet.data for packet in packets)
        head = _line({"frames": frames, "checksum": zlib.crc32(data)})
        size = self.path.stat().st_size
        try:
            with open(self.path, "ab") as file:
                file.write(head + data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            os.truncate(self.path, size)
            error.filename = str(self.path)
            raise
        self._parts.append(_Part(size + len(head), frames, decoding_delay(packets)))

    def packets(self, more: Sequence[EncodedFrame] = ()) -> Iterator[tuple[EncodedFrame, int]]:
        """All packets in the order of decoding, each with its time of decoding, in time bases.

        more: of a last part that is not on the disk.
        """
        delay = max([decoding_delay(more), *(part.delay for part in self._parts)])
        ascending: deque[int] = deque()  # timestamps, from the one `delay` packets before on
        index = 0
        for packets in self._all(more):
            ascending.extend(sorted(packet.timestamp for packet in packets))
            for packet in packets:
                if index >= delay:
                    decoded = ascending.popleft()
                else:  # before the first one is shown, at the distances of the frames
                    lead = ascending[min(delay, len(ascending) - 1)] - ascending[0]
                    decoded = ascending[index] - max(lead, delay)
                yield packet, decoded
                index += 1

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)

    def _all(self, more: Sequence[EncodedFrame]) -> Iterator[Sequence[EncodedFrame]]:
        """The packets of one part after the other."""
        with open(self.path, "rb") as file:
            for part in self._parts:
                file.seek(part.position)
                yield [EncodedFrame(*frame[:3], file.read(frame[3])) for frame in part.frames]
        if more:
            yield more

    def _read(self, origin: dict[str, str]) -> bool:
        """Take the whole parts of a file of this origin; False where there are none to take."""
        try:
            with open(self.path, "rb") as file:
                found = _parsed(file.readline(MAX_LINE))
                if not found:
                    return False
                names = found.keys() | origin.keys()
                changed = {name for name in names if found.get(name) != origin.get(name)}
                if changed:
                    self.changed = sorted(changed & origin.keys())
                    return False
                end = file.tell()
                while part := _next_part(file):
                    self._parts.append(part)
                    end = file.tell()
        except FileNotFoundError:
            return False
        os.truncate(self.path, end)  # what a kill left of a part
        return True


def decoding_delay(packets: Sequence[EncodedFrame]) -> int:
    """How many frames later than it is decoded a packet is shown at most, where all times ascend.

    That is the number by which a packet comes later than its timestamp's rank.
    """
    ranks = {time: rank for rank, time in enumerate(sorted(packet[0] for packet in packets))}
    return max((index - ranks[packet[0]] for index, packet in enumerate(packets)), default=0)


def _next_part(file: BinaryIO) -> _Part | None:
    """The part at a file's position; None where there is no whole one."""
    found = _parsed(file.readline(MAX_LINE))
    position = file.tell()
    try:
        frames = [(*frame[:3], int(frame[3])) for frame in found["frames"]]
        data = file.read(sum(frame[3] for frame in frames))
        packets = [EncodedFrame(*frame[:3], b"") for frame in frames]
    except (LookupError, TypeError, ValueError):
        return None
    if not frames or zlib.crc32(data) != found.get("checksum"):
        return None
    return _Part(position, frames, decoding_delay(packets))


def _line(entries: dict) -> bytes:
    return json.dumps(entries).encode() + b"\n"


def _parsed(line: bytes) -> dict:
    """The object in a line of JSON; empty for anything else."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
