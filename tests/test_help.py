"""The help of every command: groups, examples that can be typed, nothing of this machine."""

import dataclasses
import itertools
import re
import shlex
import subprocess
import sys

import pytest

from methods import METHODS, run
from methods.examples import EXAMPLES, examples_of
from tests.test_consistency import COMMANDS, IDS, config_of
from utils.config import ROOT, parse
from utils.help import WITHOUT_EFFECT
from utils.option_groups import GROUPS

LAST = ("published and older spellings:", "without effect:")


def help_of(command: str, method: str, *words: str, monkeypatch, capsys) -> str:
    monkeypatch.setattr(sys, "argv", [f"{command}.py", method, *words, "--help"])
    with pytest.raises(SystemExit) as stop:
        run(command)
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(("method", "command"), COMMANDS, ids=IDS)
def test_common_options_come_first_and_published_spellings_last(
    method, command, monkeypatch, capsys
):
    text = help_of(command, method, monkeypatch=monkeypatch, capsys=capsys)
    known = ["examples:", *(f"{title}:" for title in GROUPS), *LAST]
    heads = [line for line in text.splitlines() if line in known]
    assert heads[:2] == ["examples:", "common:"]
    positions = [known.index(head) for head in heads]
    assert positions == sorted(set(positions))
    assert str(ROOT) not in text and "<class" not in text and "null)" not in text
    for name in (field.name for field in dataclasses.fields(config_of(method, command))):
        assert len(re.findall(rf"^  --{name}[ ,\n]", text, re.MULTILINE)) == 1, name


@pytest.mark.parametrize(("method", "command"), COMMANDS, ids=IDS)
def test_examples_can_be_typed(method, command, tmp_path, monkeypatch):
    """Each differs from the others, and its options are taken."""
    folder = METHODS[method].folder
    found = examples_of(folder, command, method)
    assert len(found) == 3 and len({line for _, line in found}) == 3
    monkeypatch.chdir(tmp_path)
    for what, line in found:
        assert what[0].islower() and not what.endswith(".")
        start, *words = shlex.split(line.partition(f"{command}.py ")[2])
        assert start == method, line
        if command == "inference" and not words[0].startswith("-"):
            words = ["--data_path", *words]
        words = [word for word in words if word != "--explain"]
        preset = METHODS[method].commands[command].partition(":")[2]
        owner = METHODS[method].commands[command].split(".")[1]
        parse(config_of(method, command), owner, command, words, preset, method)


def test_every_command_has_examples_and_no_other():
    expected = {
        method.folder if name == "cdvd_tsp" else name: set(method.commands)
        for name, method in METHODS.items()
    }
    assert {method: set(commands) for method, commands in EXAMPLES.items()} == expected


def test_defaults_are_those_of_the_recipe(monkeypatch, capsys):
    text = help_of(
        "train", "image_deblur", "--model", "SRN", monkeypatch=monkeypatch, capsys=capsys
    )
    assert "--loss SUM" in text and "(default: 1*MSE)" in " ".join(text.split())
    lines = text.splitlines()
    assert max(map(len, lines[lines.index("common:") :])) <= 100
    assert all(one or other for one, other in itertools.pairwise(lines))  # no two empty lines


def test_an_option_without_effect_says_so(capsys):
    words = ["--height", "720"]
    config = parse(config_of("image_deblur", "inference"), "image_deblur", "inference", words)
    assert config.height == 720
    said = capsys.readouterr().err
    assert said.startswith("note: --height: ") and WITHOUT_EFFECT in said


def test_a_reader_may_close_the_pipe():
    """`--help | head -1`, more help than the pipe holds."""
    command = [sys.executable, "train.py", "image_deblur", "--help"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().startswith("usage: ")
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
