"""Which arithmetic a run uses."""

import dataclasses

import pytest
import torch

from methods.common.precision import exact
from methods.image_deblur.config import TestConfig as ScoreConfig
from models import EXACT_IN_BF16, SHIPPED, WEIGHTS_FOLDER
from restoration import ImageRestorer, VideoRestorer
from utils import device as device_module
from utils.device import choose_precision, has_bf16

CPU = torch.device("cpu")
RESTORERS = {"image": ImageRestorer, "video": VideoRestorer}


@pytest.mark.parametrize("there", [False, True])
def test_auto_is_bf16_on_a_cpu_for_proven_networks_alone(monkeypatch, there):
    monkeypatch.setattr(device_module, "has_bf16", lambda device: there)
    expected = torch.bfloat16 if there else torch.float32
    assert choose_precision("auto", CPU, proven=True) == expected
    assert choose_precision("auto", CPU) == torch.float32
    assert choose_precision("fp32", CPU, proven=True) == torch.float32
    assert choose_precision("bf16", CPU) == torch.bfloat16


def test_a_cpu_says_whether_it_has_bf16(monkeypatch):
    for found, expected in (({}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found, raising=False)
        assert has_bf16(CPU) is expected


def test_scores_are_computed_in_float32_unless_told_otherwise():
    config = ScoreConfig()
    assert exact(config).precision == "fp32"
    asked = dataclasses.replace(config, precision="bf16")
    assert exact(asked) is asked


@pytest.mark.parametrize("kind", RESTORERS)
def test_shipped_networks_lose_nothing_in_bf16(kind):
    """What the list of models/__init__.py promises: 60 dB to float32, on a picture of its kind."""
    assert SHIPPED[kind] in EXACT_IN_BF16
    from skimage import data

    picture = torch.from_numpy(data.astronaut()[100:292, 150:390].copy())
    image = picture.permute(2, 0, 1).float() / 255
    results = []
    for precision in ("fp32", "bf16"):
        restorer = RESTORERS[kind].load(SHIPPED[kind], "cpu", precision)
        if kind == "video":
            results.append(torch.stack(list(restorer.stream([image] * 3))))
        else:
            results.append(restorer.restore(image))
    error = (results[0] - results[1]).square().mean()
    assert -10 * torch.log10(error) > 60


def test_auto_is_for_the_shipped_files_and_no_copies(tmp_path, monkeypatch):
    monkeypatch.setattr(device_module, "has_bf16", lambda device: True)
    assert ImageRestorer.load(None, "cpu").dtype == torch.bfloat16
    copy = tmp_path / "image_deblur.safetensors"
    copy.write_bytes((WEIGHTS_FOLDER / copy.name).read_bytes())
    assert ImageRestorer.load(copy, "cpu").dtype == torch.float32
