"""The two networks of CONTRIBUTING.md: written, registered, trained, saved, streamed and scored.

In a copy of the source, exactly as the document says; nothing in methods/ is edited.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import write_videos
from utils.image import read_image, write_image

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("data", "losses", "methods", "models", "restoration", "utils")
BLOCK = re.compile(r"```(python|yaml)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the source in which the document's steps have been done."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pretrain_models").mkdir()
    shutil.copy(ROOT / "pretrain_models/blur_length.safetensors", folder / "pretrain_models")
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = [content for _, content in BLOCK.findall(text)]
    image, image_line, image_recipe, video, video_line, video_recipe = blocks
    (folder / "models/tiny_image.py").write_text(image)
    (folder / "models/tiny_video.py").write_text(video)
    (folder / "methods/image_deblur/configs/tiny_image.yaml").write_text(image_recipe)
    (folder / "methods/video_deblur/configs/tiny_video.yaml").write_text(video_recipe)
    registry = folder / "models/__init__.py"
    source = registry.read_text()
    first = "NETWORKS = {\n"
    assert first in source
    registry.write_text(source.replace(first, first + image_line + video_line, 1))
    return folder


AS_SCORED = ("--scale", 1, "--guard", "false")
PROGRAM = """
import json, sys
from methods import run
for words in json.loads(sys.argv[1]):
    sys.argv = [*words, "--device", "cpu"]
    if run(words[0].removesuffix(".py")):
        sys.exit(1)
"""


def run(checkout: Path, *commands: list[object]) -> str:
    """Run commands one after the other, in one process, as that starts once; what they print."""
    words = json.dumps([list(map(str, command)) for command in commands])
    command = [sys.executable, "-c", PROGRAM, words]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def gains(folder: Path) -> list[float]:
    rows = json.loads((folder / "scores.json").read_text())["rows"]
    return [row["psnr"] - row["input_psnr"] for row in rows]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """Pairs whose blurry side is too dark: something that few steps can mend."""
    root = tmp_path_factory.mktemp("pairs")
    for seed in range(4):
        coarse = np.random.default_rng(seed).integers(60, 256, (5, 6, 3), dtype=np.uint8)
        sharp = cv2.resize(coarse, (80, 64), interpolation=cv2.INTER_CUBIC)
        write_image(root / f"sharp/{seed}.png", sharp)
        write_image(root / f"blurry/{seed}.png", np.uint8(sharp * 0.7))
    return root


def test_the_photo_network_of_the_document(checkout, pairs, tmp_path):
    few = ["--steps", 40, "--epochs", 0, "--lr", 0.01, "--batch_size", 4, "--patch_size", 32]
    few += ["--tile_size", 0, "--workers", 0, "--val_path", pairs, "--save", tmp_path / "run"]
    restore = ["--data_path", pairs, "--weights", tmp_path / "run", "--output_dir"]
    # What makes pictures brighter is no deblurring: the guard would step in.
    tiled = [tmp_path / "tiled", "--tile", 48, "--tile_overlap", 16, *AS_SCORED]
    model = ["--model", "tinyimage-16", "--data_path", pairs]
    said = run(
        checkout,
        ["train.py", "image_deblur", *model, *few, "--explain"],
        ["train.py", "image_deblur", *model, *few],
        ["test.py", "image_deblur", *restore, tmp_path / "whole"],
        ["inference.py", "image_deblur", *restore, *tiled],
    )
    assert "[paper] none is named for this network" in " ".join(said.split())
    assert "FFT" in said, "the recipe's loss"
    assert min(gains(tmp_path / "whole")) > 1
    whole = read_image(tmp_path / "whole/0.png").astype(int)
    assert np.abs(read_image(tmp_path / "tiled/0.png") - whole).max() <= 1


def test_the_video_network_of_the_document(checkout, tmp_path):
    root = write_videos(tmp_path / "clips", "clips", {"a": 7, "b": 7}, (40, 48))
    for path in (root / "blur").rglob("*.png"):
        sharp = read_image(root / "gt" / path.relative_to(root / "blur"))
        write_image(path, np.uint8(sharp * 0.7))
    few = ["--epochs", 1, "--max_batches", 40, "--lr", 0.01, "--batch_size", 2, "--patch_size", 32]
    few += ["--layout", "auto", "--workers", 0, "--val_path", root, "--save", tmp_path / "run"]
    weights = ["--weights", tmp_path / "run", "--data_path"]
    scored = ["--border", "--output_dir", tmp_path / "scored"]
    streamed = ["--output_dir", tmp_path / "streamed", *AS_SCORED]
    train = ["train.py", "video_deblur", "--model", "TinyVideo", "--data_path", root, *few]
    said = run(
        checkout,
        [*train, "--explain"],
        train,
        ["test.py", "video_deblur", *weights, root, *scored],
        ["inference.py", "cdvd_tsp", *weights, root / "blur/a", *streamed],
    )
    assert "[paper] none is named for this network" in " ".join(said.split())
    assert len(gains(tmp_path / "scored")) == 14 and min(gains(tmp_path / "scored")) > 1
    for index in range(7):
        ours = read_image(tmp_path / f"streamed/a/{index:05d}.png")
        assert np.array_equal(ours, read_image(tmp_path / f"scored/a/{index:05d}.png"))
