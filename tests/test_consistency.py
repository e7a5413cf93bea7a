"""All commands of all methods behave alike: tiny recipe, options, results and mistakes."""

import dataclasses
import re
import sys
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin

import pytest

from methods import METHODS, run
from tests.commands import sentence
from utils import options
from utils.config import option, parse

COMMANDS = [
    (method, command)
    for method, found in METHODS.items()
    for command in found.commands
    if method != "cdvd_tsp"
]
IDS = [f"{command}-{method}" for method, command in COMMANDS]
SCORED = {"scores.json", "scores.csv", "config.yaml", "report.html"}
RUN = {"config.yaml", "log.txt", "loss.csv", "last.pt", "last.safetensors"}
LEFT = {
    "train": RUN,
    "test": SCORED,
    "inference": {"config.yaml", "contact_sheet.jpg"},
    "generate": {"config.yaml", "contact_sheet.jpg"},
    "export": {"network.pt2"},
    "export video_deblur": {"network.onnx"},
    "inference blur2vid": {"config.yaml", "report.html", "strip.png", "moments.mp4", "moments.gif"},
    "inference video_deblur": SCORED | {"contact_sheet.jpg"},  # of the sample, whose truth is known
    "inference image_deblur": SCORED | {"contact_sheet.jpg"},
    "generate hypercut": {"new.json"},
}


def config_of(method: str, command: str) -> type:
    owner = METHODS[method].commands[command].split(".")[1]
    return getattr(import_module(f"methods.{owner}.config"), f"{command.capitalize()}Config")


def given(method: str, command: str, folder: Path) -> list[object]:
    """What the tiny recipe needs besides: a result folder, and the weights that were trained."""
    output = folder / command
    if command == "train" and method == "image_deblur":
        return ["--save", output]  # counts steps
    if command == "train":
        return ["--save", output, "--epochs", 1]
    if command == "export":
        kind = "onnx" if method == "video_deblur" else "pt2"
        words = ["--format", kind, "--output", output / f"network.{kind}"]
        return [*words, "--weights", folder / "train"]
    if (method, command) == ("hypercut", "generate"):
        return ["--save_path", output / "new.json", "--weights", folder / "train"]
    if command == "generate":
        return ["--output_dir", output]
    return ["--output_dir", output, "--weights", folder / "train"]


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("method", ["video_deblur", "image_deblur", "hypercut", "blur2vid"])
def test_the_tiny_recipe_runs_through_all_commands(method, run_command, tmp_path):
    """On the embedded sample; what is trained is what tests and restores."""
    for name in METHODS[method].commands:
        done = run_command(f"{name}.py {method} --config tiny", *given(method, name, tmp_path))
        assert done == (0, ""), name
        assert LEFT.get(f"{name} {method}", LEFT[name]) <= names_in(tmp_path / name), name


def test_every_method_that_trains_has_a_tiny_recipe_tested():
    trained = {name for name, found in METHODS.items() if "train" in found.commands}
    assert trained - {"cdvd_tsp", "irp", "sbdd"} == {
        "video_deblur", "image_deblur", "hypercut", "blur2vid",
    }  # fmt: skip


def test_the_tiny_recipe_of_irp(run_command, tmp_path):
    """Its sample is what its own generate.py makes of the sample's pictures."""
    stacks = tmp_path / "generate"
    assert run_command("generate.py irp --config tiny --output_dir", stacks) == (0, "")
    for name in ("train", "test", "inference"):
        words = [*given("irp", name, tmp_path), "--data_path", stacks]
        if name == "inference":
            words += ["--ratio", 1]
        assert run_command(f"{name}.py irp --config tiny", *words) == (0, ""), name
    for name in METHODS["irp"].commands:
        assert LEFT[name] <= names_in(tmp_path / name), name


def test_the_tiny_recipe_of_sbdd(run_command, tmp_path):
    """It makes pairs, trains on pictures made on the fly, and scores what is there."""
    pairs = tmp_path / "generate"
    assert run_command("generate.py sbdd --config tiny --output_dir", pairs) == (0, "")
    assert run_command("train.py sbdd --config tiny", *given("sbdd", "train", tmp_path)) == (0, "")
    folders = ["-r", pairs / "blurry", "-s", pairs / "sharp", "-b", pairs / "blurry", "-o"]
    scoring = ["--protocol", "image", *folders]
    assert run_command("test.py sbdd --config tiny", *scoring, tmp_path / "test") == (0, "")
    for name in METHODS["sbdd"].commands:
        assert LEFT[name] <= names_in(tmp_path / name), name
    for method in ("cdvd_tsp", "image_deblur"):  # whoever scores files leaves the same
        assert run_command(f"test.py {method}", *scoring, tmp_path / method) == (0, "")
        assert names_in(tmp_path / method) >= SCORED, method


# option -> (its types, how its help begins) wherever it is found; one command may add to the help
SHARED = {
    "data_path": ({Path}, ""),
    "val_path": ({Path}, "validation data: "),
    "output_dir": ({Path}, options.RESULTS),
    "save": ({str}, options.SAVE),
    "resume": ({bool}, options.RESUME),
    "epochs": ({int}, options.EPOCHS),
    "batch_size": ({int}, ""),
    "max_minutes": ({float}, options.MAX_MINUTES),
    "seed": ({int}, options.SEED),
    "device": ({str}, options.DEVICE),
    "precision": ({options.Precision}, options.PRECISION),
    "gradient_norm": ({float}, options.GRADIENT_NORM),
    "accumulate": ({int}, options.ACCUMULATE),
    "average": ({float}, options.AVERAGE),
    "report": ({bool}, options.REPORT),
    "skip_existing": ({bool}, options.SKIP_EXISTING),
    "blurry_dir": ({Path}, options.BLURRY_DIR),
    "sharp_dir": ({Path}, options.SHARP_DIR),
    "restored_dir": ({Path}, options.RESTORED_DIR),
    "tile": ({int}, "work in tiles of this side, px"),
    "memory": ({float}, "GB that may be used"),
    "mask_path": ({Path}, ""),
    "kernel_path": ({Path}, ""),
    "lr": ({float}, "learning rate"),
}
LENGTHS = (
    r"(patch|image|kernel|tile)_size|tile|tile_overlap|tile_step|height|width|focal|min_img_size|"
    r"min_object_area|blur|object_blur"
)
NO_LENGTHS = {("video_deblur", "train", "width")}  # channels
# options that a command of every method has
WANTED = {
    "train": ("save", "resume", "epochs", "batch_size", "seed", "max_minutes", "workers"),
    "test": ("report", "output_dir"),
}


def kinds(annotation: object) -> set[object]:
    """The types of an option's value but None."""
    if get_origin(annotation) in (Union, UnionType):
        return {kind for kind in get_args(annotation) if kind is not type(None)}
    return {annotation}


def complaints(method: str, command: str, fields: tuple[dataclasses.Field, ...]) -> list[str]:
    """What is odd about the options of a command."""
    found = []
    for field in fields:
        words, where = field.metadata["help"], f"{command}.py {method} --{field.name}"
        types, start = SHARED.get(field.name, (kinds(field.type), ""))
        if kinds(field.type) != types or not words.startswith(start):
            found.append(f"{where} is {field.type}, {words!r}")
        if len(words) < 5 or words.endswith(".") or words[:1] == " ":
            found.append(f"{where}: {words!r} says nothing")
        is_length = re.fullmatch(LENGTHS, field.name)
        if (method, command, field.name) in NO_LENGTHS:
            is_length = False
        if is_length and "px" not in words and "changes nothing" not in words:
            found.append(f"{where} has no unit: {words!r}")
    names = {field.name for field in fields}
    wanted = set(WANTED.get(command, ()))
    if "weights" in names and command != "export":  # which computes nothing
        wanted |= {"device", "precision"}
    return found + [f"{command}.py {method} lacks --{name}" for name in sorted(wanted - names)]


def test_an_option_is_the_same_at_every_command():
    found = []
    for method, command in COMMANDS:
        fields = dataclasses.fields(config_of(method, command))
        found += complaints(method, command, fields)
    assert found == []


@pytest.mark.parametrize(
    ("name", "kind", "words", "said"),
    [
        ("seed", str, options.SEED, "is <class 'str'>"),
        ("seed", int, "the seed", "'the seed'"),
        ("tile_size", int, "side of the tiles", "has no unit"),
        ("border", bool, "", "says nothing"),
    ],
)
def test_a_planted_difference_is_seen(name, kind, words, said):
    planted = dataclasses.make_dataclass("Planted", [(name, kind, option(None, words))])
    fields = dataclasses.fields(planted)
    assert said in complaints("irp", "inference", fields)[0]
    assert "test.py irp lacks --output_dir" in complaints("irp", "test", fields)


@pytest.mark.parametrize(("method", "command"), COMMANDS, ids=IDS)
def test_help_has_one_form(method, command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{command}.py", method, "--help"])
    with pytest.raises(SystemExit) as stop:
        run(command)
    text = capsys.readouterr().out
    assert stop.value.code == 0 and text.startswith(f"usage: {command}.py {method} [")
    summary = re.search(r"\n\n(.*?)\n\n", text, re.DOTALL)[1]
    assert summary[0].isupper() and summary.rstrip().endswith("."), summary
    for field in dataclasses.fields(config_of(method, command)):
        assert f"--{field.name}" in text
    assert "--config NAME" in text and "--print_config" in text


OTHERS = {
    "video_deblur": "image_deblur",
    "image_deblur": "irp",
    "sbdd": "irp",
    "irp": "hypercut",
    "hypercut": "blur2vid",
    "blur2vid": "irp",
}


def mistakes_of(method: str, name: str, folder: Path) -> list[tuple[list[object], list[str]]]:
    """Wrong words for a command, each with the parts of the sentence that names them."""
    fields = {field.name: field for field in dataclasses.fields(config_of(method, name))}
    known = next(option for option in fields if len(option) > 5)
    misspelt = known[:-2] + known[-1]
    mistakes = [
        (["--nonsense", 1], ["unknown option --nonsense"]),
        ([f"--{misspelt}", 1], ["unknown option", f"did you mean --{known}?"]),
        (["--config", "nowhere"], ["no configuration 'nowhere'"]),
        (["stray"], ["stray"]),
    ]
    if "data_path" in fields:
        mistakes.append((["--data_path", folder / "gone"], [str(folder / "gone")]))
    if "weights" in fields:
        for weights in ("gone.pt", OTHERS[method]):
            mistakes.append((["--weights", weights], [weights]))
    numbers = [option for option, field in fields.items() if kinds(field.type) <= {int, float}]
    mistakes += [([f"--{option}", "many"], [option, "many"]) for option in numbers[:1]]
    return mistakes


@pytest.fixture(scope="module")
def stacks(tmp_path_factory):
    """Small ones, as those of the embedded sample take ten seconds when it is made."""
    from methods.irp import generate

    folder = tmp_path_factory.mktemp("irp") / "stacks"
    words = ["--config", "tiny", "--ratios", "1", "5", "--output_dir", str(folder)]
    generate.main(parse(generate.GenerateConfig, "irp", "generate", words))
    return folder


@pytest.mark.parametrize(("method", "name"), COMMANDS, ids=IDS)
def test_a_mistake_is_the_same_sentence_at_every_command(
    method, name, run_command, tmp_path, request
):
    """Exit status 2 and one line; nothing is written but what a generator was asked for."""
    names = {field.name for field in dataclasses.fields(config_of(method, name))}
    command = [f"{name}.py {method}"]
    if (method, name) != ("sbdd", "test"):
        command += ["--config", "tiny"]
    if name == "train":
        command += ["--save", tmp_path / "out"]
    elif "output_dir" in names:
        command += ["--output_dir", tmp_path / "out"]
    if method == "irp" and name != "generate":
        command += ["--data_path", request.getfixturevalue("stacks")]
    for words, parts in mistakes_of(method, name, tmp_path):
        if (method, name) == ("irp", "generate") and words[0] == "--weights":
            words = [*words, "--restorers", "deblur"]
        done = run_command(*command, *words)
        sentence(done, *parts)
        assert done[0] == 2, done
        if words[:2] == ["--weights", OTHERS[method]]:
            assert re.search("needs a|does not fit", done[1])
    written = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    if name == "generate":
        written -= {"config.yaml"}
    assert not written


def test_a_value_that_is_missing_in_a_file_is_said(run_command, tmp_path):
    config = tmp_path / "a.yaml"
    config.write_text("epochs:\n")
    done = run_command("train.py hypercut --config", config)
    sentence(done, "a.yaml: epochs has no value")
