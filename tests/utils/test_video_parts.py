"""Encoded parts: a file that was written in two runs is the one of a run without interruption."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.commands import pattern
from tests.utils.test_scenes import texture
from tests.utils.test_video import make_file, milliseconds, sound_packets
from tests.utils.test_video_properties import make
from utils import resumable_writer
from utils.errors import UserError
from utils.resumable_writer import ResumableWriter
from utils.video import VideoFile
from utils.video_encoding import USUAL, Encoding
from utils.video_parts import EncodedFrame, EncodedParts, decoding_delay
from utils.video_writer import NewVideo, VideoWriter

ORIGIN = {"input": "a", "strength": "1.0"}
TIMES = [0, 33, 70, 170, 190, 230, 290, 320, 400, 440, 480]  # a variable rate


@pytest.fixture(autouse=True)
def short_parts(monkeypatch):
    monkeypatch.setattr(resumable_writer, "PART_FRAMES", 4)


def packets(*timestamps: int, size: int = 3) -> list[EncodedFrame]:
    return [EncodedFrame(time, 1, time == 0, bytes([time] * size)) for time in timestamps]


def written(source: VideoFile, target: Path, encoding: Encoding = USUAL, stop: int = 0) -> None:
    """Copy a video by a ResumableWriter, which goes on if it can; stop: interrupt after so many."""
    with ResumableWriter(target, source, encoding, ORIGIN) as writer:
        for number, (timestamp, duration, pixels) in enumerate(source.timed()):
            if stop and number == stop:
                raise KeyboardInterrupt
            if number >= writer.frames:
                writer.write(pixels, timestamp, duration)


def same(one: Path, other: Path) -> None:
    """Assert that two files have equal frames and times, and of MP4 all bytes."""
    assert milliseconds(VideoFile(one)) == milliseconds(VideoFile(other))
    for frame, again in zip(VideoFile(one), VideoFile(other), strict=True):
        assert np.array_equal(frame, again)
    if one.suffix == ".mp4":  # Matroska's has a random number
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    "encoding", [USUAL, Encoding("hevc"), Encoding("ffv1"), Encoding(lossless=True)]
)
def test_two_runs_give_the_file_of_one(tmp_path, encoding):
    source = VideoFile(make_file(tmp_path / "a.mp4", TIMES, sound=True))
    whole = tmp_path / f"whole/b{encoding.suffix}"
    target = tmp_path / f"out/b{encoding.suffix}"
    written(source, whole, encoding)
    with pytest.raises(KeyboardInterrupt):
        written(source, target, encoding, stop=6)
    written(source, target, encoding)
    same(target, whole)
    again = milliseconds(VideoFile(whole))
    assert [time - again[0] for time in again] == TIMES
    assert sound_packets(whole) == sound_packets(source.path)
    assert sound_packets(target) == sound_packets(source.path)
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_frames_are_encoded_alike_each_time(tmp_path):
    """With AVX-512 x264 gives other bits each time unless told not to use it."""
    wide = texture(0, (180, 420))
    source = NewVideo((180, 320), Fraction(25))
    for run in range(5):
        with VideoWriter(tmp_path / f"{run}.mp4", source) as writer:
            for index in range(32):
                writer.write(wide[:, 3 * index : 3 * index + 320], index)
    assert len({(tmp_path / f"{run}.mp4").read_bytes() for run in range(5)}) == 1


def test_ten_bits_in_two_runs(tmp_path):
    frames = [pattern((48, 64), seed).astype(np.uint16) * 257 for seed in range(9)]
    options = {"x265-params": "log-level=error:crf=2"}
    made = make(tmp_path / "a.mp4", frames, "libx265", "yuv420p10le", options)
    source = VideoFile(made)
    written(source, tmp_path / "whole.mp4")
    with pytest.raises(KeyboardInterrupt):
        written(source, tmp_path / "b.mp4", stop=5)
    written(source, tmp_path / "b.mp4")
    same(tmp_path / "b.mp4", tmp_path / "whole.mp4")


def test_what_is_done_plays_after_an_interrupt(tmp_path, capsys):
    source = VideoFile(make_file(tmp_path / "a.mp4", TIMES))
    target = tmp_path / "b.mp4"
    with pytest.raises(KeyboardInterrupt):
        written(source, target, stop=6)
    assert milliseconds(VideoFile(tmp_path / "b.partial.mp4")) == TIMES[:6]
    said = capsys.readouterr().out
    assert f"note: the 6 frames done so far are in {tmp_path / 'b.partial.mp4'}" in said
    assert "note: the same command goes on after 4 of them" in said
    written(source, target)
    assert "note: b.mp4: going on after the 4 frames of an earlier run" in capsys.readouterr().out


@pytest.mark.parametrize("lost", [1, 40])
def test_a_part_that_a_kill_tore_is_made_again(tmp_path, lost):
    source = VideoFile(make_file(tmp_path / "a.mp4", TIMES))
    target = tmp_path / "b.mp4"
    written(source, tmp_path / "whole.mp4")
    with pytest.raises(KeyboardInterrupt):
        written(source, target, stop=9)
    parts = tmp_path / "b.partial.frames"
    parts.write_bytes(parts.read_bytes()[:-lost])
    assert EncodedParts(parts, ORIGIN).frames == 4
    written(source, target)
    same(target, tmp_path / "whole.mp4")


def test_another_origin_starts_anew(tmp_path, capsys):
    parts = EncodedParts(tmp_path / "a", ORIGIN)
    parts.append(packets(0, 1))
    assert EncodedParts(tmp_path / "a", ORIGIN).frames == 2
    other = EncodedParts(tmp_path / "a", ORIGIN | {"strength": "0.5"})
    assert (other.frames, other.changed) == (0, ["strength"])
    assert EncodedParts(tmp_path / "a", ORIGIN).changed == ["strength"]
    source = VideoFile(make_file(tmp_path / "a.mp4", [0, 40]))
    EncodedParts(tmp_path / "b.partial.frames", ORIGIN | {"input": "b"})
    with ResumableWriter(tmp_path / "b.mp4", source, USUAL, ORIGIN | {"input": "c"}) as writer:
        writer.write(next(iter(source)), 0)
    said = capsys.readouterr().out
    assert "note: b.mp4: started anew, as the interrupted run had other input" in said


@pytest.mark.parametrize("content", [b"", b"{}\n", b"[1]\n", b"\xff\x00 no JSON\n"])
def test_a_foreign_file_of_parts_is_replaced(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert EncodedParts(tmp_path / "a", ORIGIN).frames == 0
    assert json.loads((tmp_path / "a").read_bytes().splitlines()[0]) == ORIGIN


@pytest.mark.parametrize(
    "line", [b'{"frames": 3, "checksum": 0}', b'{"frames": [[0, 1]]}', b'{"frames": []}', b"7"]
)
def test_a_damaged_part_is_no_part(tmp_path, line):
    parts = EncodedParts(tmp_path / "a", ORIGIN)
    parts.append(packets(0, 1))
    with open(tmp_path / "a", "ab") as file:
        file.write(line + b"\n")
    again = EncodedParts(tmp_path / "a", ORIGIN)
    assert again.frames == 2
    again.append(packets(2, 3))
    found = [packet.data for packet, _ in again.packets()]
    assert found == [bytes([time] * 3) for time in range(4)]


def test_times_of_decoding_ascend_over_parts(tmp_path):
    """Worked by hand: each part shows its second packet last, so that frames wait for one more."""
    assert decoding_delay(packets(0, 3, 1, 2)) == 1
    parts = EncodedParts(tmp_path / "a", ORIGIN)
    parts.append(packets(0, 3, 1, 2))
    parts.append(packets(4, 7, 5, 6))
    times = [(packet.timestamp, decoded) for packet, decoded in parts.packets(packets(9))]
    shown = [0, 3, 1, 2, 4, 7, 5, 6, 9]
    assert times == list(zip(shown, [-1, 0, 1, 2, 3, 4, 5, 6, 7]))
    plain = EncodedParts(tmp_path / "b", ORIGIN)
    assert [decoded for _, decoded in plain.packets(packets(0, 5, 6))] == [0, 5, 6]


def test_h264_of_ten_bits_leaves_no_file(tmp_path):
    frames = [pattern((48, 64)).astype(np.uint16) * 257] * 4
    options = {"x265-params": "log-level=error"}
    source = VideoFile(make(tmp_path / "a.mp4", frames, "libx265", "yuv420p10le", options))
    with pytest.raises(UserError, match="h264 does not keep here"):
        ResumableWriter(tmp_path / "out/b.mp4", source, Encoding("h264"), ORIGIN)
    assert not (tmp_path / "out").exists()
