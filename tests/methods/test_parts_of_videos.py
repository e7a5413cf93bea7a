"""A part of a video file is restored as the whole one is: its frames, from time 0 on."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import methods
from methods.image_deblur.config import InferenceConfig as PhotoConfig
from methods.image_deblur.inference import main as image_deblur
from methods.video_deblur.config import InferenceConfig as VideoConfig
from methods.video_deblur.inference import main as video_deblur
from restoration import run
from tests.utils.test_video import psnr
from utils.errors import UserError
from utils.image import write_image
from utils.side_by_side import SideBySide
from utils.video import VideoFile
from utils.video_writer import NewVideo, VideoWriter

RATE = 10


@pytest.fixture
def clip(tmp_path) -> Path:
    path = tmp_path / "clip.mp4"
    noise = np.random.default_rng(0).integers(0, 60, (48, 64, 3), dtype=np.uint8)
    with VideoWriter(path, NewVideo((48, 64), Fraction(RATE))) as writer:
        for number in range(12):
            writer.write(noise + np.uint8(12 * number), number)
    return path


@pytest.mark.parametrize(
    ("main", "config"), [(image_deblur, PhotoConfig), (video_deblur, VideoConfig)]
)
def test_only_the_part_is_restored(clip, tmp_path, main, config):
    out = tmp_path / "out"
    main(config(clip, output_dir=out, start="0.3", end="8f", report=False, device="cpu"))
    restored = list(VideoFile(out / "clip.mp4").timed())
    given = list(VideoFile(clip))[3:8]
    assert len(restored) == 5 and restored[0].timestamp == 0
    for frame, before in zip(restored, given):
        assert abs(frame.pixels.mean() - before.mean()) < 4


def test_crf_makes_files_smaller(clip, tmp_path):
    for crf in (14, 40):
        out = tmp_path / str(crf)
        image_deblur(
            PhotoConfig(clip, output_dir=out, crf=crf, end="3f", report=False, device="cpu")
        )
    sizes = [(tmp_path / str(crf) / "clip.mp4").stat().st_size for crf in (14, 40)]
    assert sizes[1] < 0.7 * sizes[0]


def test_pictures_have_no_part(tmp_path):
    write_image(tmp_path / "in/a.png", np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(UserError, match="--start, --end and --preview are of video files"):
        image_deblur(PhotoConfig(tmp_path / "in", output_dir=tmp_path / "out", start="1"))


def test_a_path_alone_is_the_data(clip, tmp_path, monkeypatch):
    out = tmp_path / "out"
    words = [str(clip), "--output_dir", str(out), "--end", "2f", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["inference.py", "image_deblur", *words])
    assert methods.run("inference") == 0
    assert len(list(VideoFile(out / "clip.mp4"))) == 2


@pytest.mark.parametrize(
    ("main", "config"), [(image_deblur, PhotoConfig), (video_deblur, VideoConfig)]
)
def test_a_preview_shows_input_and_result_side_by_side(clip, tmp_path, monkeypatch, main, config):
    monkeypatch.setattr(run, "PREVIEW_S", 0.4)
    out = tmp_path / "out"
    options = {"start": "0.3", "report": False, "device": "cpu"}
    main(config(clip, output_dir=out, preview=True, **options))
    main(config(clip, output_dir=out, end="0.7", **options))
    preview = list(VideoFile(out / "clip.preview.mp4").timed())
    given = list(VideoFile(clip))[3:7]
    restored = list(VideoFile(out / "clip.mp4"))
    assert preview[0].timestamp == 0
    for frame, before, after in zip(preview, given, restored, strict=True):
        assert frame.pixels.shape == (48, 2 * 64 + 4, 3)
        assert psnr(frame.pixels[:, :62], before[:, :62]) > 30
        assert psnr(frame.pixels[:, 70:], after[:, 2:]) > 30


def test_a_preview_ends_with_its_part(clip, tmp_path):
    image_deblur(
        PhotoConfig(clip, output_dir=tmp_path / "out", end="2f", preview=True, device="cpu")
    )
    assert len(list(VideoFile(tmp_path / "out/clip.preview.mp4"))) == 2


def test_the_sides_of_a_large_preview_are_shrunk():
    pair = SideBySide(NewVideo((1500, 2880), Fraction(10)))
    assert pair.properties.size == (1000, 2 * 1920 + 4)
    before = np.full((1500, 2880, 3), 1000, np.uint16)
    joined = pair.joined(before, before + 5)
    assert joined.shape == (1000, 3844, 3)
    assert (joined[:, :1920] == 1000).all() and (joined[:, 1924:] == 1005).all()
    assert (joined[:, 1920:1924] == 0).all()
