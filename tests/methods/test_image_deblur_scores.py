"""test.py image_deblur, and inference.py where there is ground truth: data sets in their true
shapes, protocols, published rows.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from methods.image_deblur import inference, test
from methods.image_deblur.config import InferenceConfig
from methods.image_deblur.config import (
    TestConfig as ScoreConfig,
)  # pytest would collect a class called Test...
from models import load
from utils.errors import UserError
from utils.image import read_image, to_tensor, write_image


def test_pairs_are_scored_as_numpy_says(restore, make_videos, tmp_path):
    root = make_videos("gopro", {"a": 2, "b": 1}, size=(24, 40))
    scores = restore(root)
    assert [row["name"] for row in scores.rows] == [
        "a_000000",
        "a_000001",
        "b_000000",
    ] and scores.protocol == "image"
    for row in scores.rows:
        video, frame = row["name"].split("_")
        sharp = read_image(root / video / "sharp" / f"{frame}.png").astype(float)
        restored = read_image(tmp_path / "out" / f"{row['name']}.png").astype(float)
        assert row["psnr"] == pytest.approx(
            10 * np.log10(255**2 / ((restored - sharp) ** 2).mean()), abs=1e-9
        )
    assert json.loads((tmp_path / "out/scores.json").read_text())["mean"] == scores.mean


def test_tiles_are_said_where_figures_are_written(restore, make_videos, tmp_path, capsys):
    root = make_videos("gopro", {"a": 2}, size=(24, 40))
    restore(root, tile=24, tile_overlap=8)
    assert "note: pictures are restored in tiles, up to 2 each" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/scores.json").read_text())["run"]["tiles"] == "up to 2"


def test_blurry_folder_is_chosen(restore, make_videos, tmp_path):
    root = make_videos("gopro", {"a": 1}, size=(24, 40))
    write_image(root / "a/blur_gamma/000000.png", np.zeros((24, 40, 3), np.uint8))
    plain, gamma = (
        restore(root, blur_folder=folder).input_mean["psnr"] for folder in (None, "blur_gamma")
    )
    assert plain > gamma + 5
    with pytest.raises(
        UserError, match="holds the blurry folders blur, blur_gamma: choose one with --blur_folder"
    ):
        restore(root, blur_folder="input")


def test_files_from_elsewhere_are_scored_without_a_network(make_videos, tmp_path, capsys):
    root = make_videos("gopro_flat", {"a": 2}, size=(24, 40))
    folders = {
        "blurry_dir": root / "input",
        "sharp_dir": root / "target",
        "restored_dir": root / "input",
    }
    scores = test.main(ScoreConfig(**folders, output_dir=tmp_path / "scores"))
    assert (
        scores.mean["psnr"] == scores.input_mean["psnr"]
        and (tmp_path / "scores/scores.csv").is_file()
    )
    (root / "input/a_000001.png").rename(root / "input/c_000001.png")
    with pytest.raises(UserError, match="lacks 1 of the 2 images to score, the first is a_000001"):
        test.main(ScoreConfig(**folders))
    with pytest.raises(UserError, match="give --restored_dir"):
        test.main(ScoreConfig(restored_dir=root))


def test_protocol_goes_with_the_data(tmp_path):
    for path, protocol in (
        ("RealBlur-J", "realblur"),
        ("my/Kohler", "kohler"),
        ("GOPRO/test", "image"),
    ):
        assert test.chosen_protocol(ScoreConfig(data_path=tmp_path / path)) == protocol
    assert (
        test.chosen_protocol(ScoreConfig(data_path=tmp_path / "RealBlur-J", protocol="image"))
        == "image"
    )


def test_realblur_by_its_list_file(weights, tmp_path, identity):
    """Downloaded as it is: a list of two paths per line, ground truth first; scored after
    registration.
    """
    root = tmp_path / "RealBlur-J"
    with np.load(Path(__file__).parents[1] / "golden" / "sbdd_ecc.npz") as arrays:
        for scene in ("scene001", "scene002"):
            write_image(root / scene / "blur/blur_1.png", arrays["blurred"])
            write_image(root / scene / "gt/gt_1.png", arrays["gt"])
    (root / "RealBlur_J_test_list.txt").write_text(
        "".join(f"scene00{n}/gt/gt_1.png scene00{n}/blur/blur_1.png\n" for n in (1, 2))
    )
    config = {"weights": weights(), "output_dir": tmp_path / "out", "device": "cpu"}
    listed = test.main(ScoreConfig(data_path=root / "RealBlur_J_test_list.txt", **config))
    found = test.main(ScoreConfig(data_path=root, **config))
    assert listed.protocol == found.protocol == "realblur" and listed.mean == found.mean
    assert [row["name"] for row in listed.rows] == ["scene001_1", "scene002_1"]
    (root / "bad.txt").write_text("scene001/gt/gt_1.png\n")
    with pytest.raises(UserError, match="bad.txt, line 1: two paths are expected"):
        test.main(ScoreConfig(data_path=root / "bad.txt", **config))


def test_koehlers_set_as_folders(weights, tmp_path, identity):
    with np.load(Path(__file__).parents[1] / "golden" / "sbdd_ecc.npz") as arrays:
        write_image(tmp_path / "Kohler/input/Blurry1_4.png", arrays["blurred"])
        for frame in range(3):
            write_image(
                tmp_path / f"Kohler/gt/GroundTruth1_4/{frame}.png", arrays["kohler_gt"][..., frame]
            )
    scores = test.main(
        ScoreConfig(
            data_path=tmp_path / "Kohler",
            weights=weights(),
            output_dir=tmp_path / "out",
            device="cpu",
        )
    )
    assert (
        scores.protocol == "kohler"
        and scores.rows[0]["name"] == "1_4"
        and scores.rows[0]["psnr"] > 15
    )


def test_table_says_what_is_missing(capsys, tmp_path):
    assert test.main(ScoreConfig(table="all", output_dir=tmp_path)) is None
    text = capsys.readouterr().out
    assert (
        "33.71" in text and "30.40" in text and ("not run: needs" in text or "difference" in text)
    )


def test_unrounded_protocols_see_unrounded_values(weights, make_videos, tmp_path):
    """MIMO-UNet's own script clips but does not round: within 1e-3 dB of the tensors, unlike the
    8-bit figures.
    """
    root = make_videos("gopro_flat", {"a": 2}, size=(24, 40))
    path = weights("light_dehaze", width=8)
    config = {"data_path": root, "weights": path, "output_dir": tmp_path / "out", "device": "cpu"}
    scores = test.main(ScoreConfig(protocol="image_float", **config))
    restorer = inference.load(InferenceConfig(weights=path, device="cpu", guard=False))
    for row in scores.rows:
        blurry, sharp = (
            to_tensor(read_image(root / kind / f"{row['name']}.png"))
            for kind in ("input", "target")
        )
        error = (restorer.restore(blurry).clamp(0, 1).double() - sharp.double()).square().mean()
        assert row["psnr"] == pytest.approx(float(-10 * error.log10()), abs=1e-4)
    rounded = test.main(ScoreConfig(protocol="image", **config))
    assert rounded.mean["psnr"] != scores.mean["psnr"]


def test_the_published_row_is_recognised(monkeypatch, tmp_path):
    """By weights, data and options; `auto` takes that row's protocol."""

    def row(name, **options):
        config = ScoreConfig(
            data_path=inference.ROOT / "dataset/GOPRO/test", weights=Path(name), **options
        )
        found = inference.paper_row(
            inference.TABLES, config.weights, config.data_path, "", inference._options(config)
        )
        return found and found.value["psnr"]

    assert row("NAFNet-GoPro-width64.pth") == 33.71
    assert row("NAFNet-GoPro-width64.pth", local_statistics=False) == 33.08
    assert row("NAFNet-GoPro-width64.pth", blur_folder="blur_gamma") is None
    assert row("MIMO-UNetPlus.pkl") == 32.45
    assert row("MIMO-UNetPlus.pkl", ensemble=True, ensemble_views=4) == 32.68
    assert row("NAFNet-REDS-width64.pth", blur_folder="blur_jpeg") is None  # all 3,000
    assert row("srn_lstm/deblur.model-523000") == 30.19
    (tmp_path / "MIMO-UNetPlus.pkl").touch()
    config = ScoreConfig(
        data_path=inference.ROOT / "dataset/GOPRO/test", weights=tmp_path / "MIMO-UNetPlus.pkl"
    )
    assert inference.chosen_protocol(config) == "image_float"


def test_a_file_under_another_networks_name_is_not_compared(
    weights, make_videos, tmp_path, monkeypatch, capsys
):
    """With data and weights in place: once with the row's own size, once under a larger one's."""
    make_videos("gopro", {"a": 4, "b": 6}, root=tmp_path / "dataset/GOPRO/test")
    (tmp_path / "pretrain_models").mkdir()
    path = weights().rename(tmp_path / "pretrain_models/NAFNet-GoPro-width64.safetensors")
    size = sum(value.numel() for value in load(path).parameters())
    row = "{dataset: GoPro, data_path: dataset/GOPRO/test, protocol: image, images: 10, "
    row += f"weights: {path.name}, options: {{blur_folder: blur}}, value: {{psnr: 33.71}}, "
    row += "tolerance: {psnr: 0.02}, remark: '', "
    tables = tmp_path / "methods/image_deblur/tables.yaml"
    tables.parent.mkdir(parents=True)
    tables.write_text(
        f"- {row} network: itself, parameters: {size}}}\n"
        f"- {row} network: larger, parameters: 67888835}}\n"
    )
    for module in (inference, test):
        monkeypatch.setattr(module, "TABLES", tables)
    config = ScoreConfig(table="all", output_dir=tmp_path / "out", device="cpu")
    test.main(config)
    itself, larger = capsys.readouterr().out.splitlines()[-3:-1]
    assert "10 of 10" in itself and "compared" in itself and "not compared" not in itself
    assert f"holds a network of {size:,} parameters, the row's has 67,888,835" in larger.replace(
        "the weights hold", "holds"
    )
    found = json.loads((tmp_path / "out/GoPro/itself/scores.json").read_text())
    assert found["run"]["parameters"] == size and found["run"]["tiles"] == "whole pictures"
    assert found["run"]["blur"] == "not told by its pixels"  # ten pictures with noise
    few = ScoreConfig(
        data_path=tmp_path / "dataset/GOPRO/test", weights=path, output_dir=tmp_path / "few",
        file_pattern="*5.*", device="cpu",
    )  # fmt: skip
    scores = test.main(few)
    assert scores.paper is None and "1 of 10 images were scored" in scores.remark


def test_a_tensorflow_checkpoint_is_scored_with_its_hash(make_videos, tmp_path):
    root = make_videos("gopro_flat", {"a": 1}, size=(24, 40))
    golden = Path(__file__).parents[1] / "golden"
    test.main(
        ScoreConfig(data_path=root, weights=golden, output_dir=tmp_path / "out", device="cpu")
    )
    assert len(json.loads((tmp_path / "out/scores.json").read_text())["sha256"]) == 64


def test_pairs_of_different_sizes_are_named_before_anything_is_done(restore, make_videos, tmp_path):
    root = make_videos("gopro_flat", {"a": 2}, size=(24, 40))
    write_image(root / "target/a_000001.png", np.zeros((20, 40, 3), np.uint8))
    with pytest.raises(
        UserError, match="input/a_000001.png is 40x24, but .*target/a_000001.png 40x20"
    ):
        restore(root)
    assert not (tmp_path / "out").exists()
