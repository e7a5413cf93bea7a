"""Single pictures of every data set: which are blurry, which sharp, which belong together."""

import numpy as np
import pytest

from data.photo_catalog import find_pairs, find_results
from utils.errors import UserError
from utils.image import write_image

PIXELS = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture
def write(tmp_path):
    def make(*names):
        for name in names:
            write_image(tmp_path / name, PIXELS)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("files", "names"),
    [
        # GoPro
        (
            ("v1/blur/1.png", "v1/sharp/1.png", "v2/blur/1.png", "v2/sharp/1.png"),
            ["v1_1", "v2_1"],
        ),
        # HIDE, RealBlur and GoPro repackaged
        (("input/a-1.png", "input/b.png", "target/a-1.png", "target/b.png"), ["a-1", "b"]),
        # REDS
        (("val_blur/000/0.png", "val_sharp/000/0.png"), ["000_0"]),
        (("train/train_blur_jpeg/000/0.jpg", "train/train_sharp/000/0.png"), ["train_000_0"]),
        # RealBlur
        (("scene001/blur/blur_2.png", "scene001/gt/gt_2.png"), ["scene001_2"]),
        # DVD
        (("v/input/00.jpg", "v/GT/00.jpg"), ["v_00"]),
        # generate.py sbdd
        (("blurry/a_0.png", "sharp/a_0.png", "contact_sheet.jpg"), ["a_0"]),
        # somebody's photos
        (("a.png", "trip/b.jpg", "trip/b.png"), ["a", "trip/b.jpg", "trip/b.png"]),
    ],
)
def test_layouts(write, files, names):
    found = find_pairs(write(*files)).pictures
    assert [picture.name for picture in found] == names
    sharp = any("sharp" in file or "target" in file or "gt" in file.lower() for file in files)
    assert all(
        (picture.sharp is not None) == sharp and picture.blurry.is_file() for picture in found
    )
    if sharp:
        assert all(picture.blurry != picture.sharp and picture.sharp.is_file() for picture in found)


def test_exact_blurs_are_never_exchanged(write):
    root = write("v/blur_gamma/1.png", "v/sharp/1.png")
    assert find_pairs(root).pictures[0].blurry.parent.name == "blur_gamma"  # the only one there is
    with pytest.raises(
        UserError, match="holds the blurry folders blur_gamma: choose one with --blur_folder"
    ):
        find_pairs(root, "blur")
    write("v/blur/1.png")
    assert find_pairs(root).pictures[0].blurry.parent.name == "blur"
    assert find_pairs(root, "blur_gamma").pictures[0].blurry.parent.name == "blur_gamma"


def test_what_has_no_partner_is_named(write):
    root = write("input/a.png", "input/b.png", "input/c.png", "target/a.png", "target/d.png")
    with pytest.raises(
        UserError, match="found 1 pairs, 2 without ground truth: b, c; 1 without a blurry frame: d"
    ):
        find_pairs(root)
    with pytest.raises(UserError, match="are the same picture a by their names"):
        find_pairs(write("input/a.jpg"))


def test_needed_ground_truth_is_asked_for(write):
    with pytest.raises(
        UserError,
        match="no ground truth in .*: folders called blur, .* and sharp, gt, target, hq are",
    ):
        find_pairs(write("photos/a.png"), need_sharp=True)
    with pytest.raises(UserError, match="no folder at .*nothing"):
        find_pairs(write("a.png") / "nothing")


def test_published_sets_are_recognised_by_their_number(monkeypatch, write):
    monkeypatch.setattr("data.photo_catalog.PUBLISHED_PAIRS", (("Tiny test", 1),))
    assert find_pairs(write("input/a.png", "target/a.png")).remark == "as many as Tiny test has"


def test_results_leave_out_their_own_scores(write):
    root = write("out/a.png", "out/contact_sheet.jpg", "out/scores/panel.png", "gt/a.png")
    (triple,) = find_results(
        root / "out", root / "gt", None, "image", leave_out=root / "out/scores"
    )
    assert (triple.name, triple.restored.name, triple.blurry) == ("a", "a.png", None)
