import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from utils.config import ROOT
from utils.errors import UserError
from utils.evaluation.scoring import Triple, score_files, sha256
from utils.evaluation.tables import (
    PublishedRow,
    format_table,
    paper_row,
    read_tables,
    run_table,
)
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


def test_paper_row_needs_the_same_data_and_weights():
    from methods.video_deblur.inference import TABLES

    rows = {row.dataset: row for row in read_tables(TABLES)}
    assert rows["DVD"].value == {"psnr": 32.13, "ssim": 0.9268}
    assert rows["REDS"].value is None
    weights = ROOT / "pretrain_models" / "CDVD_TSP_DVD_Convergent.pt"
    data = ROOT / "dataset" / "DVD" / "test"
    options = {"border": False}
    assert paper_row(TABLES, weights, data, "cdvd", options) == rows["DVD"]
    assert paper_row(TABLES, weights, data.parent, "cdvd", options) is None
    assert paper_row(TABLES, weights, data, "image", options) is None
    assert paper_row(TABLES, weights, data, "cdvd", {"border": True}) is None
    assert paper_row(TABLES, ROOT / "pretrain_models" / "cdvd_tsp.safetensors", data) is None


@dataclass(frozen=True)
class Options:
    table: str = "all"
    data_path: Path | None = None
    weights: Path | None = None
    output_dir: Path | None = None
    protocol: str = "auto"
    precision: str = "auto"
    ensemble: bool = False


def test_every_row_of_a_table_is_a_run_of_its_own(triples, tmp_path, capsys):
    """Folders apart, float32, the row's options; a row that fails does not end the others."""
    row = {
        "dataset": "My set",
        "data_path": "sharp",
        "weights": "w.pt",
        "protocol": "image",
        "tolerance": {"psnr": 0.01},
        "remark": "",
    }
    rows = [
        {**row, "network": "A", "value": {"psnr": 20.0}},
        {
            **row,
            "network": "A, eight times",
            "value": {"psnr": 21.0},
            "options": {"ensemble": True},
        },
        {**row, "network": "B", "value": {"psnr": 22.0}},
        {**row, "network": "C", "value": {"psnr": 23.0}, "weights": "none.pt"},
    ]
    (tmp_path / "methods/some").mkdir(parents=True)
    (tmp_path / "pretrain_models").mkdir()
    (tmp_path / "pretrain_models/w.pt").touch()
    tables = tmp_path / "methods/some/tables.yaml"
    tables.write_text(yaml.safe_dump(rows))
    seen = []

    def run(config):
        seen.append(config)
        if len(seen) == 2:
            raise UserError("the frames are unpaired")
        return score_files(triples, "image")

    with pytest.raises(UserError, match="1 of 4 rows failed"):
        run_table(tables, Options(), tmp_path / "out", run)
    folders = [config.output_dir.relative_to(tmp_path / "out").as_posix() for config in seen]
    assert folders == ["My_set/A", "My_set/A_eight_times", "My_set/B"]
    assert {config.precision for config in seen} == {"fp32"}
    assert [config.ensemble for config in seen] == [False, True, False]
    assert seen[0].protocol == "image"
    assert seen[0].weights == tmp_path / "pretrain_models/w.pt"
    lines = capsys.readouterr().out.splitlines()
    psnr = f"{score_files(triples, 'image').mean['psnr']:.2f}"
    assert psnr in lines[1]
    assert "failed: the frames are unpaired" in lines[2]
    assert psnr in lines[3]
    assert "not run: needs" in lines[4]
    run_table(tables, Options(precision="bf16"), tmp_path / "out", run)
    assert seen[-1].precision == "bf16"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "methods").glob("*/tables.yaml")), ids=lambda path: path.parent.name
)
def test_rows_of_the_tables_have_names_of_their_own(path):
    names = [(row.dataset, row.network) for row in read_tables(path)]
    assert len(set(names)) == len(names)


def test_table_aligns_figures_to_the_right():
    text = format_table([["name", "psnr"], ["a", "9.50"], ["long", "30.25"]])
    assert text == "name   psnr\na      9.50\nlong  30.25"
