"""test.py --table: every row is compared, or says the one reason why it is not."""

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from utils.config import ROOT
from utils.errors import UserError
from utils.evaluation.blur_variant import UNTOLD, told_by_pixels
from utils.evaluation.published_runs import COMPARED, run_table, score_as_asked
from utils.evaluation.scoring import Scores
from utils.evaluation.tables import PublishedRow, RunRecord, paper_row, read_tables


@dataclass(frozen=True)
class Options:
    table: str | None = "all"
    data_path: Path | None = None
    weights: Path | None = None
    output_dir: Path | None = None
    protocol: str = "auto"
    precision: str = "auto"
    ensemble: bool = False
    blur_folder: str | None = None
    restored_dir: Path | None = None
    sharp_dir: Path | None = None
    blurry_dir: Path | None = None
    compare: list[str] | None = None
    metrics: list[str] | None = None


ROW = {
    "dataset": "My set",
    "data_path": "sharp",
    "weights": "w.pt",
    "protocol": "image",
    "tolerance": {"psnr": 0.01},
    "value": {"psnr": 20.0},
    "remark": "",
}


def scores_of(psnrs: list[float], **about) -> Scores:
    rows = [{"name": str(index), "psnr": psnr} for index, psnr in enumerate(psnrs)]
    return Scores("image", rows, **about)


@pytest.fixture
def table(tmp_path):
    """A function that runs a table of rows; returns the lines of table.csv by network."""

    def run(rows: list[dict], work, options: Options | None = None) -> dict[str, dict]:
        (tmp_path / "methods/some").mkdir(parents=True, exist_ok=True)
        for name in ("pretrain_models", "sharp", "a", "b", "c", "theirs"):
            (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / "pretrain_models/w.pt").touch()
        tables = tmp_path / "methods/some/tables.yaml"
        tables.write_text(yaml.safe_dump([ROW | row for row in rows]))
        options = options or Options()
        try:
            run_table(tables, options, tmp_path / "out", work)
        finally:
            with open(tmp_path / "out/table.csv", newline="") as file:
                lines = {line["network"]: line for line in csv.DictReader(file)}
        return lines

    return run


def test_paper_row_needs_the_same_data_and_weights():
    from methods.video_deblur.inference import TABLES

    rows = {(row.dataset, row.network): row for row in read_tables(TABLES)}
    published = rows["DVD", "CDVD-TSP"]
    assert published.value == {"psnr": 32.13, "ssim": 0.9268}
    assert rows["REDS", "CDVD-TSP"].value is None
    weights = ROOT / "pretrain_models" / "CDVD_TSP_DVD_Paper.pt"
    data = ROOT / "dataset" / "DVD" / "test"
    options = {"border": False}
    assert paper_row(TABLES, weights, data, "cdvd", options) == published
    assert paper_row(TABLES, weights, data.parent, "cdvd", options) is None
    assert paper_row(TABLES, weights, data, "image", options) is None
    assert paper_row(TABLES, weights, data, "cdvd", {"border": True}) is None
    assert paper_row(TABLES, ROOT / "pretrain_models" / "cdvd_tsp.safetensors", data) is None
    gopro = [ROOT / "pretrain_models/CDVD_TSP_GOPRO.pt", ROOT / "dataset/GOPRO/test", "cdvd"]
    assert paper_row(TABLES, *gopro, options | {"blur_folder": "blur"}).value["psnr"] == 31.67
    assert paper_row(TABLES, *gopro, options | {"blur_folder": "blur_gamma"}) is None


def test_every_row_of_a_table_is_a_run_of_its_own(table, tmp_path, capsys):
    """Folders apart, float32, the row's options; a row that fails does not end the others."""
    rows = [
        {"network": "A"},
        {"network": "A, eight times", "options": {"ensemble": True}},
        {"network": "B"},
        {"network": "C", "weights": "none.pt"},
    ]
    seen = []

    def run(config):
        seen.append(config)
        if len(seen) == 2:
            raise UserError("the frames are unpaired")
        return scores_of([19.0, 22.0])

    with pytest.raises(UserError, match="1 of 4 rows failed"):
        table(rows, run)
    folders = [config.output_dir.relative_to(tmp_path / "out").as_posix() for config in seen]
    assert folders == ["My_set/A", "My_set/A_eight_times", "My_set/B"]
    assert {config.precision for config in seen} == {"fp32"}
    assert [config.ensemble for config in seen] == [False, True, False]
    assert seen[0].protocol == "image"
    assert seen[0].weights == tmp_path / "pretrain_models/w.pt"
    lines = capsys.readouterr().out.splitlines()
    assert "20.50" in lines[1] and "+0.50 !" in lines[1] and COMPARED in lines[1]
    assert "failed: the frames are unpaired" in lines[2]
    assert "20.50" in lines[3]
    assert "not run: needs" in lines[4]
    assert "| My set | A | psnr | 20.00 | 20.50 |" in (tmp_path / "out/table.md").read_text()
    table(rows, run, Options(precision="bf16"))
    assert seen[-1].precision == "bf16"


def test_a_count_that_differs_is_not_compared(table):
    """The figure of the paper stands beside ours, but no difference."""
    rows = [{"network": "whole", "images": 3}, {"network": "part", "images": 1111}]
    lines = table(rows, lambda config: scores_of([20.0, 20.0, 20.0]))
    assert lines["whole"]["result"] == COMPARED and lines["whole"]["difference"] == "+0.00"
    assert lines["whole"]["scored"] == "3 of 3"
    part = lines["part"]
    assert part["result"] == "not compared: 3 of 1111 images were scored"
    assert (part["paper"], part["ours"], part["difference"]) == ("20.00", "20.00", "-")


def test_a_network_of_another_size_is_not_compared(table):
    """A file of width 32 under the name of one of width 64."""
    record = RunRecord(17_111_907, tiles="up to 4", ensemble="none", seconds=1.25)

    def run(config):
        return scores_of([20.0], record=record, arithmetic="cpu float32")

    rows = [{"network": "NAFNet-64", "parameters": 67_888_835}, {"network": "any"}]
    lines = table(rows, run)
    assert lines["NAFNet-64"]["result"] == (
        "not compared: the weights hold a network of 17,111,907 parameters, the row's has "
        "67,888,835"
    )
    assert lines["any"]["result"] == COMPARED
    settings = [lines["any"][name] for name in ("parameters", "arithmetic", "tiles", "s/image")]
    assert settings == ["17,111,907", "cpu float32", "up to 4", "1.25"]


def test_rows_without_a_figure_say_so(table):
    """With data and weights in place they are run; "-" is never without a reason."""
    rows = [
        {"network": "run", "value": None},
        {"network": "no weights", "value": None, "weights": None},
        {"network": "slides", "data_path": None, "weights": None},
    ]
    lines = table(rows, lambda config: scores_of([21.0]))
    assert lines["run"]["result"] == "not compared: no figure in text to compare with"
    assert lines["no weights"]["result"] == "no figure in text to compare with"
    assert lines["slides"]["result"] == "not run: no data and weights of its own"


def test_a_row_of_several_data_sets_is_their_average(table):
    """HyperCUT's table of RB2V: the average of Street, Face and Hand."""
    psnrs = {"a": [18.0], "b": [20.0, 20.0], "c": [25.0]}
    rows = [{"network": "three", "data_path": None, "parts": ["a", "b", "c"], "images": 4}]
    lines = table(rows, lambda config: scores_of(psnrs[config.data_path.name]))
    assert lines["three"]["ours"] == "21.00"
    assert lines["three"]["scored"] == "4 of 4"


def test_restored_frames_are_scored_without_a_network(table, tmp_path):
    seen = []

    def folders(config):
        seen.append((config.restored_dir.name, config.sharp_dir.name))
        return scores_of([20.0])

    tables = tmp_path / "methods/some/tables.yaml"
    rows = [{"network": "their frames", "weights": None, "restored_dir": "theirs"}]
    table(rows, folders)
    score_as_asked(tables, Options(), tmp_path / "out", pytest.fail, folders, pytest.fail)
    assert seen == [("theirs", "sharp")] * 2


def averaged(count: int, gamma: float, motion: int = 9) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures and the averages of their shifted copies in the space picture^gamma."""
    pairs = []
    for seed in range(count):
        coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        wide = cv2.resize(coarse, (160, 96), interpolation=cv2.INTER_NEAREST) / 255
        frames = [wide[:, shift : shift + 120] ** gamma for shift in range(8, 8 + motion)]
        blurry = np.mean(frames, 0) ** (1 / gamma)
        sharp = wide[:, 8 + motion // 2 :][:, :120]
        pairs.append((np.uint8((255 * blurry).round()), np.uint8((255 * sharp).round())))
    return pairs


def test_gopros_two_blurs_are_told_by_their_pixels():
    """By a law: an average keeps the mean brightness of the space in which it is taken."""
    assert told_by_pixels(averaged(24, 1.0)) == "blur"
    assert told_by_pixels(averaged(24, 2.2)) == "blur_gamma"
    assert told_by_pixels(averaged(24, 1.5)) == UNTOLD
    assert told_by_pixels(averaged(24, 1.0, motion=1)) == UNTOLD
    assert told_by_pixels(averaged(4, 1.0)) == UNTOLD
    row = PublishedRow("GoPro", "image", "", options={"blur_folder": "blur_gamma"})
    assert row.objection(9, RunRecord(blur="blur")) == (
        "the pixels say blur, the row is of blur_gamma"
    )
    for told in ("", UNTOLD, "blur_gamma"):
        assert row.objection(9, RunRecord(blur=told)) == ""


def test_rows_know_how_much_a_whole_run_scores():
    """Counts of the published splits, and sizes of the networks in models/."""
    from methods.image_deblur.test import TABLES as photos
    from methods.video_deblur.inference import TABLES as videos

    counts = {"GoPro": 1111, "HIDE": 2025, "RealBlur-J": 980, "RealBlur-R": 980, "Koehler": 48}
    counts["RSBlur"] = 3360
    for row in read_tables(photos):
        if row.images:
            reds = 300 if row.options.get("file_pattern") else 3000
            assert row.images == counts.get(row.dataset, reds)
    frames = {row.dataset: row.images for row in read_tables(videos)}
    assert frames == {"DVD": 1000 - 4 * 10, "GOPRO": 1111 - 4 * 11, "REDS": None}
