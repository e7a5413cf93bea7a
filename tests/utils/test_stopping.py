"""Signals in the middle of long steps and validations: what was done is kept, nothing is lost."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.utils.test_training import Regression, limits, network_of
from utils import stopping
from utils.checkpoint import load_checkpoint
from utils.stopping import Statistics, Stop, let_signals_in
from utils.training import Phase, train

LONG_S = 60  # nobody waits for it


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(stopping, "PATIENCE_S", 0.05)
    monkeypatch.setattr(stopping, "_AGAIN_S", 0.05)


def stuck() -> None:
    """Something that takes long, and is told to end at its start."""
    os.kill(os.getpid(), signal.SIGTERM)
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        time.sleep(0.001)
    raise AssertionError("nobody ended it")


class Normed(Regression):
    """With batch norm, whose statistics change while a step is under way."""

    def __init__(self, stuck_at: int = 0, **options):
        super().__init__(phases={0: Phase((0.02,), 5, 1)}, **options)
        self.network = nn.Sequential(nn.Unflatten(1, (4, 1, 1)), nn.BatchNorm2d(4), nn.Flatten(1))
        self.network.append(nn.Linear(4, 1))
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.stuck_at = stuck_at

    def step(self, batch, generators, step):
        losses = super().step(batch, generators, step)
        if self.seen == self.stuck_at:
            self.losses.pop()
            stuck()
        return losses


def test_a_long_step_is_given_up_and_done_again_on_resuming(tmp_path):
    """The losses and weights are those of a run that was never stopped."""
    whole = Normed()
    train(whole, tmp_path / "whole", limits(6), resume=False)
    first = Normed(stuck_at=3)
    with pytest.raises(KeyboardInterrupt):
        train(first, tmp_path / "parts", limits(6), resume=False)
    assert load_checkpoint(tmp_path / "parts/last.pt")["step"] == 2
    assert "interrupted at step 2" in (tmp_path / "parts/log.txt").read_text()
    second = Normed()
    train(second, tmp_path / "parts", limits(6), resume=True)
    assert whole.losses == first.losses + second.losses
    assert torch.equal(network_of(tmp_path / "whole"), network_of(tmp_path / "parts"))


class LongValidation(Regression):
    """Validation, after every fourth step, takes long the first time."""

    waits = True

    def evaluate(self):
        if self.waits:
            stuck()
        return super().evaluate()


def test_a_long_validation_is_given_up_and_done_on_resuming(tmp_path):
    train(Regression(), tmp_path / "whole", limits(8), resume=False)
    task = LongValidation()
    with pytest.raises(KeyboardInterrupt):
        train(task, tmp_path / "parts", limits(8), resume=False)
    assert not (tmp_path / "parts/metrics.csv").exists() and task.network.training is False
    second = Regression()
    second.losses = task.losses  # what its validation tells
    train(second, tmp_path / "parts", limits(8), resume=True)
    tables = [(tmp_path / run / "metrics.csv").read_text() for run in ("whole", "parts")]
    assert tables[0] == tables[1] and tables[0].count("\n") == 3
    assert torch.equal(network_of(tmp_path / "whole"), network_of(tmp_path / "parts"))


def test_waiting_for_data_is_given_up(tmp_path, monkeypatch):
    class Slow:
        def __iter__(self):
            return self

        def __next__(self):
            stuck()

    monkeypatch.setattr(Regression, "loader", lambda self, phase, start: Slow())
    with pytest.raises(KeyboardInterrupt):
        train(Regression(), tmp_path, limits(8), resume=False)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 0


def test_a_second_signal_does_not_wait(monkeypatch):
    monkeypatch.setattr(stopping, "PATIENCE_S", LONG_S)
    with Stop() as stop, pytest.raises(stopping.Abandoned):
        os.kill(os.getpid(), signal.SIGINT)  # outside of what may be given up
        assert stop.asked
        with stop.interruptible():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(LONG_S)


def test_what_must_be_whole_is_not_given_up(monkeypatch):
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)  # the alarm comes several times
        with pytest.raises(stopping.Abandoned), stop.interruptible():
            raise AssertionError("begun although it is late")


def test_several_processes_end_their_step_together(monkeypatch):
    monkeypatch.setattr("utils.distributed.world", lambda: 2)
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with stop.interruptible():
            time.sleep(0.3)
    assert stop.asked


def test_python_has_its_turn_at_every_layer_of_backward(monkeypatch):
    """What is raised then ends it at once, though the layers share their weights."""
    turns = []

    def turn(gradient: torch.Tensor) -> None:
        turns.append(gradient)
        if len(turns) == 12:
            raise stopping.Abandoned

    monkeypatch.setattr(stopping, "_do_nothing", turn)
    layer = nn.Linear(3, 3)
    let_signals_in(nn.Sequential(layer, nn.Identity()), torch.device("cpu"))
    value = torch.ones(2, 3)
    for _ in range(8):
        value = layer(value)
    value.sum().backward(retain_graph=True)
    assert len(turns) == 8 and layer.weight.grad.any()
    layer.weight.grad = None
    with pytest.raises(stopping.Abandoned):
        value.sum().backward()
    assert len(turns) == 12 and layer.weight.grad is None
    with torch.inference_mode():
        layer(torch.ones(2, 3))


def test_statistics_are_put_back():
    norm = nn.BatchNorm2d(2)
    statistics = Statistics(nn.Sequential(norm))
    statistics.keep()
    norm(torch.randn(3, 2, 4, 4))
    assert norm.num_batches_tracked == 1 and norm.running_mean.any()
    statistics.put_back()
    assert norm.num_batches_tracked == 0 and not norm.running_mean.any()


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.asked
    finally:
        signal.signal(signal.SIGHUP, before)
