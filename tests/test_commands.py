"""Commands from outside, and every command that the documents show."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from methods import run

ROOT = Path(__file__).resolve().parents[1]


PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "pretrain_models" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "methods").glob("*/README.md")),
]
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
COMMAND = r"((?:train|test|inference|generate|export)\.py (?!METHOD)\w+"


def commands_in(text: str) -> list[str]:
    """The commands of a page: `python COMMAND.py METHOD ...` between backticks, and the lines of
    its bash blocks, of which torchrun and what follows `#` are left out; none with `...`.
    """
    blocks = [body for language, body in FENCED.findall(text) if language == "bash"]
    lines = "\n".join(blocks).replace("\\\n", " ")  # a backslash continues a line
    in_blocks = re.findall(
        rf"^ *(?:python|torchrun(?: --\w+ \S+)*) {COMMAND}[^#\n]*)", lines, re.MULTILINE
    )
    in_sentences = re.findall(rf"`python {COMMAND}[^`]*)`", FENCED.sub("", text))
    return [command.strip() for command in in_sentences + in_blocks if "..." not in command]


def documented_commands() -> list[str]:
    return sorted({command for page in PAGES for command in commands_in(page.read_text())})


def test_commands_are_found_in_blocks_and_in_sentences():
    page = """
Type `python test.py irp --table` or `python app.py`.
```bash
python train.py irp --save a   # a comment
python train.py METHOD --resume
python generate.py sbdd ...
torchrun --nproc_per_node 4 train.py irp \\
    --save b
```
```text
python train.py irp --save c
```
"""
    found = commands_in(page)
    assert found[:2] == ["test.py irp --table", "train.py irp --save a"]
    assert found[2].split() == ["train.py", "irp", "--save", "b"]
    assert len(found) == 3


@pytest.mark.parametrize("command", documented_commands())
def test_documented_commands_are_understood(command, monkeypatch, capsys):
    command, *words = shlex.split(command)
    monkeypatch.setattr(sys, "argv", [command, *words, "--print_config"])
    with pytest.raises(SystemExit) as stop:
        run(Path(command).stem)
    assert stop.value.code == 0
    assert re.match(r"\w+:\s", capsys.readouterr().out)


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
