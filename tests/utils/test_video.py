from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from utils.errors import UserError
from utils.image import write_image
from utils.video import FrameFolder, VideoFile
from utils.video_encoding import Encoding
from utils.video_writer import VideoWriter


def scene(index: int, size=(48, 64)) -> np.ndarray:
    """A smooth coloured frame whose mean says which frame it is."""
    rng = np.random.default_rng(0)
    noise = rng.integers(30, 120, (5, 6, 3), dtype=np.uint8)
    pattern = cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC)
    return pattern + np.uint8(4 * index)


def make_file(
    path: Path,
    timestamps: list[int],
    size=(48, 64),
    sound: bool = False,
    rotation: int = 0,
    rate: int = 30,
) -> Path:
    """A near-lossless test video whose frames are shown at `timestamps` / 1000 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = size
        odd = size[0] % 2 or size[1] % 2
        stream.pix_fmt = "yuv444p" if odd else "yuv420p"
        stream.options = {"crf": "1"}
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1
        if rotation:
            stream.set_display_rotation(rotation)
        audio = container.add_stream("aac", rate=44100, layout="mono") if sound else None
        for index, timestamp in enumerate(timestamps):
            frame = av.VideoFrame.from_ndarray(scene(index % 60, size), "rgb24")
            frame = frame.reformat(format=stream.pix_fmt, dst_colorspace="ITU709")
            frame.pts = timestamp
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio:
            tone = np.sin(np.arange(44100 * timestamps[-1] // 1000) / 30) * 8000
            block = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], "s16", "mono")
            block.sample_rate = 44100
            block.pts = 0
            container.mux(audio.encode(block))
            container.mux(audio.encode())
    return path


def copy(source: VideoFile, target: Path, **options) -> None:
    with VideoWriter(target, source, **options) as writer:
        for timestamp, duration, pixels in source.timed():
            writer.write(pixels, timestamp, duration)


def milliseconds(video: VideoFile) -> list[int]:
    """The timestamps of a video."""
    return [round(float(frame.timestamp * video.time_base) * 1000) for frame in video.timed()]


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [
            bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size
        ]


def psnr(one: np.ndarray, two: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - two) ** 2)))


def test_frames_come_back_exactly_and_in_order(tmp_path):
    source = VideoFile(make_file(tmp_path / "a.mp4", [index * 40 for index in range(12)]))
    assert (source.count, source.size) == (12, (48, 64))
    frames = list(source)
    assert [round((frame.mean() - frames[0].mean()) / 4) for frame in frames] == list(range(12))
    assert psnr(frames[3], scene(3)) > 38
    # FFmpeg's default conversion darkens by more than a level
    assert abs(frames[3].mean() - scene(3).mean()) < 0.3


def test_copy_keeps_timestamps_sound_and_tags(tmp_path):
    timestamps = [0, 33, 70, 170, 190, 400, 420]  # variable frame rate
    source = VideoFile(make_file(tmp_path / "a.mp4", timestamps, sound=True))
    copy(source, tmp_path / "b.mp4")
    again = VideoFile(tmp_path / "b.mp4")
    assert milliseconds(again) == timestamps
    assert sound_packets(tmp_path / "b.mp4") == sound_packets(tmp_path / "a.mp4")
    assert psnr(list(again)[4], list(source)[4]) > 40
    with av.open(str(tmp_path / "b.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert int(context.colorspace) == int(context.color_primaries) == 1
        assert int(context.color_trc) == int(context.color_range) == 1
    assert not list(tmp_path.glob("*partial*"))


def test_lossless_is_lossless(tmp_path):
    source = VideoFile(make_file(tmp_path / "a.mp4", [0, 40, 80]))
    copy(source, tmp_path / "b.mkv", encoding=Encoding(lossless=True))
    for one, two in zip(source, VideoFile(tmp_path / "b.mkv"), strict=True):
        assert np.array_equal(one, two)


def test_odd_sizes_keep_their_size(tmp_path):
    source = VideoFile(make_file(tmp_path / "a.mp4", [0, 40, 80], size=(47, 63)))
    copy(source, tmp_path / "b.mp4")
    assert VideoFile(tmp_path / "b.mp4").size == (47, 63)


@pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"),
    reason="this PyAV can't write a rotation to read back",
)
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_frames_are_upright(tmp_path, rotation):
    source = VideoFile(make_file(tmp_path / "a.mp4", [0, 40], rotation=rotation))
    assert source.size == ((48, 64) if rotation == 180 else (64, 48))
    (first, _) = source
    with av.open(str(tmp_path / "a.mp4")) as container:
        angle = next(container.decode(video=0)).rotation
    assert angle % 360 in (rotation, 360 - rotation)
    assert psnr(first, np.rot90(scene(0), angle // 90)) > 36
    copy(source, tmp_path / "b.mp4")
    assert VideoFile(tmp_path / "b.mp4").size == source.size


def test_an_interrupted_writer_leaves_a_playable_part(tmp_path):
    source = VideoFile(
        make_file(tmp_path / "a.mp4", [index * 40 for index in range(10)], sound=True)
    )
    (tmp_path / "b.mp4").write_bytes(b"earlier result")
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "b.mp4", source) as writer:
        for index, (timestamp, _, pixels) in enumerate(source.timed()):
            if index == 6:
                raise KeyboardInterrupt
            writer.write(pixels, timestamp)
    assert (tmp_path / "b.mp4").read_bytes() == b"earlier result"
    assert len(list(VideoFile(tmp_path / "b.partial.mp4"))) == 6


def test_damage_is_one_sentence(tmp_path):
    whole = make_file(tmp_path / "a.mp4", [index * 40 for index in range(30)], sound=True)
    with pytest.raises(UserError, match="no such video"):
        VideoFile(tmp_path / "none.mp4")
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(UserError, match="cut.mp4 can't be opened as a video, it may be truncated"):
        VideoFile(tmp_path / "cut.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(UserError, match="empty.mp4 can't be opened"):
        VideoFile(tmp_path / "empty.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        audio = container.add_stream("aac", rate=44100, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), "s16", "mono")
        block.sample_rate = 44100
        container.mux(audio.encode(block))
        container.mux(audio.encode())
    with pytest.raises(UserError, match="has no video stream, only audio"):
        VideoFile(tmp_path / "sound.mp4")


def test_a_file_that_ends_early_is_said_at_its_end(tmp_path):
    whole = make_file(tmp_path / "a.mp4", [index * 40 for index in range(30)])
    with (
        av.open(str(whole)) as source,
        av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = (tmp_path / "fast.mp4").read_bytes()
    # the index stands in front and promises 30 frames
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    frames = 0
    with pytest.raises(UserError, match="of 30 frames: it is truncated|is damaged"):
        for _ in VideoFile(tmp_path / "cut.mp4"):
            frames += 1
    assert 0 < frames < 30


def test_frames_that_an_edit_list_cuts_off_are_not_missed(tmp_path):
    """A trimmed clip, as phones make them: the file still holds the frames before its start."""
    whole = make_file(tmp_path / "a.mp4", [index * 40 for index in range(30)])
    options = {"avoid_negative_ts": "disabled"}
    with (
        av.open(str(whole)) as source,
        av.open(str(tmp_path / "trimmed.mp4"), "w", options=options) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                shift = round(0.2 / packet.time_base)
                packet.pts -= shift
                packet.dts -= shift
                packet.stream = stream
                target.mux(packet)
    video = VideoFile(tmp_path / "trimmed.mp4")
    assert video.count == 30
    shown = [round(float(pixels.mean() - scene(5).mean()) / 4) for pixels in video]
    assert shown == list(range(25))


def test_no_frames(tmp_path):
    with pytest.raises(UserError, match="none.mkv has no frames|none.mkv can't be opened"):
        with av.open(str(tmp_path / "none.mkv"), "w") as container:
            stream = container.add_stream("libx264", rate=30)
            stream.width = 64
            stream.height = 48
            stream.pix_fmt = "yuv420p"
            container.start_encoding()
        VideoFile(tmp_path / "none.mkv")


def test_frame_folder(tmp_path):
    for index in range(3):
        write_image(tmp_path / f"{index}.png", scene(index))
    folder = FrameFolder(tuple(sorted(tmp_path.iterdir())))
    assert (folder.count, folder.size) == (3, (48, 64))
    assert np.array_equal(list(folder)[2], scene(2))
