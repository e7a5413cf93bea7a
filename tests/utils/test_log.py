"""What a run's curves show."""

import re
import time

import pytest

from utils import log
from utils.log import RunLog, panels_of


def test_figures_of_input_and_stage_share_a_panel():
    names = ["psnr", "psnr_stage1", "psnr_input", "worst_gain", "gain_input", "loss L1"]
    assert panels_of(names) == {
        "psnr": ["psnr", "psnr_stage1", "psnr_input"],
        "worst_gain": ["worst_gain"],
        "gain_input": ["gain_input"],  # nothing is called gain
        "loss L1": ["loss L1"],
    }


class Clock:
    """time.monotonic by hand."""

    strftime = time.strftime

    def __init__(self):
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(log, "time", made)
    return made


def run_steps(clock: Clock, run: RunLog, steps: range, seconds: float) -> None:
    for step in steps:
        clock.now += seconds
        run.losses(step, {"L1": 0.5}, 1e-3)


def test_remaining_time_by_hand(clock, tmp_path, capsys):
    """Steps of 2 s: after 6 of 306 there are 600 s left; a validation of 88 s makes it 100 s for 6
    steps.
    """
    run = RunLog(tmp_path, steps=306)
    run_steps(clock, run, range(1, 7), 2.0)
    assert capsys.readouterr().out.endswith("0.50 steps/s  about 10 min left\n")
    clock.now += 88
    run_steps(clock, run, range(7, 8), 0.0)
    left = (12 + 88) / 7 * 299
    assert f"about {left / 60:.0f} min left" in capsys.readouterr().out
    resumed = RunLog(tmp_path, steps=306)
    run_steps(clock, resumed, range(201, 207), 2.0)
    assert "about 3 min left" in capsys.readouterr().out  # 100 steps, at the new rate
    run.close(306, False)
    assert "left" not in capsys.readouterr().out


def test_the_time_budget_ends_earlier(clock, tmp_path, capsys):
    run = RunLog(tmp_path, steps=10**6, minutes=10, on_cpu=True)
    run_steps(clock, run, range(1, 7), 2.0)
    said = capsys.readouterr().out
    assert "about 10 min left" in said and "note" not in said


def test_a_cpu_says_once_what_a_long_run_costs(clock, tmp_path, capsys):
    """200,000 steps at 0.6 steps/s are 3.9 days."""
    run = RunLog(tmp_path, steps=200_000, on_cpu=True)
    run_steps(clock, run, range(1, 20), 1 / 0.6)
    said = capsys.readouterr().out
    (note,) = re.findall("^note: .*", said, re.MULTILINE)
    assert note.startswith("note: 199,993 steps at 0.6 steps/s are 3.9 days on this CPU.")
    assert "--config default" in note and "--max_minutes" in note
    short = RunLog(tmp_path / "short", steps=20_000, on_cpu=True)
    run_steps(clock, short, range(1, 20), 1 / 0.6)
    gpu = RunLog(tmp_path / "gpu", steps=200_000)
    run_steps(clock, gpu, range(1, 20), 1 / 0.6)
    assert "note" not in capsys.readouterr().out
