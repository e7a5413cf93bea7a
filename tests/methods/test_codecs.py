"""--codec: what a restored file is encoded as, read back; depth, colours, times and sound stay."""

from pathlib import Path

import av
import numpy as np
import pytest

from methods.image_deblur.config import InferenceConfig
from methods.image_deblur.inference import main
from tests.commands import pattern, sentence
from tests.utils.test_video import make_file, milliseconds, psnr, sound_packets
from tests.utils.test_video_properties import make
from utils.image import in_8bit, write_image
from utils.video import VideoFile

TIMES = [0, 33, 70, 170, 190]
BT2020_PQ = (9, 16, 9)


@pytest.fixture
def restored(tmp_path):
    """A function that restores a video not at all, so that the result shows the codec alone."""

    def run(source: Path, **options) -> Path:
        out = tmp_path / "out"
        options = {"strength": 0.0, "report": False, "device": "cpu"} | options
        main(InferenceConfig(source, output_dir=out, **options))
        return next(out.glob(f"{source.stem}.m*"))

    return run


def stream_of(path: Path) -> tuple[str, str]:
    """(codec, pixel format) of a file."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.codec.canonical_name, context.pix_fmt


@pytest.mark.parametrize(
    ("codec", "suffix", "pixels"),
    [("h264", ".mp4", "yuv420p"), ("hevc", ".mp4", "yuv420p"), ("ffv1", ".mkv", "bgr0")],
)
def test_eight_bits(restored, tmp_path, codec, suffix, pixels):
    source = make_file(tmp_path / "a.mp4", TIMES, sound=True)
    made = restored(source, codec=codec)
    assert made.suffix == suffix and stream_of(made) == (codec, pixels)
    again = VideoFile(made)
    times = milliseconds(again)  # Matroska starts with the sound, 23 ms earlier
    assert [time - times[0] for time in times] == TIMES
    assert sound_packets(made) == sound_packets(source)
    assert again.properties.colours == VideoFile(source).properties.colours
    for frame, before in zip(again, VideoFile(source), strict=True):
        assert psnr(frame, before) > 40
        assert codec != "ffv1" or np.array_equal(frame, before)


@pytest.mark.parametrize(
    ("codec", "pixels"), [("hevc", "yuv420p10le"), (None, "yuv420p10le"), ("ffv1", "gbrp16le")]
)
def test_ten_bits_of_hdr(restored, tmp_path, codec, pixels):
    frames = [pattern((48, 64), 1).astype(np.uint16) * 257] * 4  # x265 spoils the times of fewer
    options = {"x265-params": "log-level=error:crf=2"}
    source = make(tmp_path / "a.mp4", frames, "libx265", "yuv420p10le", options, BT2020_PQ)
    made = restored(source, codec=codec)
    assert stream_of(made) == (codec or "hevc", pixels)
    again = VideoFile(made)
    colours = again.properties.colours
    assert (colours.primaries, colours.transfer) == BT2020_PQ[:2] and again.properties.deep
    for frame, before in zip(again, VideoFile(source), strict=True):
        assert frame.dtype == np.uint16 and psnr(in_8bit(frame), in_8bit(before)) > 34
        assert codec != "ffv1" or np.array_equal(frame, before)


def test_h264_refuses_what_it_would_not_keep(run_command, tmp_path):
    frames = [pattern((48, 64)).astype(np.uint16) * 257] * 4
    options = {"x265-params": "log-level=error"}
    source = make(tmp_path / "a.mp4", frames, "libx265", "yuv420p10le", options)
    out = tmp_path / "out"
    words = f"--device cpu --data_path {source} --output_dir {out} --codec h264"
    sentence(run_command(f"inference.py image_deblur {words}"), "more than 8 bits", "--codec hevc")
    assert not list(out.glob("*.mp4"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--codec hevc --lossless", "leave --codec hevc out"),
        ("--codec ffv1 --crf 20", "--crf 20 says nothing beside --codec ffv1"),
        ("--lossless --crf 20", "--crf 20 says nothing beside --lossless"),
        ("--crf 52", "--crf 52: a number of at most 51 is needed"),
        ("--codec hevc --data_path {photo}", "--codec hevc is of video files, not of pictures"),
    ],
)
def test_a_combination_that_can_not_be(run_command, tmp_path, words, said):
    video = make_file(tmp_path / "a.mp4", [0, 40])
    write_image(tmp_path / "photo/a.png", pattern())
    words = words.format(photo=tmp_path / "photo")
    if "--data_path" not in words:
        words += f" --data_path {video}"
    out = tmp_path / "out"
    done = run_command(f"inference.py image_deblur --device cpu --output_dir {out} {words}")
    sentence(done, said)
