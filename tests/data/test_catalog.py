import shutil

import numpy as np
import pytest

from data.catalog import DVD_TEST_VIDEOS, find_videos
from data.photo_catalog import find_pictures
from tests.conftest import LAYOUT_FILES
from utils.errors import UserError
from utils.image import read_image, write_image


@pytest.mark.parametrize("layout", LAYOUT_FILES)
def test_every_layout_is_recognised_and_paired(make_videos, layout):
    root = make_videos(layout, {"v_2": 3, "v_10": 12})
    found = find_videos(root)
    assert found.layout == {"gopro_flat": "gopro"}.get(layout, layout)
    assert [video.name for video in found.videos] == ["v_2", "v_10"]  # natural order
    assert [len(video.blurry) for video in found.videos] == [3, 12]
    for video in found.videos:
        numbers = [int(frame.split("_")[-1]) for frame in video.frames]
        assert numbers == list(range(len(video.frames)))
        if layout != "frames":
            assert [path.stem for path in video.sharp] == video.frames
            difference = read_image(video.blurry[1]).astype(int) - read_image(video.sharp[1])
            assert np.abs(difference).mean() < 40


def test_one_folder_of_frames_is_one_video(make_videos):
    root = make_videos("frames", {"holiday": 3})
    (video,) = find_videos(root / "holiday").videos
    assert video.name == "holiday" and not video.sharp


def test_gopro_blur_is_an_explicit_choice(make_videos):
    root = make_videos("gopro")
    video = find_videos(root, gopro_blur="blur_gamma").videos[0]
    assert {path.parent.name for path in video.blurry} == {"blur_gamma"}
    shutil.rmtree(root / "a" / "blur")
    message = "video a has no folder blur, only blur_gamma: choose it with --gopro_blur"
    with pytest.raises(UserError, match=message):
        find_videos(root)


def test_counts_of_published_splits(make_videos):
    root = make_videos("gopro", {f"GOPR{i:04d}": 1 for i in range(11)}, size=(4, 4))
    assert find_videos(root).remark == "found 11 of the 1111 frames of GoPro test"
    assert find_videos(make_videos("clips")).remark == ""
    root = make_videos("dvd", dict.fromkeys(DVD_TEST_VIDEOS[:-1], 1), size=(4, 4))
    assert find_videos(root).remark == "found 9 of the 10 videos of DVD test, missing IMG_0049"
    make_videos("dvd", {"IMG_0049": 991}, size=(1, 1), root=root)
    assert find_videos(root).remark == "the whole of DVD test"


def test_extensions_may_differ(make_videos):
    root = make_videos("clips")
    for path in (root / "gt" / "a").iterdir():
        write_image(path.with_suffix(".bmp"), read_image(path))
        path.unlink()
    assert len(find_videos(root).videos[0].sharp) == 6


def damage_cases():
    def remove(name):
        return lambda root: (root / name).unlink()

    def other_size(root):
        write_image(root / "blur/b/00003.png", np.zeros((30, 32, 3), np.uint8))

    def rename(root):
        (root / "blur/a/00002.png").rename(root / "blur/a/00077.png")

    def twice(root):
        shutil.copy(root / "blur/a/00002.png", root / "blur/a/00002.bmp")

    return [
        (remove("gt/a/00002.png"), "video a: found 5 pairs, 1 without ground truth: 00002"),
        (remove("blur/b/00001.png"), "video b: found 6 pairs, 1 without a blurry frame: 00001"),
        (
            rename,
            "video a: found 5 pairs, 1 without ground truth: 00077; 1 without a blurry frame: "
            "00002",
        ),
        (twice, "video a: two frames are called 00002"),
        (other_size, "video b: .*00003.png is 32x30, but its first frame 32x24"),
        (lambda root: shutil.rmtree(root / "gt" / "b"), "video b is in .*blur but not in .*gt"),
        (
            lambda root: [path.unlink() for path in (root / "blur/a").iterdir()],
            "video a has no frames",
        ),
    ]


@pytest.mark.parametrize(("damage", "message"), damage_cases())
def test_every_damage_names_file_and_video(make_videos, damage, message):
    root = make_videos("clips")
    damage(root)
    with pytest.raises(UserError, match=message):
        find_videos(root, need_sharp=True)


def test_missing_and_empty_folders(tmp_path, make_videos):
    with pytest.raises(UserError, match="no folder at .*nowhere: check the path"):
        find_videos(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="neither a folder, nor a video .*nor a picture"):
        find_videos(tmp_path / "file")
    with pytest.raises(UserError, match="it is a file"):
        find_pictures(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no frames in .*empty"):
        find_videos(tmp_path / "empty")
    with pytest.raises(UserError, match="no pictures in .*empty"):
        find_pictures(tmp_path / "empty")
    with pytest.raises(UserError, match="no ground truth, which this command needs"):
        find_videos(make_videos("frames"), need_sharp=True)


def test_frames_of_one_name_are_refused(make_videos):
    root = make_videos("frames", {"a": 3})
    shutil.copy(root / "a/1.png", root / "a/1.jpg")
    with pytest.raises(UserError, match="video a: two frames are called 1"):
        find_videos(root)


def test_hidden_files_are_not_frames(make_videos):
    root = make_videos("frames", {"a": 2})
    (root / "a" / "._0.png").write_bytes(b"resource fork")
    assert len(find_videos(root).videos[0].blurry) == 2


def test_video_files_and_single_pictures(tmp_path, make_videos):
    for name in ("b.mp4", "a.mov", "b.mkv", "notes.txt"):
        (tmp_path / name).touch()
    assert [video.name for video in find_videos(tmp_path).videos] == ["a", "b.mkv", "b.mp4"]
    assert find_videos(tmp_path / "a.mov").videos[0].file == tmp_path / "a.mov"
    (picture,) = find_videos(make_videos("frames", {"v": 3}) / "v" / "1.png").videos
    assert picture.name == "1" and len(picture.blurry) == 1
    write_image(tmp_path / "x.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UserError, match="both pictures .x.png.* and videos .a.mov"):
        find_videos(tmp_path)
    with pytest.raises(UserError, match="a has no ground truth"):
        find_videos(tmp_path / "a.mov", need_sharp=True)
