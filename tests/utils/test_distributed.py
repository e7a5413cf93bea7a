"""Several processes: what they tell each other, batch norm over their parts, GPUs of their own."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import Dataset

from utils import distributed
from utils.batch_norm import SynchronizedBatchNorm2d
from utils.checkpoint import load_checkpoint
from utils.config import ROOT
from utils.errors import UserError
from utils.sampling import StepSampler, endless_loader
from utils.training import Limits, Phase, Validation, train

CPU = torch.device("cpu")


class Maps(Dataset):
    """Ten random maps that depend on (epoch, index) alone."""

    def __len__(self):
        return 10

    def __getitem__(self, key):
        return {"x": torch.from_numpy(np.random.default_rng(key).normal(size=(2, 5, 4))).float()}


class Normed:
    """A network with two batch norms; batches of 3, 3, 3 and 1.

    Biases before them would learn from rounding errors alone.
    """

    unused_parameters = False
    steps_per_epoch = 4

    def __init__(self):
        torch.manual_seed(0)
        layers = (nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU())
        last = (nn.Conv2d(3, 2, 1, bias=False), nn.BatchNorm2d(2))
        self.network = nn.Sequential(*layers, *last)
        self.optimizer = torch.optim.Adam(self.network.parameters())

    def schedule(self, step):
        return Phase((0.02,), 3, 1)

    def loader(self, phase, start):
        return endless_loader(Maps(), StepSampler(10, 3, seed=5, start=start), 0)

    def step(self, batch, generators, step):
        features = self.network(batch["x"])
        return {"loss": (features[:, 0] * features[:, 1]).abs().mean()}

    def evaluate(self):
        return Validation({"score": float(len(distributed.all_gather([str(distributed.rank())])))})

    def export(self, path):
        pass


def limits(**others):
    return Limits(9, 0.0, CPU, torch.float32, seed=3, **others)


if __name__ == "__main__":  # what torchrun starts below
    from pathlib import Path

    folder = Path(sys.argv[1])
    metrics = train(Normed(), folder, limits(), resume=folder.is_dir())
    assert metrics["score"] == 2, metrics


def state_of(folder):
    content = load_checkpoint(folder / "last.pt")
    return content["step"], content["network"]


def test_batch_norm_is_that_of_one_process(tmp_path):
    """Nine steps of two processes give one process's weights and statistics; a batch of one sample
    leaves the second process without any. What one process began, two go on with.
    """
    train(Normed(), tmp_path / "one", limits(), resume=False)
    train(Normed(), tmp_path / "begun", Limits(4, 0.0, CPU, torch.float32, 3), resume=False)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    step, expected = state_of(tmp_path / "one")
    for name in ("two", "begun"):
        # A launch each: a second group would find the first one's addresses.
        command = [sys.executable, *launcher, "-m", "tests.utils.test_distributed", tmp_path / name]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        other_step, found = state_of(tmp_path / name)
        assert other_step == step == 9 and found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)


def test_synchronised_batch_norm_of_one_process_is_torchs(monkeypatch):
    monkeypatch.setattr("utils.batch_norm.all_reduce", lambda values: values)
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(3), nn.BatchNorm2d(3)]
    norms[1].weight.data = norms[0].weight.data = torch.rand(3)
    norms[1] = SynchronizedBatchNorm2d.of(norms[1])
    gradients = []
    for norm in norms:
        torch.manual_seed(1)
        features = torch.randn(2, 3, 4, 5, requires_grad=True)
        norm(features).pow(3).sum().backward()
        gradients.append((features.grad, norm.weight.grad, norm.bias.grad))
        norm.eval()
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norms[0].state_dict(), norms[1].state_dict())
    assert norms[0].state_dict().keys() == norms[1].state_dict().keys()
    features = torch.randn(2, 3, 4, 5).bfloat16()
    assert norms[1].train()(features).dtype == torch.bfloat16


def test_batch_norm_in_parts_is_said_and_refused_for_several_processes(
    tmp_path, monkeypatch, capsys
):
    train(Normed(), tmp_path, limits(accumulate=2), resume=False)
    assert "note: batch norm sees the parts of --accumulate one by one" in capsys.readouterr().out
    monkeypatch.setattr(distributed, "world", lambda: 2)
    from utils.gradients import Gradients

    with pytest.raises(UserError, match="--accumulate 2: .* leave --accumulate out"):
        Gradients(Normed(), limits(accumulate=2), torch.amp.GradScaler("cpu", enabled=False))


def test_between_gpus_the_group_is_bound_to_its_device_and_objects_travel_by_gloo(monkeypatch):
    """In the order that NCCL needs; nothing of it runs here."""
    calls = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    device = torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.append(("current", device)))

    def init(backend, **options):
        calls.append((backend, options))

    monkeypatch.setattr(dist, "init_process_group", init)
    monkeypatch.setattr(dist, "new_group", lambda **options: options["backend"])
    monkeypatch.setattr(dist, "destroy_process_group", lambda: calls.append("destroyed"))

    def gather(shards, items, group):
        assert group == "gloo"
        shards[:] = [["a", "c"], ["b"]]

    monkeypatch.setattr(dist, "all_gather_object", gather)
    with distributed.session(device):
        assert distributed.all_gather(["b"]) == ["a", "b", "c"]
    assert calls == [("current", device), ("nccl", {"device_id": device}), "destroyed"]
    with (
        pytest.raises(UserError, match="cuda:0 in process 1 .* leave --device out"),
        distributed.session(torch.device("cuda", 0)),
    ):
        pass
