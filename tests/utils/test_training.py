import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from utils import training
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.config import ROOT
from utils.errors import UserError
from utils.readings import Readings
from utils.sampling import StepSampler, endless_loader
from utils.training import Limits, Phase, Validation, train


class Numbers(Dataset):
    """Items that depend only on (epoch, index)."""

    def __len__(self):
        return 10

    def __getitem__(self, key):
        rng = np.random.default_rng(key)
        x = torch.from_numpy(rng.normal(size=4).astype(np.float32))
        return {"x": x, "y": x.sum()[None]}


class Regression:
    unused_parameters = False

    def __init__(self, workers=0, poison=None, stop_at=None, phases=None, dropout=0.0):
        torch.manual_seed(0)
        self.network = nn.Sequential(
            nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 1)
        )
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.workers = workers
        self.poison = poison
        self.stop_at = stop_at
        self.phases = phases or {0: Phase((0.02,), 3, 1)}
        self.steps_per_epoch = 4
        self.seen = 0
        self.losses = []
        self.sizes = []

    def schedule(self, step):
        return self.phases[max(since for since in self.phases if since <= step)]

    def loader(self, phase, start):
        sampler = StepSampler(10, phase.batch_size, seed=5, start=start - phase.since)
        return endless_loader(Numbers(), sampler, self.workers)

    def step(self, batch, generators, step):
        self.seen += 1
        if self.stop_at == self.seen:
            os.kill(os.getpid(), signal.SIGTERM)
        # a loss that depends on the generators
        noise = torch.stack([torch.rand(1, generator=generator) for generator in generators])
        loss = ((self.network(batch["x"]) - batch["y"]) ** 2 * (1 + 0.1 * noise)).mean()
        self.losses.append(loss.item())
        self.sizes.append(len(batch["x"]))
        if self.seen == self.poison:
            loss = loss * float("nan")
        return {"square": loss}

    def evaluate(self):
        grey = np.full((8, 8, 3), 128, np.uint8)
        return Validation({"score": -self.losses[-1]}, {"one": {"blurry": grey, "sharp": grey}})

    def export(self, path):
        torch.save(self.network.state_dict(), path)


def limits(steps, minutes=0.0, **others):
    return Limits(steps, minutes, torch.device("cpu"), torch.float32, seed=3, **others)


def network_of(folder, name="last.pt"):
    state = load_checkpoint(folder / name)["network"]
    return torch.cat([value.flatten() for value in state.values()])


@pytest.mark.parametrize(
    "others", [{}, {"average": 0.9, "gradient_norm": 0.1}], ids=["plain", "average"]
)
def test_stop_and_resume_equals_never_stopping(tmp_path, others):
    whole, first, second = (Regression(dropout=0.2) for _ in range(3))
    train(whole, tmp_path / "whole", limits(9, **others), resume=False)
    train(first, tmp_path / "parts", limits(5, **others), resume=False)
    train(second, tmp_path / "parts", limits(9, **others), resume=True)
    assert whole.losses == first.losses + second.losses
    one = load_checkpoint(tmp_path / "whole" / "last.pt")
    two = load_checkpoint(tmp_path / "parts" / "last.pt")
    assert one["step"] == two["step"] == 9
    assert ("average" in one) == bool(others)
    for part in {"network", "average"} & one.keys():
        for key in one[part]:
            assert torch.equal(one[part][key], two[part][key])


def test_a_run_that_is_killed_early_can_be_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "FIRST_SAVE_S", 0)
    whole, killed, second = (Regression() for _ in range(3))
    train(whole, tmp_path / "whole", limits(6), resume=False)

    def step(batch, generators, number):
        if number == 2:
            raise RuntimeError("killed")
        return Regression.step(killed, batch, generators, number)

    killed.step = step
    with pytest.raises(RuntimeError, match="killed"):
        train(killed, tmp_path / "killed", limits(6), resume=False)
    train(second, tmp_path / "killed", limits(6), resume=True)
    assert second.losses == whole.losses[1:]  # the first checkpoint was after the first step


def test_batch_in_parts_is_the_same_step(tmp_path):
    train(Regression(), tmp_path / "whole", limits(6), resume=False)
    parts = Regression()
    train(parts, tmp_path / "parts", limits(6, accumulate=2), resume=False)
    assert parts.sizes == [2, 1, 2, 1, 2, 1, 1, 2, 1, 2, 1]  # batches of 3, 3, 3, 1, 3, 3
    assert torch.allclose(
        network_of(tmp_path / "whole"), network_of(tmp_path / "parts"), rtol=1e-5, atol=1e-7
    )


def test_phases_change_batch_rate_and_optimiser(tmp_path):
    """As Restormer and IRP do; resuming inside a phase changes nothing."""
    phases = {0: Phase((0.02,), 3, 1), 3: Phase((0.01,), 5, 2, since=3)}
    whole, first, second = (Regression(phases=phases) for _ in range(3))
    train(whole, tmp_path / "whole", limits(7), resume=False)
    assert whole.sizes == [3, 3, 3, 5, 5, 5, 5]
    train(first, tmp_path / "parts", limits(5), resume=False)
    train(second, tmp_path / "parts", limits(7), resume=True)
    assert whole.losses == first.losses + second.losses
    restarted = {0: Phase((0.02,), 3, 1), 2: Phase((0.02,), 3, 1, reset_optimizer=True)}
    reset = Regression(phases=restarted)
    train(reset, tmp_path / "reset", limits(3), resume=False)
    assert all(state["step"] == 1 for state in reset.optimizer.state.values())
    assert whole.losses[:2] == reset.losses[:2]


def test_the_averaged_weights_are_exported(tmp_path):
    task = Regression()
    before = [value.clone() for value in task.network.parameters()]
    train(task, tmp_path, limits(1, average=0.75), resume=False)
    train(task, tmp_path, limits(2, average=0.75), resume=True)
    exported = torch.load(tmp_path / "last.safetensors")
    content = load_checkpoint(tmp_path / "last.pt")
    assert not torch.equal(exported["0.weight"], content["network"]["0.weight"])
    assert torch.equal(exported["0.weight"], content["average"]["module.0.weight"])
    assert not torch.equal(before[0], exported["0.weight"])


def test_workers_do_not_matter(tmp_path):
    alone = Regression(workers=0)
    helped = Regression(workers=2)
    train(alone, tmp_path / "a", limits(6), resume=False)
    train(helped, tmp_path / "b", limits(6), resume=False)
    assert alone.losses == helped.losses


def test_loss_falls_and_the_folder_is_complete(tmp_path):
    task = Regression()
    task.steps_per_epoch = 100
    metrics = train(task, tmp_path, limits(200), False, "lr: 0.02\n")
    assert np.mean(task.losses[-20:]) < 0.2 * np.mean(task.losses[:20])
    assert metrics["score"] == -task.losses[-1]
    expected = (
        "last.pt best.pt last.safetensors best.safetensors config.yaml log.txt loss.csv "
        "metrics.csv curve.png validation.jpg tensorboard"
    )
    assert set(expected.split()) <= set(os.listdir(tmp_path))
    best = load_checkpoint(tmp_path / "best.pt")["best"]
    assert best >= load_checkpoint(tmp_path / "last.pt")["best"] - 1e-9


def test_sigterm_finishes_the_step_and_saves(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        train(Regression(stop_at=3), tmp_path, limits(50), resume=False)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 3
    assert signal.getsignal(signal.SIGTERM) == before


class LateReadings(Readings):
    """As on a GPU, where a step's numbers are read when the next one is under way."""

    def __init__(self, device):
        super().__init__(device, delay=1)


def test_losses_that_are_read_later_are_the_same(tmp_path, monkeypatch):
    train(Regression(), tmp_path / "now", limits(7), resume=False)
    monkeypatch.setattr("utils.training.Readings", LateReadings)
    train(Regression(), tmp_path / "later", limits(7), resume=False)
    names = ("loss.csv", "metrics.csv")
    now, later = (
        [(tmp_path / run / name).read_text() for name in names] for run in ("now", "later")
    )
    assert now == later
    assert torch.equal(network_of(tmp_path / "now"), network_of(tmp_path / "later"))
    with pytest.raises(UserError, match="loss is nan at step 9: lower --lr"):
        train(Regression(poison=2), tmp_path / "later", limits(30), resume=True)
    assert load_checkpoint(tmp_path / "later" / "last.pt")["step"] == 7
    with pytest.raises(KeyboardInterrupt):  # the step under way is finished, too
        train(Regression(stop_at=3), tmp_path / "stopped", limits(50), resume=False)
    assert load_checkpoint(tmp_path / "stopped" / "last.pt")["step"] == 4


def test_ten_steps_are_profiled(tmp_path, capsys):
    train(Regression(), tmp_path, limits(16, profile=True), resume=False)
    assert "profile of 10 steps in" in capsys.readouterr().out
    trace = json.loads((tmp_path / "profile.json").read_text())
    events = [event["name"] for event in trace["traceEvents"]]
    assert sum(name.startswith("ProfilerStep#") for name in events) == 10


def test_time_budget(tmp_path):
    train(Regression(), tmp_path, limits(10**6, minutes=1e-3), resume=False)
    assert 0 < load_checkpoint(tmp_path / "last.pt")["step"] < 10**6


def test_nan_stops_with_a_sentence_and_keeps_the_checkpoint(tmp_path):
    train(Regression(), tmp_path, limits(2), resume=False)
    with pytest.raises(UserError, match="loss is nan at step 4: lower --lr"):
        train(Regression(poison=2), tmp_path, limits(9), resume=True)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 2


def test_too_little_memory_is_a_sentence(tmp_path, monkeypatch):
    def step(self, batch, generators, step):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")

    monkeypatch.setattr(Regression, "step", step)
    with pytest.raises(UserError, match="memory does not suffice .* --accumulate 6 works"):
        train(Regression(), tmp_path, limits(9, accumulate=3), resume=False)


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs Linux")
def test_memory_that_is_not_there_is_an_error_and_kills_nobody():
    """In a process of its own: two thirds of what is free can be had, as much again can't."""
    work = """
import numpy as np, torch
from utils.device import available_memory, limit_memory
from utils.errors import out_of_memory
limit_memory()
size = available_memory(torch.device("cpu")) * 2 // 3
first = np.empty(size, np.uint8)
for allocate in (lambda: np.empty(size, np.uint8), lambda: torch.empty(size, dtype=torch.uint8)):
    try:
        allocate()
    except Exception as error:
        assert out_of_memory(error), error
    else:
        raise AssertionError("there was room")
"""
    subprocess.run([sys.executable, "-c", work], cwd=ROOT, check=True, timeout=60)


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
    keys = set(itertools.chain.from_iterable(epoch))
    assert keys == set(itertools.product((0, 1), range(10)))
    later = iter(StepSampler(10, 4, seed=1, repeats=2, start=3))
    assert [next(later) for _ in range(2)] == epoch[3:]
    assert StepSampler(1955, 8, 1, repeats=4).steps_per_epoch == 978  # GoPro, as published


def test_shards_of_a_batch_are_the_batch():
    """Two processes see what one sees; a process without a position gets one that doesn't count."""
    alone = iter(StepSampler(7, 3, seed=1, rank=0, world=1))
    samplers = [StepSampler(7, 3, seed=1, rank=rank, world=2) for rank in (0, 1)]
    batches = [iter(sampler) for sampler in samplers]
    for step in range(6):
        whole = next(alone)
        counted = {}
        for sampler, iterator in zip(samplers, batches):
            shard = next(iterator)
            positions, size = sampler.positions(step)
            assert size == len(whole)
            assert len(shard) == max(len(positions), 1)
            counted.update(zip(positions, shard))
        assert [counted[position] for position in range(len(whole))] == whole


TWO_RUNS = """
import sys, time
from pathlib import Path
from tests.utils.test_training import Regression, limits
from utils.training import train

class Slow(Regression):
    def step(self, *arguments):
        print("step", flush=True)
        time.sleep(0.2)
        return super().step(*arguments)

train(Slow(), Path(sys.argv[1]), limits(1000), False, "run: first\\n")
"""


def test_a_second_run_into_one_folder_is_refused_and_killing_the_first_frees_it(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", TWO_RUNS, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as first:
        while first.stdout.readline() != "step\n":
            assert first.poll() is None
        with pytest.raises(UserError, match="another run is training into"):
            train(Regression(), tmp_path, limits(1), False, "run: second\n")
        assert "run: first" in (tmp_path / "config.yaml").read_text()
        first.send_signal(signal.SIGINT)
        assert first.wait(60) == -signal.SIGINT  # KeyboardInterrupt, after saving
    assert load_checkpoint(tmp_path / "last.pt")["step"] >= 1
    train(Regression(), tmp_path, limits(3), True, "run: second\n")


KILLED_SAVE = """
import os, signal, sys, torch
from utils import checkpoint

path = sys.argv[1]
checkpoint.save_checkpoint(path, {"step": 1, "x": torch.ones(1000)})
real = torch.save

def half(content, target):
    real(content, target)
    with open(target, "r+b") as file:
        file.truncate(2000)
    os.kill(os.getpid(), signal.SIGKILL)

torch.save = half
checkpoint.save_checkpoint(path, {"step": 2, "x": torch.zeros(1000)})
"""


def test_killed_in_the_middle_of_a_save_the_last_checkpoint_stays(tmp_path):
    result = subprocess.run([sys.executable, "-c", KILLED_SAVE, tmp_path / "last.pt"], cwd=ROOT)
    assert result.returncode == -signal.SIGKILL
    content = load_checkpoint(tmp_path / "last.pt")
    assert content["step"] == 1 and content["x"].sum() == 1000
    # and the next save is not disturbed by what lies there
    save_checkpoint(tmp_path / "last.pt", {"step": 3})
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 3


def test_changed_options_are_said_on_resuming(tmp_path, capsys):
    train(Regression(), tmp_path, limits(1), False, "lr: 0.1\nseed: 3\n")
    train(Regression(), tmp_path, limits(2), True, "lr: 0.2\nseed: 3\n")
    assert "note: other options than before: lr: 0.2\n" in capsys.readouterr().out
    text = (tmp_path / "config.yaml").read_text()
    assert text.startswith("lr: 0.2\n") and f"torch {torch.__version__}" in text
