import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from utils.config import ROOT
from utils.errors import UserError
from utils.evaluation.scoring import Triple, score_files
from utils.evaluation.tables import PublishedRow, format_table, read_tables
from utils.files import sha256
from utils.image import write_image


@pytest.fixture
def triples(tmp_path):
    rng = np.random.default_rng(0)
    found = []
    for index in range(3):
        sharp = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        paths = {}
        for kind, noise in (("restored", 5), ("sharp", 0), ("blurry", 20)):
            paths[kind] = tmp_path / kind / f"{index}.png"
            noisy = np.clip(sharp + rng.normal(0, noise, sharp.shape), 0, 255)
            write_image(paths[kind], noisy.astype(np.uint8))
        found.append(Triple(f"v/{index}", **paths))
    return found


def test_files_hold_what_the_screen_says(triples, tmp_path):
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"abc")
    paper = PublishedRow("some", "cdvd", "", value={"psnr": 30.0})
    scores = score_files(triples, "cdvd", weights=weights, data_path=tmp_path, paper=paper)
    scores.write(tmp_path)
    summary = json.loads((tmp_path / "scores.json").read_text())
    mean = summary["mean"]["psnr"]
    assert summary["protocol"] == "cdvd"
    assert summary["n"] == 3
    assert summary["paper"] == {"psnr": 30.0}
    of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert summary["sha256"] == of_abc == sha256(weights)
    assert mean == pytest.approx(np.mean([row["psnr"] for row in summary["rows"]]))
    assert summary["input_mean"]["psnr"] < mean
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["v/0", "v/1", "v/2"]
    ssims = [row["input_ssim"] for row in summary["rows"]]
    assert [float(row["input_ssim"]) for row in rows] == ssims
    table = scores.table()
    assert "protocol cdvd, 3 images" in table
    assert f"{mean:.2f}" in table
    assert f"{mean - 30:+.2f}" in table


def test_means_of_every_video_are_shown(triples):
    """As CDVD-TSP's inference prints them; of single pictures there are none."""
    named = [replace(triple, name=f"{'ab'[n > 0]}/{n}") for n, triple in enumerate(triples)]
    scores = score_files(named, "cdvd")
    psnrs = [row["psnr"] for row in scores.rows]
    assert scores.videos()["a"]["psnr"] == psnrs[0]
    assert scores.videos()["b"]["psnr"] == pytest.approx(np.mean(psnrs[1:]))
    lines = scores.table().splitlines()
    assert lines[-3].split() == ["mean", "of", "a", "video", "psnr", "ssim"]
    assert lines[-1].split()[:2] == ["b", f"{np.mean(psnrs[1:]):.2f}"]
    assert score_files(named, "image").videos() == {}


def test_identical_images_are_infinite_in_valid_json(triples, tmp_path):
    same = [Triple(triple.name, triple.sharp, triple.sharp) for triple in triples]
    score_files(same, "image").write(tmp_path)
    summary = json.loads((tmp_path / "scores.json").read_text(), parse_constant=pytest.fail)
    assert summary["mean"] == {"psnr": "inf", "ssim": 1.0, "ssim3d": pytest.approx(1.0)}
    assert summary["input_mean"] is None


def test_other_sizes_and_nothing_are_refused(triples, tmp_path):
    write_image(triples[1].restored, np.zeros((30, 41, 3), np.uint8))
    with pytest.raises(UserError, match="1.png is 41x30, but .*1.png 40x30"):
        score_files(triples, "cdvd")
    with pytest.raises(UserError, match="nothing to score"):
        score_files([], "cdvd")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "methods").glob("*/tables.yaml")), ids=lambda path: path.parent.name
)
def test_rows_of_the_tables_have_names_of_their_own(path):
    names = [(row.dataset, row.network) for row in read_tables(path)]
    assert len(set(names)) == len(names)


def test_table_aligns_figures_to_the_right():
    text = format_table([["name", "psnr"], ["a", "9.50"], ["long", "30.25"]])
    assert text == "name   psnr\na      9.50\nlong  30.25"
