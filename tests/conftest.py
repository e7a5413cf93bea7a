"""Helpers that tests share: the authors' vectors, and small data sets in the true folder shapes."""

import json
import os
import signal
import sys
from pathlib import Path

# One thread for a worker and its programs; the libraries read it when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pytest
import torch

from data.sequences import collect_metadata, write_sequence
from data.synthesis.camera import STANDARD
from data.synthesis.motion import smooth_trajectory
from data.synthesis.scene import Scene
from tests.golden.fill import fill_state_dict
from utils.image import write_image

GOLDEN = Path(__file__).with_name("golden")

# A suite in the background ignores Ctrl-C; the programs that it interrupts must not.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Golden:
    """Numbers of an authors' program: manifest, arrays as tensors, and the weights behind them."""

    def __init__(self, name: str):
        self.manifest = json.loads((GOLDEN / f"{name}.json").read_text())
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            self.arrays = {key: torch.from_numpy(arrays[key]) for key in arrays.files}

    def __getitem__(self, key: str) -> torch.Tensor:
        return self.arrays[key]

    def state(self) -> dict[str, torch.Tensor]:
        filled = fill_state_dict(
            self.manifest["state_dict"], self.manifest["gain"], self.manifest["salt"]
        )
        state = {key: torch.from_numpy(value) for key, value in filled.items()}
        for key, values in self.manifest.get("overrides", {}).items():
            state[key] = torch.tensor(values, dtype=torch.float32)
        return state

    def tolerance(self, key: str) -> float:
        return max(1e-5, 10 * self.manifest["f32_noise"][key])


@pytest.fixture
def golden():
    return Golden


LAYOUT_FILES = {
    "clips": {"blurry": ["blur/{video}/{frame:05d}.png"], "sharp": ["gt/{video}/{frame:05d}.png"]},
    "gopro": {
        "blurry": ["{video}/blur/{frame:06d}.png", "{video}/blur_gamma/{frame:06d}.png"],
        "sharp": ["{video}/sharp/{frame:06d}.png"],
    },
    "gopro_flat": {
        "blurry": ["input/{video}_{frame:06d}.png"],
        "sharp": ["target/{video}_{frame:06d}.png"],
    },
    "dvd": {"blurry": ["{video}/input/{frame:05d}.jpg"], "sharp": ["{video}/GT/{frame:05d}.jpg"]},
    "reds": {
        "blurry": ["val_blur/{video}/{frame:08d}.png"],
        "sharp": ["val_sharp/{video}/{frame:08d}.png"],
    },
    "frames": {"blurry": ["{video}/{frame}.png"], "sharp": []},
}


def write_videos(
    root: Path,
    layout: str = "clips",
    videos: dict[str, int] | None = None,
    size: tuple[int, int] = (24, 32),
) -> Path:
    """Write videos (name -> frames) of a size (height, width) as a layout has them; returns root.

    The sharp frames are smooth, the blurry ones are the same with noise.
    """
    rng = np.random.default_rng(0)
    for video, frames in (videos or {"a": 6, "b": 7}).items():
        for frame in range(frames):
            coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
            sharp = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
            blurry = np.clip(sharp + rng.normal(0, 12, sharp.shape), 0, 255).astype(np.uint8)
            for kind, pixels in (("blurry", blurry), ("sharp", sharp)):
                for pattern in LAYOUT_FILES[layout][kind]:
                    write_image(root / pattern.format(video=video, frame=frame), pixels)
    return root


@pytest.fixture
def make_videos(tmp_path):
    """A function that writes videos into a new folder; see write_videos."""

    def make(layout: str = "clips", *arguments, root: Path | None = None, **options) -> Path:
        return write_videos(root or tmp_path / layout, layout, *arguments, **options)

    return make


@pytest.fixture
def make_sequences(tmp_path):
    """A function that writes six sequences, two of each partition; returns the root.

    In each a camera moves over a coarse pattern.
    """

    def make(size: tuple[int, int], motion: float) -> Path:
        root = tmp_path / "set"
        partitions = {}
        for index in range(6):
            rng = np.random.default_rng(index)
            picture = np.kron(rng.random((24, 28, 3)), np.ones((4, 4, 1)))
            scene = Scene(picture, smooth_trajectory(rng, 3, motion))
            blurry, sharp = scene.expose(1, 1.0, size, 7)
            frames = [STANDARD.encoded(frame) for frame in sharp]
            write_sequence(root, f"s{index}", STANDARD.encoded(blurry), frames)
            partitions[f"s{index}"] = ("train", "val", "test")[index // 2]
        collect_metadata(root, partitions)
        return root

    return make


@pytest.fixture
def run_command(monkeypatch, capsys):
    """A function that runs a command in this process; returns its exit status and error text."""
    from methods import run

    def call(words: str, *more: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [*words.split(), *map(str, more)])
        code = run(words.partition(".")[0])
        return code, capsys.readouterr().err

    return call


@pytest.fixture
def small_network(tmp_path):
    """A function that writes a tiny cascade with random weights; returns the file's path."""
    from models import build
    from utils.checkpoint import save_weights

    def make(name: str = "small.safetensors", **changes) -> Path:
        arguments = {
            "stages": 2,
            "width": 4,
            "blocks": 1,
            "kernel_size": 3,
            "global_skip": True,
            "flow": "dis",
        } | changes
        torch.manual_seed(0)
        network = build("cdvd_tsp", **arguments)
        torch.nn.init.normal_(network.reconstruction.outward[-1].weight, std=0.02)
        path = tmp_path / name
        save_weights(path, network, "cdvd_tsp", arguments, "cdvd_tsp", dtype=torch.float32)
        return path

    return make
