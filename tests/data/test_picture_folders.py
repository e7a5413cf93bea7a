"""Folders as users have them: links, crops, whole data sets, lists of Windows."""

from pathlib import Path

import numpy as np
import pytest

from data.photo_catalog import find_pairs, find_pictures, find_sharp
from data.picture_names import held_out_in, of_training, sharp_line
from data.synthesis.kernels import load_kernels
from methods.image_deblur.config import TrainConfig
from methods.image_deblur.training_data import TrainingData
from utils.config import parse
from utils.errors import UserError
from utils.files import files_below
from utils.image import write_image

PIXELS = np.zeros((8, 8, 3), np.uint8)


def pictures(root: Path, *names: str) -> Path:
    for name in names:
        write_image(root / name, PIXELS)
    return root


def found(root: Path, **settings) -> dict[str, tuple[str, str]]:
    """{key: (blurry, sharp)} of find_pairs, relative to the root."""
    pairs = find_pairs(root, need_sharp=True, **settings).pictures
    return {
        pair.name: tuple(str(path.relative_to(root)) for path in (pair.blurry, pair.sharp))
        for pair in pairs
    }


def test_links_to_folders_are_followed(tmp_path):
    pictures(tmp_path / "store", "a/0.png", "a/1.png", "b/0.png", "b/1.png")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "input").symlink_to("../store/a")
    (linked / "target").symlink_to(tmp_path / "store/b", target_is_directory=True)
    assert found(linked) == {
        name: (f"input/{name}.png", f"target/{name}.png") for name in ("0", "1")
    }
    np.save(tmp_path / "k.npy", np.ones((3, 3)))
    (tmp_path / "more").mkdir()
    (tmp_path / "k.npy").rename(tmp_path / "more/k.npy")
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels/linked").symlink_to(tmp_path / "more")
    assert list(load_kernels(tmp_path / "kernels", 3)) == ["k"]


def test_a_circle_of_links_ends_and_a_folder_is_read_once(tmp_path):
    pictures(tmp_path, "a/0.png", "z/1.png")
    (tmp_path / "a/back").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "z")
    (tmp_path / "itself").symlink_to("itself")
    names = {str(path.relative_to(tmp_path)) for path in find_pictures(tmp_path)}
    assert names == {"a/0.png", "z/1.png"}
    assert len(list(files_below(tmp_path))) == len(set(files_below(tmp_path)))


@pytest.mark.parametrize(
    ("blurry", "sharp"),
    [("blur_crops", "sharp_crops"), ("lq", "gt"), ("LQ", "HQ"), ("input_crops", "target_crops")],
)
def test_names_like_those_of_pairs_are_pairs(blurry, sharp, tmp_path):
    pictures(tmp_path, *(f"{folder}/{n}.png" for folder in (blurry, sharp) for n in range(2)))
    assert found(tmp_path) == {f"{n}": (f"{blurry}/{n}.png", f"{sharp}/{n}.png") for n in range(2)}
    assert [path.parent.name for path in find_sharp(tmp_path)] == [sharp, sharp]


@pytest.mark.parametrize(
    ("train", "held_out"),
    [
        ("train/{}", "test/{}"),
        ("{}", "val/{}"),
        ("Train/a/{}", "Testing/a/{}"),
        ("GoPro_train/{}", "GoPro_test/{}"),
        ("train_blur/{}", "val_blur/{}"),
    ],
)
def test_validation_and_test_are_not_trained_on(train, held_out, tmp_path):
    for form in (train, held_out):
        if "blur" in form:
            folder = form.removesuffix("_blur/{}")
            pictures(tmp_path, f"{folder}_blur/v/0.png", f"{folder}_sharp/v/0.png")
        else:
            pictures(tmp_path, form.format("input/0.png"), form.format("target/0.png"))
    folder = train.partition("/")[0].format("input")
    trained = find_pairs(tmp_path, need_sharp=True, training=True).pictures
    assert [pair.blurry.relative_to(tmp_path).parts[0] for pair in trained] == [folder]
    assert len(find_sharp(tmp_path, training=True)) == 1
    assert len(held_out_in(find_pictures(tmp_path), tmp_path)) == 2


def test_a_folder_of_test_pictures_alone_is_read(tmp_path):
    pictures(tmp_path, "test/input/0.png", "test/target/0.png", "contest/a.png", "tests.png")
    assert len(of_training(find_pictures(tmp_path), tmp_path)) == 2
    assert len(find_pairs(tmp_path / "test", training=True).pictures) == 1


def config(path: Path) -> TrainConfig:
    words = ["--config", "tiny", "--data_path", str(path)]
    return parse(TrainConfig, "image_deblur", "train", words)


def test_a_line_says_what_is_trained_on(tmp_path):
    whole = pictures(
        tmp_path / "whole",
        *(f"{part}/{kind}/0.png" for part in ("train", "test") for kind in ("input", "target")),
    )
    assert TrainingData(config(whole)).line() == (
        "training on 1 pairs: input/ beside target/; 2 pictures in test/ are left out"
    )
    crops = pictures(tmp_path / "crops", "blur_crops/0.png", "sharp_crops/0.png")
    assert (
        TrainingData(config(crops)).line() == "training on 1 pairs: blur_crops/ beside sharp_crops/"
    )
    others = pictures(tmp_path / "others", "A/0.png", "B/0.png")
    line = TrainingData(config(others)).line()
    assert "2 sharp pictures, which are blurred for training" in line and "A/, B/;" in line
    many = [tmp_path / f"{folder}/0.png" for folder in "abcd"]
    assert "4 sharp pictures" in sharp_line(many, tmp_path)
    assert "a/, b/, c/, ...;" in sharp_line(many, tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "\ufefftarget/0.png input/0.png\r\ntarget/1.png input/1.png\r\n",
        "target\\0.png input\\0.png\ntarget\\1.png input\\1.png",
        '"target/0.png" "input/0.png"\n"target/1.png" input/1.png\n\n',
        "target/0.png\tinput/0.png\ntarget/1.png\tinput/1.png\n",
    ],
    ids=["BOM and CRLF", "backslashes", "quoted", "tabs"],
)
def test_lists_as_editors_write_them(line, tmp_path):
    pictures(tmp_path, *(f"{kind}/{n}.png" for kind in ("input", "target") for n in range(2)))
    (tmp_path / "list.txt").write_bytes(line.encode())
    pairs = find_pairs(tmp_path / "list.txt").pictures
    assert [(pair.blurry.name, pair.sharp.parent.name) for pair in pairs] == [
        ("0.png", "target"),
        ("1.png", "target"),
    ]


@pytest.mark.parametrize("separator", ["\t", '" "'])
def test_names_with_blanks_in_a_list(separator, tmp_path):
    pictures(tmp_path, "input/a b.png", "target/a b.png")
    quote = '"' if separator != "\t" else ""
    line = f"{quote}input/a b.png{separator}target/a b.png{quote}\n"
    (tmp_path / "list.txt").write_text(line)
    assert [pair.name for pair in find_pairs(tmp_path / "list.txt").pictures] == ["a b"]
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="can't be read as a list of files"):
        find_pairs(tmp_path / "list.txt")
