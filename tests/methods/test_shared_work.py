"""torchrun: processes share what is restored; files and scores are those of one process."""

import json
import os
import subprocess
import sys

import numpy as np

from utils.config import ROOT
from utils.image import write_image


def run(method, data, output, launcher=()):
    command = [
        sys.executable,
        *launcher,
        "test.py",
        method,
        "--data_path",
        data,
        "--output_dir",
        output,
        "--device",
        "cpu",
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def results(folder):
    scores = json.loads((folder / "scores.json").read_text())
    return scores["rows"], {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*.png")
        if path.name != "contact_sheet.png"
    }


TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def test_two_processes_restore_videos_as_one(make_videos, tmp_path):
    root = make_videos("clips", {"a": 6, "b": 5, "c": 7})
    run("cdvd_tsp", root, tmp_path / "one")
    said = run("cdvd_tsp", root, tmp_path / "two", TWO)
    assert (
        results(tmp_path / "one") == results(tmp_path / "two")
        and said.count("protocol cdvd, 6 images") == 1
    )


def test_two_processes_restore_photos_as_one(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(3):
        for kind in ("blurry", "sharp"):
            write_image(
                tmp_path / "in" / kind / f"{index}.png", rng.integers(0, 255, (40, 48, 3), np.uint8)
            )
    run("image_deblur", tmp_path / "in", tmp_path / "one")
    said = run("image_deblur", tmp_path / "in", tmp_path / "two", TWO)
    assert results(tmp_path / "one") == results(tmp_path / "two") and said.count("3 images") == 1
