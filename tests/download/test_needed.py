"""From a command that misses something to its download, and on to a row of a published table."""

import os
import re
import sys
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from methods import METHODS, download, run
from methods.image_deblur.config import TestConfig as PhotoScores
from models import load
from tests.download.packings import PACKINGS, without_hash
from utils.config import parse
from utils.download import table
from utils.download.table import entries, find_entry
from utils.evaluation.tables import read_tables

ROOT = Path(__file__).resolve().parents[2]
TABLES = sorted((ROOT / "methods").glob("*/tables.yaml"))


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """The repository's pretrain_models/ and dataset/ are below tmp_path."""
    folders = {"weights": tmp_path / "pretrain_models", "data": tmp_path / "dataset"}
    monkeypatch.setattr(table, "FOLDERS", folders)
    monkeypatch.setattr(download, "FOLDERS", folders)
    monkeypatch.setattr("models.WEIGHTS_FOLDER", folders["weights"])
    return tmp_path


def zeros(golden) -> dict[str, torch.Tensor]:
    """A state dict of an authors' network that changes no picture."""
    shapes = golden.manifest["state_dict"]
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def test_a_row_of_the_published_table_runs_after_its_downloads(
    call, server, zipped, golden, elsewhere, monkeypatch, capsys
):
    from methods.image_deblur import inference, test

    tables = elsewhere / "methods/image_deblur/tables.yaml"
    tables.parent.mkdir(parents=True)
    tables.write_text((ROOT / "methods/image_deblur/tables.yaml").read_text())
    for module in (inference, test):
        monkeypatch.setattr(module, "TABLES", tables)
    torch.save({"params": zeros(golden("nafnet_w32"))}, elsewhere / "w.pth")
    server.put("/NAFNet-GoPro-width32.pth", (elsewhere / "w.pth").read_bytes())
    server.put("/test.zip", zipped(PACKINGS["GOPRO/test"]))
    entry = entries()["NAFNet-GoPro-width32.pth"]
    monkeypatch.setitem(entries(), entry.name, without_hash(entry.name))
    for name in ("GOPRO/test", "NAFNet-GoPro-width32"):
        assert call(name, "--mirror", server.address)[0] == 0
    test.main(PhotoScores(table="NAFNet-32", output_dir=elsewhere / "out", device="cpu"))
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines()[::-1] if "32.87" in line)
    paper, ours, *_ = row.split("psnr")[1].split()
    assert paper == "32.87" and 0 < float(ours) < 60
    assert "not compared: 4 of 1111" in row
    test.main(PhotoScores(table="NAFNet-64", output_dir=elsewhere / "out", device="cpu"))
    said = capsys.readouterr().out
    assert "not run: needs pretrain_models/NAFNet-GoPro-width64.pth; `python download.py" in said


def test_download_before_a_command(server, golden, elsewhere, monkeypatch, capsys):
    """`--weights NAME --download` gets the weights, then the command runs with them."""
    torch.save({"params": zeros(golden("nafnet_w32"))}, elsewhere / "w.pth")
    entry = without_hash("NAFNet-GoPro-width32.pth")
    server.put(entry.files[0].addresses[0].at, (elsewhere / "w.pth").read_bytes())
    monkeypatch.setitem(entries(), entry.name, entry)
    cv2.imwrite(str(elsewhere / "photo.png"), np.zeros((24, 32, 3), np.uint8))
    words = ["--data_path", elsewhere / "photo.png", "--output_dir", elsewhere / "out"]
    words += ["--weights", "NAFNet-GoPro-width32", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["inference.py", "image_deblur", *map(str, words)])
    assert run("inference") == 2
    said = capsys.readouterr().err
    assert "no weights at NAFNet-GoPro-width32: `python download.py NAFNet-GoPro-width32" in said
    assert "(68.7 MB, licence MIT)" in said
    sys.argv.append("--download")
    assert run("inference") == 0
    assert (elsewhere / "out/photo.png").is_file()
    assert load("NAFNet-GoPro-width32").__class__.__name__ == "NAFNet"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (
            "test.py video_deblur --table",
            ["CDVD_TSP_DVD_Paper.pt", "CDVD_TSP_GOPRO.pt", "DVD", "GOPRO/test"],
        ),
        (
            "test.py image_deblur --table DeepDeblur",
            ["GOPRO", "REDS/val", "deep_deblur_gopro.pt", "deep_deblur_reds.pt"],
        ),
        ("inference.py cdvd_tsp --default_data DVD", ["CDVD_TSP_DVD_Convergent.pt", "DVD"]),
        (
            "test.py cdvd_tsp --default_data GOPRO --weights NAFNet-GoPro-width32",
            ["GOPRO/test", "NAFNet-GoPro-width32.pth"],
        ),
        ("train.py video_deblur", ["DVD", "network-default.pytorch"]),
        ("train.py irp", ["IRPDataset", "resnet50-0676ba61.pth"]),
        ("train.py irp --imagenet none --data_path null", []),
        ("test.py blur2vid", ["alexnet-owt-7be5be79.pth"]),
        ("test.py blur2vid --table Jin", ["alexnet-owt-7be5be79.pth"]),
        ("train.py hypercut --dataset_name RB2V_Street", ["RB2V"]),
        ("generate.py irp --data_path dataset/mine", []),
        (
            "generate.py sbdd --mask_kind detector --data_path x",
            ["maskrcnn_resnet50_fpn_v2_coco.pth"],
        ),
    ],
)
def test_download_gets_what_a_command_needs(words, wanted, monkeypatch):
    """As if nothing of it were there."""
    command, method, *rest = words.replace(".py", "", 1).split()
    owner = METHODS[method].folder
    module = f"methods.{owner}.config"
    config_class = getattr(import_module(module), f"{command.capitalize()}Config")
    config = parse(config_class, owner, command, rest)
    asked = []
    monkeypatch.setattr(download, "download", lambda found, options: asked.extend(found))
    monkeypatch.setattr(Path, "exists", lambda path: False)
    download.get_missing(config, module)
    assert sorted(entry.name for entry in asked) == wanted


def test_every_command_has_download_in_its_help(capsys, monkeypatch):
    for name, method in METHODS.items():
        for command in method.commands:
            monkeypatch.setattr(sys, "argv", [f"{command}.py", name, "--help"])
            with pytest.raises(SystemExit):
                run(command)
            assert "--download" in capsys.readouterr().out, (command, name)


def test_rows_without_weights_say_that_they_were_never_published():
    for path in TABLES:
        text = (path.parent / "README.md").read_text()
        for row in yaml.safe_load(path.read_text()):
            entry = find_entry(row["weights"] or "")
            if entry and entry.never_published:
                assert "never published as far as known" in text, path
    averages = [
        row for row in read_tables(ROOT / "methods/blur2vid/tables.yaml") if row.dataset == "RB2V"
    ]
    assert len(averages) == 2
    assert all("average of Street, Face and Hand" in row.remark for row in averages)


def test_the_commands_that_reproduce_are_understood(call, server, tmp_path):
    """docs/reproducing.md: every `python download.py` names what there is."""
    text = (ROOT / "docs/reproducing.md").read_text() + (ROOT / "README.md").read_text()
    calls = re.findall(r"^python download\.py ([^#\n]+)", text, re.MULTILINE)
    assert len(calls) > 8
    for words in calls:
        code, _, errors = call(*words.split(), "--dry_run", "--output_dir", tmp_path)
        assert code == 0, (words, errors)
    assert os.listdir(tmp_path) == [] and server.asked == []
