"""What the tests of image_deblur share."""

from pathlib import Path

import pytest
import torch

from methods.image_deblur import inference
from methods.image_deblur.config import InferenceConfig
from models import build
from restoration.image import ImageRestorer
from utils.checkpoint import save_weights


@pytest.fixture
def weights(tmp_path):
    """A function that writes a small network's weights; NAFNet without a name. It changes the
    picture visibly.
    """

    def make(name: str = "nafnet", file: str = "small.safetensors", **arguments) -> Path:
        default = {
            "nafnet": {"width": 8, "encoder": [1], "middle": 1, "decoder": [1], "training_size": 32}
        }
        arguments = arguments or default.get(name, {})
        torch.manual_seed(0)
        network = build(name, **arguments)
        for key, value in network.named_parameters():
            if key.endswith((".beta", ".gamma")):  # NAFNet's blocks start as nothing
                value.data.fill_(0.5)
        save_weights(tmp_path / file, network, name, arguments, "image_deblur", dtype=torch.float32)
        return tmp_path / file

    return make


@pytest.fixture
def restore(weights, tmp_path):
    def run(path, **options):
        given = {
            "data_path": path,
            "weights": weights(),
            "output_dir": tmp_path / "out",
            "device": "cpu",
            "guard": False,  # these weights change the large areas
        } | options
        return inference.main(InferenceConfig(**given))

    return run


@pytest.fixture
def identity(monkeypatch):
    """The network gives back what it gets: what is left is reading and writing."""
    monkeypatch.setattr(ImageRestorer, "restore", lambda self, image, progress=None: image)
