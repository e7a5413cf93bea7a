"""From a command that misses something to its download, and on to a row of a published table."""

import os
import re
import shutil
import sys
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from methods import METHODS, download, run
from models import build, load
from tests.download.packings import DVD, PACKINGS, of_videos, without_hash
from utils.config import parse
from utils.download import table
from utils.download.table import entries, find_entry
from utils.evaluation.tables import read_tables

ROOT = Path(__file__).resolve().parents[2]
TABLES = sorted((ROOT / "methods").glob("*/tables.yaml"))
CONFIGS = {
    folder: import_module(f"methods.{folder}.config")
    for folder in {method.folder for method in METHODS.values()}
}


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """The repository's pretrain_models/ and dataset/ are below tmp_path."""
    monkeypatch.setitem(table.FOLDERS, "weights", tmp_path / "pretrain_models")
    monkeypatch.setitem(table.FOLDERS, "data", tmp_path / "dataset")
    monkeypatch.setattr("models.WEIGHTS_FOLDER", tmp_path / "pretrain_models")
    return tmp_path


def small_nafnet() -> dict[str, torch.Tensor]:
    """A NAFNet under the authors' keys that changes no picture."""
    state = build("nafnet", width=8, encoder=[1], middle=1, decoder=[1]).state_dict()
    renamed = {}
    for key, value in state.items():
        theirs = re.sub(r"^middle\.", "middle_blks.", key).replace(".attention.", ".sca.1.")
        renamed[theirs] = torch.zeros_like(value)
    return renamed


def noise(golden) -> dict[str, torch.Tensor]:
    """Another network under the authors' keys, with random weights."""
    torch.manual_seed(0)
    shapes = golden.manifest["state_dict"]
    return {name: 0.02 * torch.randn(shape) for name, shape in shapes.items()}


@pytest.fixture
def published(server, zipped, golden, elsewhere, monkeypatch):
    """A function that gives weights and data at their addresses."""

    def give(weights: str, network: str, wrapper: str, archives: dict[str, dict]) -> None:
        state = small_nafnet() if network == "nafnet" else noise(golden(network))
        torch.save({wrapper: state}, elsewhere / "w.pt")
        body = (elsewhere / "w.pt").read_bytes()
        entry = without_hash(weights)
        if entry.layout:
            body = zipped({"run/models/model-100.pt": body})
        server.put(f"/{entry.files[0].name}", body)
        monkeypatch.setitem(entries(), weights, entry)
        for name, files in archives.items():
            monkeypatch.setitem(entries(), name, without_hash(name))
            server.put(f"/{entries()[name].files[0].name}", zipped(files))

    return give


ONE_VIDEO = of_videos(DVD, ("input", "GT"), ("IMG_0003", "IMG_0099"), frames=6)
ROWS = [
    ("image_deblur", "NAFNet-32", "NAFNet-GoPro-width32.pth", "nafnet", "params",
     ["GOPRO/test"]),
    ("image_deblur", "DeepDeblur", "deep_deblur_gopro.pt", "deepdeblur_msresnet", "G", ["GOPRO"]),
    ("video_deblur", "DVD", "CDVD_TSP_DVD_Paper.pt", "cdvd_tsp", "state_dict", ["DVD"]),
]  # fmt: skip
PAPER = {"NAFNet-32": "32.87", "DeepDeblur": "30.40", "DVD": "32.13"}
SCORED = {"NAFNet-32": "4 of 1111", "DeepDeblur": "4 of 1111", "DVD": "2 of 960"}


@pytest.mark.parametrize(("method", "word", "weights", "network", "wrapper", "data"), ROWS)
def test_a_row_of_the_published_table_runs_after_its_downloads(
    method, word, weights, network, wrapper, data,
    call, server, published, elsewhere, monkeypatch, capsys,
):  # fmt: skip
    """It is computed, and not compared, as the archives hold few pictures."""
    modules = [import_module(f"methods.{method}.{name}") for name in ("inference", "test")]
    tables = elsewhere / f"methods/{method}/tables.yaml"
    tables.parent.mkdir(parents=True)
    tables.write_text((ROOT / f"methods/{method}/tables.yaml").read_text())
    for module in modules:
        monkeypatch.setattr(module, "TABLES", tables)
    packings = PACKINGS | {"DVD": ONE_VIDEO}
    published(weights, network, wrapper, {name: packings[name] for name in data})
    config = CONFIGS[method].TestConfig(table=word, output_dir=elsewhere / "out", device="cpu")
    modules[1].main(config)
    said = capsys.readouterr().out
    assert f"`python download.py {data[0]}` gets it" in said
    assert f"`python download.py {weights}` gets it" in said
    words = ("--mirror", server.address, "--accept_licence", entries()[data[0]].licence.name)
    assert call(weights, *data, *words)[::2] == (0, "")
    modules[1].main(config)
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if PAPER[word] in line and "not compared" in line)
    paper, ours, *_ = row.split("psnr")[1].split()
    assert paper == PAPER[word] and 0 < float(ours) < 60
    assert f"not compared: {SCORED[word]}" in row


def test_download_before_a_command(server, elsewhere, monkeypatch, capsys):
    """`--weights NAME --download` gets the weights, then the command runs with them."""
    torch.save({"params": small_nafnet()}, elsewhere / "w.pth")
    (elsewhere / "pretrain_models").mkdir(exist_ok=True)
    shutil.copy(ROOT / "pretrain_models/blur_length.safetensors", elsewhere / "pretrain_models")
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
            "test.py video_deblur --table CDVD",
            ["CDVD_TSP_DVD_Paper.pt", "CDVD_TSP_GOPRO.pt", "DVD", "GOPRO/test"],
        ),
        ("test.py video_deblur --table DVD", ["CDVD_TSP_DVD_Paper.pt", "DVD"]),
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
    config_class = getattr(CONFIGS[owner], f"{command.capitalize()}Config")
    config = parse(config_class, owner, command, rest)
    asked = []
    monkeypatch.setattr(download, "download", lambda found, options: asked.extend(found))
    monkeypatch.setattr(Path, "exists", lambda path: False)
    download.get_missing(config, config_class.__module__)
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
