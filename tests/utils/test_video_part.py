"""Parts of videos: frames, times and sound are cut together, and shrunk copies play."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from utils.errors import UserError
from utils.video import VideoFile
from utils.video_part import VideoPart, copy_video, time_of
from utils.video_writer import NewVideo, VideoWriter

RATE = 10
SOUND_HZ = 16000


def video(path: Path, frames: int = 20, size: tuple[int, int] = (32, 48)) -> VideoFile:
    """A clip whose frame n has the grey value 10 n."""
    with VideoWriter(path, NewVideo(size, Fraction(RATE))) as writer:
        for number in range(frames):
            writer.write(np.full((*size, 3), 10 * number, np.uint8), number)
    return VideoFile(path)


def with_sound(path: Path, seconds: int = 2) -> VideoFile:
    """A clip with a tone as PCM."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=RATE)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=SOUND_HZ, layout="mono")
        for number in range(seconds * RATE):
            pixels = np.full((32, 32, 3), 10 * number, np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(pixels)))
            samples = np.full((1, SOUND_HZ // RATE), 100 * number, np.int16)
            frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            frame.sample_rate = SOUND_HZ
            frame.pts = number * SOUND_HZ // RATE
            container.mux(sound.encode(frame))
        container.mux(picture.encode())
    return VideoFile(path)


def values(frames) -> list[int]:
    return [round(float(frame.mean()) / 10) for frame in frames]


def test_a_part_has_the_frames_between_two_times(tmp_path):
    whole = video(tmp_path / "a.mp4")
    part = VideoPart(whole, start=0.5, end=1.2)
    timed = list(part.timed())
    assert values(frame.pixels for frame in timed) == [5, 6, 7, 8, 9, 10, 11]
    times = [float(frame.timestamp * part.time_base) for frame in timed]
    assert times == pytest.approx([number / RATE for number in range(7)])
    assert part.count == 7
    assert values(VideoPart(whole, frames=3)) == [0, 1, 2]
    assert values(VideoPart(whole, start=1.8)) == [18, 19]


def test_mistakes_are_told(tmp_path):
    whole = video(tmp_path / "a.mp4", frames=5)
    with pytest.raises(UserError, match="ends before 2 s"):
        VideoPart(whole, start=2.0)
    with pytest.raises(UserError, match="before it starts at 0.4 s"):
        VideoPart(whole, start=0.4, end=0.4)
    for text in ("", "x", "1:2f", "-3"):
        with pytest.raises(UserError, match="is no time"):
            time_of(text)


def test_times_are_read_as_seconds_minutes_or_frames():
    times = [time_of(text) for text in ("12.5", "1:02.5", "50f")]
    assert times == [12.5, 62.5, 50] and isinstance(times[2], int)


def test_frames_count_however_long_they_are(tmp_path):
    """The header's mean rate of a short clip is not that of its frames."""
    whole = video(tmp_path / "a.mp4", frames=12)
    assert values(VideoPart(whole, start=3, end=8)) == [3, 4, 5, 6, 7]
    assert values(VideoPart(whole, start=0.9, end=11)) == [9, 10]


def test_a_copy_is_shrunk_to_even_sides(tmp_path):
    part = VideoPart(video(tmp_path / "a.mp4", size=(62, 98)), longest=50)
    assert copy_video(part, tmp_path / "b.mp4") == 20
    copy = VideoFile(tmp_path / "b.mp4")
    assert copy.size == (30, 50)
    assert values(copy) == list(range(20))


def test_sound_is_cut_with_the_frames(tmp_path):
    """Each tenth of a second of the sound says when it was, so a shift would show."""
    part = VideoPart(with_sound(tmp_path / "a.mkv"), start=0.5, end=1.2)
    copy_video(part, tmp_path / "b.mkv")
    with av.open(str(tmp_path / "b.mkv")) as container:
        sound = container.streams.audio[0]
        heard = {}
        for frame in container.decode(sound):
            heard[round(float(frame.pts * frame.time_base), 3)] = int(frame.to_ndarray()[0, 0])
    assert min(heard) == 0.0 and max(heard) < 0.7
    for time, value in heard.items():
        assert value == 100 * round((time + 0.5) * RATE)
