import os
import signal

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from utils.checkpoint import load_checkpoint
from utils.errors import UserError
from utils.training import Limits, StepSampler, endless_loader, train


class Numbers(Dataset):
    """Items that depend only on (epoch, index)."""

    def __len__(self):
        return 10

    def __getitem__(self, key):
        rng = np.random.default_rng(key)
        x = torch.from_numpy(rng.normal(size=4).astype(np.float32))
        return {"x": x, "y": x.sum()[None]}


class Regression:
    def __init__(self, workers=0, poison=None, stop_at=None):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.workers, self.poison, self.stop_at = workers, poison, stop_at
        self.steps_per_epoch, self.seen, self.losses = 4, 0, []

    def batches(self, start):
        return endless_loader(Numbers(), StepSampler(10, 3, seed=5, start=start), self.workers)

    def step(self, batch, generator):
        self.seen += 1
        if self.stop_at == self.seen:
            os.kill(os.getpid(), signal.SIGTERM)
        noise = torch.rand(1, generator=generator)  # so that the loss depends on the step's generator
        loss = ((self.network(batch["x"]) - batch["y"]) ** 2).mean() * (1 + 0.1 * noise[0])
        self.losses.append(loss.item())
        return {"square": loss * float("nan") if self.seen == self.poison else loss}

    def rates(self, step):
        return [0.02 * 0.99**step]

    def evaluate(self):
        return {"score": -self.losses[-1]}

    def export(self, path):
        path.write_bytes(b"weights")


def limits(steps, minutes=0.0):
    return Limits(steps, minutes, torch.device("cpu"), torch.float32, seed=3)


def test_stop_and_resume_equals_never_stopping(tmp_path):
    whole, first, second = Regression(), Regression(), Regression()
    train(whole, tmp_path / "whole", limits(9), resume=False)
    train(first, tmp_path / "parts", limits(5), resume=False)
    train(second, tmp_path / "parts", limits(9), resume=True)
    assert whole.losses == first.losses + second.losses
    one, two = (load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "parts"))
    assert one["step"] == two["step"] == 9
    for key in one["network"]:
        assert torch.equal(one["network"][key], two["network"][key])


def test_workers_do_not_matter(tmp_path):
    alone, helped = Regression(workers=0), Regression(workers=2)
    train(alone, tmp_path / "a", limits(6), resume=False)
    train(helped, tmp_path / "b", limits(6), resume=False)
    assert alone.losses == helped.losses


def test_loss_falls_and_the_folder_is_complete(tmp_path):
    task = Regression()
    metrics = train(task, tmp_path, limits(200), resume=False)
    assert np.mean(task.losses[-20:]) < 0.2 * np.mean(task.losses[:20])
    assert metrics["score"] == -task.losses[-1]
    assert {"last.pt", "best.pt", "last.safetensors", "best.safetensors", "log.txt", "metrics.csv", "curve.png", "tensorboard"} <= set(
        os.listdir(tmp_path)
    )
    assert load_checkpoint(tmp_path / "best.pt")["best"] >= load_checkpoint(tmp_path / "last.pt")["best"] - 1e-9


def test_sigterm_finishes_the_step_and_saves(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(Regression(stop_at=3), tmp_path, limits(50), resume=False)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 3
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_time_budget(tmp_path):
    train(Regression(), tmp_path, limits(10**6, minutes=1e-3), resume=False)
    assert 0 < load_checkpoint(tmp_path / "last.pt")["step"] < 10**6


def test_nan_stops_with_a_sentence_and_keeps_the_checkpoint(tmp_path):
    train(Regression(), tmp_path, limits(2), resume=False)
    with pytest.raises(UserError, match="loss is nan at step 4: lower --lr"):
        train(Regression(poison=2), tmp_path, limits(9), resume=True)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 2


def test_a_run_is_not_overwritten(tmp_path):
    train(Regression(), tmp_path, limits(1), resume=False)
    with pytest.raises(UserError, match="already holds a run: add --resume"):
        train(Regression(), tmp_path, limits(1), resume=False)
    with pytest.raises(UserError, match="nothing to resume"):
        train(Regression(), tmp_path / "new", limits(1), resume=True)


def test_sampler_covers_each_epoch_and_starts_anywhere():
    sampler = StepSampler(10, 4, seed=1, repeats=2)
    batches = iter(sampler)
    epoch = [next(batches) for _ in range(sampler.steps_per_epoch)]
    assert [len(batch) for batch in epoch] == [4] * 5
    assert sorted(key for batch in epoch for key in batch) == [(repeat, index) for repeat in (0, 1) for index in range(10)]
    later = iter(StepSampler(10, 4, seed=1, repeats=2, start=3))
    assert [next(later) for _ in range(2)] == epoch[3:]
    assert StepSampler(1955, 8, 1, repeats=4).steps_per_epoch == 978  # GoPro, as published
