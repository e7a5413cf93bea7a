"""Commands from outside, and every command that the documents show."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from methods import run

ROOT = Path(__file__).resolve().parents[1]


def documented_commands() -> list[str]:
    pages = [
        ROOT / "docs" / "commands.md",
        ROOT / "README.md",
        *(ROOT / "methods").glob("*/README.md"),
        ROOT / "docs" / "reproducing.md",
    ]
    found = []
    for page in pages:
        text = page.read_text()
        found += re.findall(r"`python ((?:train|test|inference|generate)\.py \w+[^`]*)`", text)
        found += re.findall(
            r"^ *(?:\$ )?python ((?:train|test|inference|generate)\.py \w+[^#\n]*)",
            text,
            re.MULTILINE,
        )
    return sorted({command.strip() for command in found})


@pytest.mark.parametrize("command", documented_commands())
def test_documented_commands_are_understood(command, monkeypatch, capsys):
    command, *words = shlex.split(command)
    monkeypatch.setattr(sys, "argv", [command, *words, "--print_config"])
    with pytest.raises(SystemExit) as stop:
        run(Path(command).stem)
    assert stop.value.code == 0
    assert re.match(r"\w+: ", capsys.readouterr().out)


def test_published_figures_stand_in_the_pages_as_in_tables_yaml():
    from methods.tables import filled, pages

    for page in pages():
        text = page.read_text()
        assert text == filled(text), f"{page}: run make docs"
    assert "32.13" in (ROOT / "docs" / "reproducing.md").read_text()


@pytest.mark.parametrize(
    ("words", "code", "stream", "message"),
    [
        ([], 0, "stdout", "video deblurring: CDVD-TSP with optical flow"),
        (["cdvd_tps"], 2, "stderr", "error: unknown method 'cdvd_tps', did you mean cdvd_tsp?"),
        (
            ["cdvd_tsp", "--epoch", "3"],
            2,
            "stderr",
            "error: unknown option --epoch, did you mean --epochs?",
        ),
    ],
)
def test_the_command_from_a_shell(words, code, stream, message):
    done = subprocess.run(
        [sys.executable, "train.py", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code
    assert message in getattr(done, stream)
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_one_sentence(monkeypatch, capsys):
    from methods.video_deblur import inference

    def full(config):
        raise OSError(28, "No space left on device", "infer_results/a.png")

    monkeypatch.setattr(inference, "main", full)
    monkeypatch.setattr(sys, "argv", ["inference.py", "cdvd_tsp"])
    assert run("inference") == 1
    assert (
        capsys.readouterr().err
        == "error: No space left on device: infer_results/a.png; what was finished before is kept\n"
    )
