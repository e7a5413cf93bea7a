import csv
import json

import numpy as np
import pytest

from utils.errors import UserError
from utils.image import write_image
from utils.scoring import Triple, format_table, paper_row, read_tables, score_files, sha256


@pytest.fixture
def triples(tmp_path):
    rng = np.random.default_rng(0)
    found = []
    for index in range(3):
        sharp = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        paths = [tmp_path / kind / f"{index}.png" for kind in ("restored", "sharp", "blurry")]
        for path, noise in zip(paths, (5, 0, 20)):
            write_image(path, np.clip(sharp + rng.normal(0, noise, sharp.shape), 0, 255).astype(np.uint8) if noise else sharp)
        found.append(Triple(f"v/{index}", *paths))
    return found


def test_files_hold_what_the_screen_says(triples, tmp_path):
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"abc")
    scores = score_files(triples, "cdvd", weights=weights, data_path=tmp_path, paper={"value": {"psnr": 30.0}})
    scores.write(tmp_path)
    summary = json.loads((tmp_path / "scores.json").read_text())
    assert summary["protocol"] == "cdvd" and summary["n"] == 3 and summary["paper"] == {"psnr": 30.0}
    assert summary["sha256"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" == sha256(weights)
    assert summary["mean"]["psnr"] == pytest.approx(np.mean([row["psnr"] for row in summary["rows"]]))
    assert summary["input_mean"]["psnr"] < summary["mean"]["psnr"]
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["v/0", "v/1", "v/2"]
    assert [float(row["input_ssim"]) for row in rows] == [row["input_ssim"] for row in summary["rows"]]
    table = scores.table()
    assert (
        f"{summary['mean']['psnr']:.2f}" in table and f"{summary['mean']['psnr'] - 30:+.2f}" in table and "protocol cdvd, 3 images" in table
    )


def test_identical_images_are_infinite_in_valid_json(triples, tmp_path):
    same = [Triple(triple.name, triple.sharp, triple.sharp) for triple in triples]
    score_files(same, "image").write(tmp_path)
    summary = json.loads((tmp_path / "scores.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert summary["mean"] == {"psnr": "inf", "ssim": 1.0, "ssim3d": pytest.approx(1.0)} and summary["input_mean"] is None


def test_other_sizes_and_nothing_are_refused(triples, tmp_path):
    write_image(triples[1].restored, np.zeros((30, 41, 3), np.uint8))
    with pytest.raises(UserError, match="1.png is 41x30, but .*1.png 40x30"):
        score_files(triples, "cdvd")
    with pytest.raises(UserError, match="nothing to score"):
        score_files([], "cdvd")


def test_paper_row_needs_the_same_data_and_weights():
    from methods.cdvd_tsp.inference import TABLES
    from utils.config import ROOT

    rows = {row["dataset"]: row for row in read_tables(TABLES)}
    assert rows["DVD"]["value"] == {"psnr": 32.13, "ssim": 0.9268} and rows["REDS"]["value"] is None
    weights, data = ROOT / "pretrain_models" / "CDVD_TSP_DVD_Convergent.pt", ROOT / "dataset" / "DVD" / "test"
    assert paper_row(TABLES, weights, data)["dataset"] == "DVD"
    assert paper_row(TABLES, weights, data.parent) is None
    assert paper_row(TABLES, ROOT / "pretrain_models" / "cdvd_tsp.safetensors", data) is None


def test_table_aligns_figures_to_the_right():
    assert format_table([["name", "psnr"], ["a", "9.50"], ["long", "30.25"]]) == "name   psnr\na      9.50\nlong  30.25"
