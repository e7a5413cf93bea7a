import os
import struct

import pytest
import torch
from torch import nn

from utils.checkpoint import (
    VERSION,
    load_checkpoint,
    load_state,
    load_strict,
    read_description,
    save_checkpoint,
    save_weights,
    unwrap,
)
from utils.errors import UserError

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.pytorch", "w.tar", "w.pkl"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_authors_formats(tmp_path, name, zipped):
    torch.save(STATE, tmp_path / name, _use_new_zipfile_serialization=zipped)
    assert equal(load_state(tmp_path / name), STATE)


def test_python_2_pickles_with_byte_strings(tmp_path):
    path = tmp_path / "old.tar"
    torch.save(STATE, path, _use_new_zipfile_serialization=False, pickle_protocol=2)

    content = path.read_bytes()
    # BINUNICODE (X, 4-byte length) -> SHORT_BINSTRING (U, 1-byte length)
    for key in (b"a.weight", b"a.bias"):
        old = b"X" + struct.pack("<I", len(key)) + key
        assert old in content
        content = content.replace(old, b"U" + struct.pack("<B", len(key)) + key)
    path.write_bytes(content)
    assert equal(load_state(path), STATE)


@pytest.mark.parametrize("wrapper", ["state_dict", "params", "model", "params_ema", "anything"])
def test_wrappers_and_prefixes_are_taken_off(wrapper):
    prefixed = {f"module.{key}": value for key, value in STATE.items()}
    assert equal(unwrap({"epoch": 3, wrapper: prefixed, "optimizer": {"lr": 1}}), STATE)
    of_bytes = {key.encode(): value for key, value in STATE.items()}
    assert equal(unwrap({b"state_dict": of_bytes}), STATE)


def test_no_state_dict_inside():
    with pytest.raises(UserError, match="no state dict, only epoch"):
        unwrap({"epoch": 3})
    with pytest.raises(UserError, match="a list"):
        unwrap([1, 2])


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_truncated_files_are_named(tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    if suffix == ".pt":
        torch.save(STATE, path)
    else:
        save_weights(path, nn.Linear(64, 64), "linear", {}, "none")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=f"cut{suffix}.*truncated"):
        load_state(path)


def test_missing_file_says_where_to_look(tmp_path):
    with pytest.raises(UserError, match="pretrain_models/README.md"):
        load_checkpoint(tmp_path / "none.pt")


def test_description_and_half_precision(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, nn.Linear(3, 2), "linear", {"width": 3, "flow": "dis"}, "demo")
    assert read_description(path) == {
        "network": "linear",
        "arguments": {"width": 3, "flow": "dis"},
        "method": "demo",
        "version": VERSION,
    }
    assert load_state(path)["weight"].dtype == torch.float16
    network = nn.Linear(3, 2)
    load_strict(network, load_state(path), path)
    assert network.weight.dtype == torch.float32


def test_strict_loading_names_every_difference():
    state = {"weight": torch.zeros(2, 4), "scale": torch.zeros(1)}
    with pytest.raises(UserError) as error:
        load_strict(nn.Linear(3, 2), state, "file.pt")
    assert str(error.value).startswith(
        "file.pt does not fit Linear: 1 missing (bias); 1 extra (scale); "
        "1 misshaped (weight (2, 4) instead of (2, 3))"
    )


def test_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path) == {"step": 1}
    assert os.listdir(tmp_path) == ["last.pt"]


def test_what_half_precision_cannot_hold_stays_as_it_is(tmp_path):
    """A variance of batch norm above 65504 would become infinite, and the layer give zeros."""
    network = nn.BatchNorm2d(2)
    network.running_var.copy_(torch.tensor([1.0, 1e6]))
    save_weights(tmp_path / "w.safetensors", network, "n", {}, "m")
    state = load_state(tmp_path / "w.safetensors")
    assert torch.equal(state["running_var"], network.running_var)
    assert state["weight"].dtype == torch.float16
