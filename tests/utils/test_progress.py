"""Progress in a file: whole lines, in good time, none for short work."""

import pytest

from utils import progress
from utils.progress import Progress, duration, heard, rate


def test_lines_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SAY_EVERY_S", 0)
    for _ in Progress(range(3), "judging", unit="shot", mininterval=0):
        pass
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("judging:   0% 0/3 [")
    assert lines[-1].startswith("judging: 100% 3/3 [")
    assert not any("\r" in line for line in lines)


def test_short_work_says_nothing(capsys):
    for _ in Progress(range(3), unit="shot"):
        pass
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for _ in Progress(range(3), unit="shot"):
        pass
    shown = capsys.readouterr().err
    assert "100%" in shown and "█" in shown and shown.count("\n") == 1


def test_an_unknown_number_is_counted(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SAY_EVERY_S", 0)
    for _ in Progress(iter(range(3)), unit="frame", mininterval=0):
        pass
    assert capsys.readouterr().err.splitlines()[-1].startswith("3frame [")


def test_a_listener_hears_every_step_and_can_end_the_work():
    steps = []

    def listen(bar: Progress) -> None:
        steps.append((bar.n, bar.total))
        if bar.n == 2:
            raise KeyboardInterrupt

    with Progress(total=3) as bar, pytest.raises(KeyboardInterrupt), heard(listen):
        for _ in range(3):
            bar.update()
    Progress(total=9).update()
    assert steps == [(1, 3), (2, 3)]


def test_a_sentence_tells_rate_and_remaining_time(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    bar = Progress(total=300, unit="frame")
    clock[0] = 100.0
    bar.update(30)
    assert bar.sentence() == "30 of 300 frames, 0.3 frames/s, about 15 min left"
    assert rate(0.02, "step") == "50 s per step"
    times = [duration(seconds) for seconds in (40, 600, 9000, 400_000)]
    assert times == ["40 s", "10 min", "2.5 h", "4.6 days"]


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_an_estimate_is_said_once_from_the_first_steps(clock, capsys):
    bar = Progress(total=300, unit="frame", estimates=True)
    for seconds in (20, 22.8, 25.6, 28.4):  # the first one warms up
        clock[0] = seconds
        bar.update()
    assert capsys.readouterr().out == "about 14 min for 300 frames at 0.36 frames/s\n"


def test_short_work_needs_no_estimate(clock, capsys):
    bar = Progress(total=12, unit="frame", estimates=True)
    for step in range(1, 13):
        clock[0] = 2.0 * step
        bar.update()
    assert capsys.readouterr().out == ""


def test_a_long_first_step_is_enough(clock, capsys):
    bar = Progress(total=10, unit="picture", estimates=True)
    clock[0] = 60.0
    bar.update()
    assert capsys.readouterr().out == "about 10 min for 10 pictures at 60 s per picture\n"


def test_the_last_step_needs_none_either(clock, capsys):
    bar = Progress(total=1, unit="picture", estimates=True)
    clock[0] = 60.0
    bar.update()
    assert capsys.readouterr().out == ""


def test_what_was_done_before_tells_nothing_of_the_rest(clock, capsys):
    bar = Progress(total=300, unit="frame", estimates=True)
    bar.skip(200)
    for seconds in (1, 11):
        clock[0] = seconds
        bar.update()
    assert capsys.readouterr().out == "about 17 min for 100 frames at 0.1 frames/s\n"
    assert bar.sentence() == "202 of 300 frames, 0.18 frames/s, about 9 min left"


def test_large_pictures_take_longer(clock, capsys):
    bar = Progress(total=4, unit="picture", estimates=True, sizes=[1, 1, 12, 12])
    for seconds in (5, 10):
        clock[0] = seconds
        bar.update()
    # 26 units of work at 5 s each
    assert capsys.readouterr().out == "about 2 min for 4 pictures at 32 s per picture\n"
