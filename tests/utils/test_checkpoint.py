import io
import os
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models import NETWORKS, build
from utils.checkpoint import (
    VERSION,
    load_checkpoint,
    load_state,
    load_strict,
    read_description,
    save_checkpoint,
    save_weights,
    unwrap,
    without_prefixes,
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
    with pytest.raises(UserError, match="`python download.py` lists"):
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


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "net.", "net_g.", "model.", "module._orig_mod.module."]
)
def test_prefixes_of_training_programs_are_taken_off(prefix, tmp_path):
    prefixed = {prefix + key: value for key, value in STATE.items()}
    torch.save({"state_dict": prefixed, "epoch": 3}, tmp_path / "w.ckpt")
    save_file(prefixed, tmp_path / "w.safetensors")
    torch.save({"n_averaged": torch.tensor(9), **prefixed}, tmp_path / "averaged.pt")
    for name in ("w.ckpt", "w.safetensors", "averaged.pt"):
        assert equal(load_state(tmp_path / name), STATE), name


def test_no_network_of_ours_has_a_prefix_alone():
    with torch.device("meta"):
        for name in NETWORKS:
            state = build(name).state_dict()
            assert without_prefixes(state).keys() == state.keys(), name


def test_numpy_numbers_beside_the_weights(tmp_path):
    numbers = {
        "a": np.float64(31.25), "b": np.float32(0.5), "c": np.int64(-7), "d": np.bool_(True),
        "e": np.float16(2.5), "f": np.uint8(200),
    }  # fmt: skip
    for zipped in (True, False):
        path = tmp_path / "w.pt"
        torch.save({"state_dict": STATE, **numbers}, path, _use_new_zipfile_serialization=zipped)
        content = load_checkpoint(path)
        assert {name: content[name] for name in numbers} == numbers
        assert equal(load_state(path), STATE)
    older = path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    path.write_bytes(older)
    assert load_checkpoint(path)["a"] == 31.25


def test_numpy_values_of_other_kinds_are_refused(tmp_path):
    for name, value in {
        "object": np.array([STATE], object)[0:1],
        "text": np.str_("a"),
        "array": np.ones(3),
    }.items():
        torch.save({"state_dict": STATE, "other": value}, tmp_path / f"{name}.pt")
        with pytest.raises(UserError, match=rf"{name}\.pt"):
            load_checkpoint(tmp_path / f"{name}.pt")


@pytest.mark.parametrize("average", ["model_ema", "params_ema", "ema", "state_dict_ema"])
def test_averaged_weights_are_taken_and_that_is_said(average, capsys):
    raw = {key: value * 2 for key, value in STATE.items()}
    wrapped = {"model": raw, "state_dict": raw, average: {"decay": 0.9, "module": STATE}}
    assert equal(unwrap(wrapped, "w.pt"), STATE)
    assert f"in w.pt {average} is taken, the averaged weights" in capsys.readouterr().out
    assert equal(unwrap({"model": raw, "epoch": 1}), raw)
    assert capsys.readouterr().out == ""


def test_settings_under_the_name_of_weights_are_passed_over():
    assert equal(unwrap({"model": {"name": "NAFNet", "width": 32}, "weights": STATE}), STATE)


def test_a_container_that_holds_itself_has_no_state(tmp_path):
    content: dict = {}
    content["state_dict"] = content
    torch.save(content, tmp_path / "itself.pt")
    with pytest.raises(UserError, match="itself.pt holds no state dict, only state_dict"):
        load_state(tmp_path / "itself.pt")


def test_older_kinds_of_pytorch_files_are_named(tmp_path):
    with tarfile.open(tmp_path / "old.tar", "w") as target:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps({} if name == "pickle" else 10**9, 2)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            target.addfile(entry, io.BytesIO(content))
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script.pt")
    for name in ("old.tar", "script.pt"):
        with pytest.raises(UserError, match=f"{name} is a PyTorch file of a kind") as caught:
            load_state(tmp_path / name)
        assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value):
    state = nn.Linear(3, 2).state_dict()
    state["weight"][1, 2] = value
    with pytest.raises(UserError, match="w.pt: weight holds values that are no finite numbers"):
        load_strict(nn.Linear(3, 2), state, "w.pt")


def test_an_archive_that_unpacks_to_too_much(tmp_path):
    torch.save({"a": torch.zeros(2**20)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "small.pt", "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for entry in plain.infolist():
            small.writestr(entry.filename, plain.read(entry))
    assert load_state(tmp_path / "plain.pt")["a"].sum() == 0
    with pytest.raises(UserError, match=r"small.pt has [\d,]+ bytes and would unpack to 4,19"):
        load_state(tmp_path / "small.pt")
