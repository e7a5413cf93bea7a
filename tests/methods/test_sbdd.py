"""generate.py sbdd: clips from videos and from pictures."""

import cv2
import numpy as np
import pytest

from data.catalog import find_videos
from methods.sbdd import generate
from methods.sbdd.config import GenerateConfig
from tests.utils.test_video import make_file
from utils.errors import UserError
from utils.image import read_image, write_image


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        scene = cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (120, 90), interpolation=cv2.INTER_CUBIC)
        write_image(tmp_path / "in" / f"{name}.png", scene)
    return GenerateConfig(tmp_path / "in", tmp_path / "out", source="pictures", exposure=0.8, frames=4, blur=6.0, height=48, width=64)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png") if path.parent != folder}


def test_clips_of_pictures_are_a_data_set(pictures):
    generate.main(pictures)
    found = find_videos(pictures.output_dir, need_sharp=True)
    assert found.layout == "clips" and [video.name for video in found.videos] == ["one", "two"]
    assert all(len(video.blurry) == 4 for video in found.videos)
    blurry, sharp = (read_image(paths[1]).astype(float) for paths in (found.videos[0].blurry, found.videos[0].sharp))
    assert blurry.shape == (48, 64, 3) and np.abs(np.diff(blurry, axis=1)).sum() < np.abs(np.diff(sharp, axis=1)).sum()
    assert (pictures.output_dir / "contact_sheet.png").is_file()


def test_a_clip_depends_on_seed_and_name_alone(pictures, tmp_path):
    generate.main(pictures)
    before = contents(pictures.output_dir)
    for path in (pictures.output_dir / "blur" / "two").iterdir():
        path.unlink()
    (pictures.output_dir / "blur" / "two").rmdir()  # as after a stop
    (pictures.data_path / "one.png").unlink()
    generate.main(pictures)
    assert contents(pictures.output_dir) == before


def test_exposures_over_a_video(tmp_path):
    make_file(tmp_path / "in.mp4", [index * 40 for index in range(12)])
    generate.main(GenerateConfig(tmp_path / "in.mp4", tmp_path / "out", exposure=3.0, stride=2, interpolate=False))
    (video,) = find_videos(tmp_path / "out").videos
    assert video.frames == ["00001", "00003", "00005", "00007", "00009"]  # the middle frames
    blurry, sharp = (read_image(paths[2]).mean() for paths in (video.blurry, video.sharp))
    assert blurry == pytest.approx(sharp, abs=1)  # brightness rises evenly from frame to frame
    generate.main(GenerateConfig(tmp_path / "in.mp4", tmp_path / "smooth", exposure=1.0))
    assert find_videos(tmp_path / "smooth").videos[0].frames == [f"{index:05d}" for index in range(1, 11)]


def test_mistakes_are_sentences(pictures, tmp_path):
    from dataclasses import replace

    for changes, message in (
        ({"exposure": 1.5}, "at most 1 frame interval, got 1.5"),
        ({"exposure": 0.0}, "must be positive"),
        ({"width": 500}, "one.png is 120x90, smaller than the window 500x48"),
        ({"data_path": tmp_path / "none"}, "no folder at"),
        ({"source": "videos", "exposure": 1.0, "interpolate": False}, "holds a single frame"),
    ):
        with pytest.raises(UserError, match=message):
            generate.main(replace(pictures, **changes))
    make_file(tmp_path / "short.mp4", [0, 40])
    with pytest.raises(UserError, match="video short is too short: an exposure of 3 intervals needs 5 frames"):
        generate.main(GenerateConfig(tmp_path / "short.mp4", tmp_path / "out"))
    assert not (tmp_path / "out" / "blur" / "short").exists()
