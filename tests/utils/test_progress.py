"""Progress in a file: whole lines, in good time, none for short work."""

from utils import progress
from utils.progress import Progress


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
