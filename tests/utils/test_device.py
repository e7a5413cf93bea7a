"""Which arithmetic a run uses."""

import dataclasses

import pytest
import torch

from methods.common.precision import exact
from methods.image_deblur.config import TestConfig as ScoreConfig
from models import EXACT_IN_BF16, SHIPPED, WEIGHTS_FOLDER, load
from restoration import ImageRestorer, VideoRestorer
from utils import device as device_module
from utils.device import (
    arithmetic,
    available_memory,
    choose_device,
    choose_precision,
    has_bf16,
)
from utils.errors import UserError

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


GPU = torch.device("cuda", 0)


@pytest.fixture
def tf32_switches():
    """Both switches of torch, which are put back."""
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    yield switches
    for switch, value in zip(switches, before):
        switch.allow_tf32 = value


def test_float32_is_exact_unless_tf32_is_asked_for(tf32_switches, monkeypatch):
    monkeypatch.setattr(device_module, "has_bf16", lambda device: True)
    for name, expected in (("tf32", True), ("fp32", False), ("tf32", True), ("auto", False)):
        dtype = choose_precision(name, GPU)
        assert dtype == (torch.bfloat16 if name == "auto" else torch.float32)
        assert [switch.allow_tf32 for switch in tf32_switches] == [expected] * 2
        words = {"tf32": "float32 with TF32 products on cuda:0", "fp32": "float32 on cuda:0"}
        if name in words:
            assert arithmetic(GPU, dtype) == words[name]
    with pytest.raises(UserError, match="tf32 needs a GPU"):
        choose_precision("tf32", CPU)


def test_memory_that_torch_keeps_for_itself_is_free(monkeypatch):
    """After a first picture the allocator holds 6 GB of blocks, of which the weights use one."""
    gigabyte = 2**30
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (gigabyte, 8 * gigabyte))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 6 * gigabyte)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: gigabyte)
    assert available_memory(GPU) == 6 * gigabyte


def test_a_process_of_torchrun_opens_its_own_gpu_alone(monkeypatch):
    made_current = []
    asked = []
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", made_current.append)
    capability = {0: (7, 5), 1: (9, 0)}

    def ask(device):
        asked.append(device.index)
        return capability[device.index]

    monkeypatch.setattr(torch.cuda, "get_device_capability", ask)
    device = choose_device("auto")
    assert device == torch.device("cuda", 1) and made_current == [1]
    assert choose_precision("auto", device) == torch.bfloat16 and asked == [1]
    assert choose_precision("auto", GPU) == torch.float32  # Turing


def test_tiles_on_a_gpu_follow_what_the_precision_needs(monkeypatch):
    """13 GB hold a 4000x3000 picture of the shipped network whole in bf16, not in float32."""
    network = load("image_deblur")
    whole = network.bytes_per_pixel * 12_000_000
    monkeypatch.setattr("restoration.image.available_memory", lambda device: whole)
    tiles = {}
    for dtype in (torch.float32, torch.bfloat16):
        restorer = ImageRestorer(network, GPU, dtype)
        tiles[dtype] = restorer.count_tiles((3000, 4000))
    assert tiles[torch.bfloat16] == 1 and tiles[torch.float32] > 1
