import dataclasses
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import yaml

from methods import METHODS
from utils import config
from utils.config import ROOT, aliases_of, option, parse, to_yaml
from utils.errors import UserError
from utils.names import nearest


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """A demonstration."""

    data_path: Path = option(Path("dataset/demo"), "where the data are")
    weights: Path | None = option(None, "weights file")
    rate: float = option(0.5, "rate per step", minimum=-3)
    steps: int = option(3, "steps")
    border: bool = option(False, "borders too")
    corner: bool | None = option(None, "corners too")
    frames: list[int] = option([1, 2], "frames")
    mode: Literal["slow", "fast"] = option("slow", "mode")
    table: str | None = option(None, "table", bare="all")


@dataclasses.dataclass(frozen=True)
class OtherCommandConfig:
    """Another command of the same method."""

    epochs: int = option(7, "epochs")


ALIASES = {"train": {"--input_path": "--data_path", "-b": "--data_path"}}


@pytest.fixture
def demo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: parse(DemoConfig, "demo", "train", list(words))


def test_default_below_yaml_below_command_line(demo, tmp_path):
    assert demo() == DemoConfig(data_path=ROOT / "dataset/demo")
    (tmp_path / "mine.yaml").write_text("rate: 0.25\nsteps: 9\nmode: fast\n")
    assert demo("--steps", "4", "--config", "mine.yaml") == DemoConfig(
        ROOT / "dataset/demo", rate=0.25, steps=4, mode="fast"
    )


def test_paths_are_anchored_where_they_were_written(demo, tmp_path):
    (tmp_path / "mine.yaml").write_text("data_path: here\nweights: w.pt\n")
    assert demo("--config=mine.yaml").data_path == tmp_path / "here"
    assert demo("--config=mine.yaml").weights == tmp_path / "w.pt"
    assert demo("--data_path", "there").data_path.resolve() == tmp_path / "there"


def test_published_ways_to_write(demo):
    assert (
        demo("--border").border is True
        and demo("--no_border").border is False
        and demo("--border", "true").border is True
    )
    assert (
        demo().corner is None
        and demo("--corner").corner is True
        and demo("--no_corner").corner is False
    )
    assert demo("--frames", "1", "2", "3").frames == [1, 2, 3] and demo("--frames", "5").frames == [
        5
    ]
    assert demo("--rate=-2").rate == -2 and demo("--rate", "-1e-3").rate == -1e-3
    assert demo("--input_path=x").data_path == demo("-b", "x").data_path == Path("x")
    assert demo("--table").table == "all" and demo("--table", "DVD").table == "DVD"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stepz", "3"], "unknown option --stepz, did you mean --steps?"),
        (["--steps", "many"], "--steps many: a whole number is needed"),
        (["--steps", "-1"], "--steps -1: a number from 0 on is needed"),
        (["--rate", "nan"], "--rate nan: a number is needed"),
        (["--frames", "1", "x"], "--frames x: a whole number is needed"),
        (["--frames", "1", "-1"], "--frames -1: a number from 0 on"),
        (["--mode", "medium"], "--mode medium: one of slow, fast is needed"),
        (["--config", "none"], "no configuration 'none'"),
        (["--config"], "--config needs"),
        (["stray"], "stray"),
        (["-z", "3"], "unknown option -z"),
    ],
)
def test_mistakes_are_one_sentence(demo, words, message):
    with pytest.raises(UserError, match=message) as error:
        demo(*words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ratee: 1", "unknown option 'ratee', did you mean rate?"),
        ("steps: many", "steps"),
        ("- 1", "option: value"),
        ("a: [", "not valid YAML"),
        ("train:\n  epochs: 3", "unknown option 'epochs'"),
    ],
)
def test_mistakes_in_yaml_are_named(demo, tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        demo("--config", "bad.yaml")


def test_yaml_keys_of_other_commands_and_sections(demo, tmp_path):
    (tmp_path / "all.yaml").write_text(
        "steps: 5\nepochs: 2\ntrain:\n  steps: 6\ntest:\n  steps: 7\n"
    )
    assert demo("--config", "all.yaml").steps == 6


def test_a_file_over_another(demo, tmp_path):
    """base: the file beneath; paths are anchored where each file says; a circle is named."""
    (tmp_path / "lowest.yaml").write_text("rate: 0.125\nsteps: 5\nmode: fast\n")
    (tmp_path / "low.yaml").write_text("base: lowest.yaml\nsteps: 6\nweights: w.pt\n")
    (tmp_path / "high.yaml").write_text("base: low.yaml\nrate: 0.25\n")
    found = demo("--config", "high.yaml", "--steps", "7")
    assert (found.rate, found.steps, found.mode, found.weights) == (
        0.25,
        7,
        "fast",
        tmp_path / "w.pt",
    )
    (tmp_path / "lowest.yaml").write_text("base: high.yaml\n")
    with pytest.raises(UserError, match="high.yaml lies over itself"):
        demo("--config", "high.yaml")
    (tmp_path / "high.yaml").write_text("base: nothing.yaml\n")
    with pytest.raises(UserError, match="no configuration 'nothing.yaml'"):
        demo("--config", "high.yaml")


def test_printed_configuration_reads_back(demo, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        demo("--rate", "0.125", "--frames", "3", "--print_config")
    assert stop.value.code == 0
    (tmp_path / "again.yaml").write_text(capsys.readouterr().out)
    assert demo("--config", "again.yaml") == demo("--rate", "0.125", "--frames", "3")


def test_help_has_meaning_default_and_alias(demo, capsys):
    with pytest.raises(SystemExit):
        demo("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "--rate X rate per step (default: 0.5)" in text
    assert "--data_path PATH where the data are (default: dataset/demo)" in text
    assert "--input_path the same as --data_path -b the same as --data_path" in text
    assert "other: --rate X" in text  # no group has it


def test_nearest():
    assert nearest("--weigths", ["--weights", "--width"]) == ", did you mean --weights?"
    assert nearest("--zzz", ["--weights"]) == ""


ENTRIES = [
    (method, command)
    for method, found in METHODS.items()
    for command in found.commands
    if method != "cdvd_tsp"
]


@pytest.mark.parametrize(("method", "command"), ENTRIES)
def test_every_alias_means_its_option(method, command):
    from importlib import import_module

    owner = METHODS[method].commands[command].split(".")[1]
    config_class = getattr(
        import_module(f"methods.{owner}.config"), f"{command.capitalize()}Config"
    )
    types = {field.name: field.type for field in dataclasses.fields(config_class)}
    for alias, ours in aliases_of(config_class, command).items():
        annotation = types[ours[2:]]
        choices = next(
            (
                get_args(kind)
                for kind in (annotation, *get_args(annotation))
                if get_origin(kind) is Literal
            ),
            (),
        )
        value = choices[-1] if choices else "1" if annotation in (int, float) else "value"
        assert parse(config_class, method, command, [alias, value]) == parse(
            config_class, method, command, [ours, value]
        ), alias


@pytest.mark.parametrize("method", METHODS)
def test_shipped_configurations_start_with_the_data(method):
    for path in (ROOT / "methods" / method / "configs").glob("*.yaml"):
        assert next(iter(yaml.safe_load(path.read_text()))) == "data_path", path


def test_to_yaml_is_plain():
    assert yaml.safe_load(to_yaml(DemoConfig()))["weights"] is None
    assert config.ROOT.joinpath("train.py").is_file()
