"""test.py sbdd: registered comparison of real pairs, paired by the data sets' own names."""

import json

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from data.photo_catalog import pair_key
from methods.sbdd import test
from methods.sbdd.config import TestConfig as ScoreConfig  # pytest would collect Test...
from utils.errors import UserError
from utils.image import write_image


@pytest.fixture
def vectors(golden):
    found = golden("sbdd_ecc")
    return {key: value.numpy() for key, value in found.arrays.items()}, found.manifest["values"]


@pytest.fixture
def realblur(vectors, tmp_path):
    images, _ = vectors
    for scene, name in (("scene001", "small"), ("scene244_reflect", "large")):
        write_image(tmp_path / f"data/{scene}/blur/blur_3.png", images["blurred"])
        write_image(tmp_path / f"truth/{scene}/gt/gt_3.png", images["gt"])
        write_image(
            tmp_path / f"results/{scene.removesuffix('_reflect')}_blur_3.png",
            images[f"{name}_restored"],
        )
    return ScoreConfig(
        sharp_dir=tmp_path / "truth",
        restored_dir=tmp_path / "results",
        blurry_dir=tmp_path / "data",
    )


def test_figures_of_realblur_are_the_authors(vectors, realblur, capsys):
    _, values = vectors
    scores = test.main(realblur)
    assert [row["name"] for row in scores.rows] == ["scene001_3", "scene244_3"]
    for row, name in zip(scores.rows, ("small", "large")):
        assert row["psnr"] == pytest.approx(values[name]["deblur_psnr"], abs=1e-3)
        assert row["ssim"] == pytest.approx(values[name]["deblur_ssim"], abs=1e-4)
        assert row["input_psnr"] == pytest.approx(values[name]["blur_psnr"], abs=1e-3)
    folder = realblur.restored_dir / "scores"
    summary = json.loads((folder / "scores.json").read_text())
    assert summary["protocol"] == "realblur" and "ssim" not in summary["input_mean"]
    assert "the input is compared unregistered" in capsys.readouterr().out
    assert (folder / "report.html").is_file() and (folder / "scores.csv").is_file()
    assert test.main(realblur).mean == scores.mean  # the results' own folder is not scored


@pytest.mark.parametrize("kind", ["mat", "folders"])
def test_figures_of_koehler_are_the_authors(vectors, tmp_path, kind):
    images, values = vectors
    write_image(tmp_path / "blurry/Blurry1_4.png", images["kohler_blur"])
    write_image(tmp_path / "results/Blurry1_4.png", images["kohler_restored"])
    (tmp_path / "truth").mkdir()
    if kind == "mat":
        savemat(tmp_path / "truth/GroundTruth1_4.mat", {"GroundTruth": images["kohler_gt"]})
    else:
        for frame in range(3):
            write_image(
                tmp_path / f"truth/GroundTruth1_4/{frame}.png", images["kohler_gt"][..., frame]
            )
    folders = {
        "sharp_dir": tmp_path / "truth",
        "restored_dir": tmp_path / "results",
        "blurry_dir": tmp_path / "blurry",
    }
    (row,) = test.main(ScoreConfig(**folders, protocol="kohler", output_dir=tmp_path / "out")).rows
    assert row["psnr"] == pytest.approx(values["kohler"]["best_deblur_psnr"], abs=1e-3)
    assert row["ssim"] == pytest.approx(values["kohler"]["best_deblur_ssim"], abs=1e-4)
    assert row["input_psnr"] == pytest.approx(values["kohler"]["blur_psnr"], abs=1e-3)


def test_images_that_cannot_be_registered_are_named(realblur, capsys):
    write_image(realblur.restored_dir / "scene001_blur_3.png", np.full((240, 260, 3), 80, np.uint8))
    scores = test.main(realblur)
    assert [row["aligned"] for row in scores.rows] == [False, True]
    assert (
        "1 images could not be registered and were compared as they are: scene001_3"
        in capsys.readouterr().out
    )


def test_unpaired_and_odd_files_are_named(realblur, vectors):
    write_image(realblur.restored_dir / "scene009_blur_1.png", vectors[0]["gt"])
    with pytest.raises(
        UserError, match="holds 1 images without ground truth in .*, the first is scene009_1"
    ):
        test.main(realblur)
    (realblur.restored_dir / "scene009_blur_1.png").unlink()
    write_image(
        realblur.restored_dir / "scene001_blur_3.png", cv2.resize(vectors[0]["gt"], (100, 90))
    )
    with pytest.raises(UserError, match="scene001_blur_3.png is 100x90, but .*gt_3.png 260x240"):
        test.main(realblur)
    (realblur.restored_dir / "scene001_blur_3.png").unlink()
    with pytest.raises(
        UserError, match="lacks 1 of the 2 images to score, the first is scene001_3"
    ):
        test.main(realblur)
    with pytest.raises(UserError, match="give --restored_dir"):
        test.main(ScoreConfig())


def test_names_of_the_data_sets(tmp_path):
    for names in (
        (
            "GOPR0384_11_00/blur/000001.png",
            "GOPR0384_11_00/sharp/000001.jpg",
            "GOPR0384_11_00_000001.png",
        ),
        ("scene001/blur/blur_12.png", "scene001/gt/gt_12.png", "scene001_blur_12.png"),
        ("scene244_reflect/blur/blur_2.png", "scene244_blur_2.jpg"),
        ("Blurry1_4.png", "GroundTruth1_4.mat", "Blurry1_4.jpg"),
        ("input/a-1.png", "target/a-1.png"),
        ("street/blur_of_the_day.png", "street_blur_of_the_day.png"),
    ):
        assert len({pair_key(tmp_path / name, tmp_path) for name in names}) == 1
