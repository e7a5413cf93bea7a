"""Numbers out of range, devices that no network runs on, words that break a line: one sentence."""

import dataclasses
from importlib import import_module

import pytest
import torch
import yaml

from methods import METHODS, run
from utils.config import ROOT, check_values, parse
from utils.device import choose_device
from utils.errors import UserError, in_one_line
from utils.options import maximum_of


def configurations() -> list[tuple[str, str, type]]:
    """(folder, command, class) of every command of every method."""
    found = {}
    for method in METHODS.values():
        module = import_module(f"methods.{method.folder}.config")
        for command in method.commands:
            found[method.folder, command] = getattr(module, f"{command.capitalize()}Config", None)
    return [(*key, kind) for key, kind in found.items() if kind]


CONFIGURATIONS = configurations()


def numbers_of(kind: type) -> dict[str, type]:
    words = {"int": int, "float": float}
    fields = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    return {
        name: next(number for word, number in words.items() if word in annotation)
        for name, annotation in fields.items()
        if any(word in annotation for word in words) and "dict" not in annotation
    }


@pytest.mark.parametrize(("folder", "command", "kind"), CONFIGURATIONS)
def test_no_option_takes_any_number(folder, command, kind):
    """Beyond the maximum, not finite, beyond 64 bits: a sentence that names the option."""
    config = parse(kind, folder, command, [])
    for name, number in numbers_of(kind).items():
        for value in (1e30, float("nan"), float("inf")) if number is float else (2**70,):
            given = [value] if isinstance(getattr(config, name), list) else value
            with pytest.raises(UserError, match=rf"--{name} .* is needed"):
                check_values(dataclasses.replace(config, **{name: given}), [])


def test_every_shipped_recipe_is_within_the_ranges():
    seen = 0
    for path in ROOT.glob("methods/*/configs/*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        sections = [content, *(part for part in content.values() if isinstance(part, dict))]
        for section in sections:
            for name, value in section.items():
                for number in value if isinstance(value, list) else [value]:
                    if isinstance(number, int | float):
                        assert number <= maximum_of(name, number), (path, name)
                        seen += 1
    assert seen > 200


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seed", str(2**63)], "--seed 9223372036854775808: a number of at most 9,223,372"),
        (["--average", "5"], "--average 5.0: a number of at most 1 is needed"),
        (["--betas", "0.9", "1"], "--betas 1.0: a number of at most 0.999999"),
        (["--noise_fraction", "1.5"], "--noise_fraction 1.5: a number of at most 1 is needed"),
        (["--patch_size", "99999"], "--patch_size 99999: a number of at most 65,535"),
        (["--network", "{encoder: [1000000000]}"], "numbers of at most 65,536 make a network"),
        (["--network", "{width: 1, middle: 60000}"], "more layers than 2,500 entries fill"),
        (["--network", "{width: -4}"], "makes no NAFNet"),
    ],
)
def test_the_range_is_said(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["train.py", "image_deblur", "--config", "tiny", "--device", "cpu", "--steps", "1"]
    monkeypatch.setattr("sys.argv", [*arguments, "--save", str(tmp_path / "run"), *words])
    assert run("train") == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ") and sentence in last


@pytest.mark.parametrize("name", ["mps", "meta", "cpu:7", "xpu", "vulkan:0", "gpu", "cuda:-1", ""])
def test_devices_are_cpu_and_cuda(name):
    with pytest.raises(UserError, match=f"(unknown|no) device '{name}'"):
        choose_device(name)
    assert choose_device("cpu") == torch.device("cpu")


def test_names_do_not_break_the_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "sys.argv",
        ["inference.py", "image_deblur", "--data_path", f"{tmp_path}/no\nne\x1b[31m.png"],
    )
    assert run("inference") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and r"no\nne\x1b[31m.png" in said
    assert in_one_line("a\udcff") == r"a\udcff"
    assert in_one_line("Grün, größer\u2028") == r"Grün, größer\u2028"
