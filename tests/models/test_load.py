import pickle
from threading import Thread

import pytest
import torch

import models
from models import WEIGHTS_FOLDER, build, limited_layers, load
from models.cdvd_tsp import CDVDTSP
from models.published import load_published
from utils.checkpoint import load_state, save_weights
from utils.errors import UserError


def test_our_weights_build_their_network(tmp_path):
    arguments = {"stages": 1, "width": 4, "blocks": 1, "kernel_size": 3, "flow": "dis"}
    network = build("cdvd_tsp", **arguments)
    save_weights(
        tmp_path / "w.safetensors", network, "cdvd_tsp", arguments, "cdvd_tsp", dtype=torch.float32
    )
    again = load(tmp_path / "w.safetensors")
    assert isinstance(again, CDVDTSP) and again.stages == 1 and not again.training
    for key, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)


def test_authors_files_are_recognised_by_their_keys(golden, tmp_path):
    torch.save(golden("pwc").state(), tmp_path / "network-default.pytorch")
    assert type(load(tmp_path / "network-default.pytorch")).__name__ == "PWCNet"
    torch.save(golden("cdvd_tsp").state(), tmp_path / "CDVD_TSP_DVD_Convergent.pt")
    assert load(tmp_path / "CDVD_TSP_DVD_Convergent.pt").stages == 2


def test_shipped_weights_load_by_name():
    assert isinstance(load("cdvd_tsp"), CDVDTSP)
    assert (models.WEIGHTS_FOLDER / "cdvd_tsp.safetensors").stat().st_size <= 5_000_000


def test_wrong_files_are_refused(golden, tmp_path):
    state = golden("pwc").state()
    with pytest.raises(UserError, match="no weights at nowhere.*`python download.py` lists"):
        load("nowhere")
    with pytest.raises(UserError, match="not a published cdvd_tsp checkpoint"):
        load_published("cdvd_tsp", state)
    with pytest.raises(UserError, match="no published form of 'resnet'"):
        load_published("resnet", state)
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="none of the networks known here.*conv.weight"):
        load(tmp_path / "other.pt")


@pytest.mark.parametrize("damage", ["missing", "extra", "misshaped"])
def test_entries_must_fit(golden, damage):
    state = golden("pwc").state()
    key = "moduleRefiner.moduleMain.12.bias"
    if damage == "missing":
        del state[key]
    elif damage == "extra":
        state["moduleRefiner.moduleMain.14.bias"] = torch.zeros(2)
    else:
        state[key] = torch.zeros(3)
    with pytest.raises(UserError, match=rf"1 {damage} \(refiner\.1[24]\.bias"):
        load_published("pwc_net", state)


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_code_in_a_checkpoint_is_refused(tmp_path, capsys):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "args": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match="print.*refused"):
        load_state(tmp_path / "evil.pt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError, match="plain.pkl"):
        load_state(tmp_path / "plain.pkl")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "path", sorted(WEIGHTS_FOLDER.glob("*.safetensors")), ids=lambda path: path.stem
)
def test_shipped_weights_are_finite(path):
    assert all(torch.isfinite(value).all() for value in load(path).state_dict().values())


SMALL = {"width": 4, "encoder": [1], "middle": 1, "decoder": [1]}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"encoder": [60_000]}, "more layers than 61 entries fill"),
        ({"encoder": [10**9]}, "is 1000000000, not a number from"),
        ({"width": 10**9}, "is 1000000000, not a number from"),
        ({"width": 60_000}, "does not fit NAFNet"),
        ({"width": float("nan")}, "width is nan, not a number"),
        ({"encoder": [1] * 40, "decoder": [1] * 40}, "more layers than 61 entries fill"),
        ({"width": -4}, "can't be read as a network.*negative dimension -4"),
        ({"width": "wide"}, "can't be read as a network"),
        ({"width": [[[4]]]}, "can't be read as a network"),
    ],
)
def test_a_network_is_no_larger_than_its_file(arguments, sentence, tmp_path):
    path = tmp_path / "bad.safetensors"
    save_weights(path, build("nafnet", **SMALL), "nafnet", {**SMALL, **arguments}, "image_deblur")
    with pytest.raises(UserError, match=f"bad.safetensors.*{sentence}"):
        load(path)


def test_other_threads_build_what_they_like(tmp_path):
    built = []
    with limited_layers(1, tmp_path):
        thread = Thread(target=lambda: built.append(build("nafnet", **SMALL)))
        thread.start()
        thread.join()
        with pytest.raises(UserError, match="more layers than 1 entries fill"):
            build("nafnet", **SMALL, downscale=1)
            build("nafnet", **SMALL)
    assert len(built) == 1
    build("nafnet", **SMALL)


def test_a_network_beside_others_in_a_checkpoint(golden, tmp_path):
    """As Lightning stores a module with its loss."""
    state = {f"net.{key}": value for key, value in golden("pwc").state().items()}
    content = {"state_dict": {**state, "loss.scale": torch.ones(1)}, "epoch": 3}
    torch.save(content, tmp_path / "a.ckpt")
    assert type(load(tmp_path / "a.ckpt")).__name__ == "PWCNet"
