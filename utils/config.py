"""From a dataclass to a command line: dataclass default < YAML file < command line, nothing else.

Every option is declared once, as a field made by `option`, in methods/METHOD/config.py. Published
spellings are aliases in ALIASES.
"""

import dataclasses
import itertools
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from utils.config_files import NEGATIVE, ROOT, YamlFiles, aliases_of, values_given
from utils.errors import UserError
from utils.files import write_text
from utils.help import WITHOUT_EFFECT, Example, help_text, wanted
from utils.options import maximum_of
from utils.process import show
from utils.safe_yaml import read_yaml
from utils.schema import shown


def option(
    default: Any,
    help: str,
    bare: Any = None,
    configs: Callable[[str], str | None] | None = None,
    minimum: float = 0,
    unused_with: str = "",
    belongs_to: str = "",
    entries: Mapping[str, tuple[type, int]] | None = None,
    canonical: Callable[[str], str] = str,
    value: str = "",
) -> Any:
    """A configuration field: its default, and its meaning with unit.

    bare: what the option without a value means. configs: gives the file in configs/ that holds
    where the command line has a value for this option and no --config, or that lies beneath one
    with a line `base`. minimum: the lowest number that a command line or a YAML file may give.
    unused_with: an option beside which this one says nothing.

    Of a mapping: belongs_to: an option for whose value a file's mapping is made; where the command
    line gives another value, the mapping does not hold. entries: {option: (type, minimum)} of older
    options that each mean an entry. canonical: gives the one name of a value that has several.
    value: what stands for the value in the help, instead of its type's NAME, N, ...
    """
    metadata = {
        "help": help,
        "bare": bare,
        "configs": configs,
        "minimum": minimum,
        "unused_with": unused_with,
        "belongs_to": belongs_to,
        "entries": entries or {},
        "canonical": canonical,
        "value": value,
    }
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def parse(
    config_class: type,
    method: str,
    command: str,
    arguments: list[str],
    preset: str = "",
    called: str = "",
    examples: Sequence[Example] = (),
) -> Any:
    """The configuration that a command line means.

    Exits after --help and --print_config; raises UserError for a mistake. preset: the --config that
    holds where the command line names none. called: the method's name on the command line, if it is
    another. examples: of the command, for --help.
    """
    folder = ROOT / "methods" / method / "configs"
    chosen, arguments = _take_config(arguments)
    recipe = _config_of_value(config_class, arguments)
    files = YamlFiles(config_class, command, folder, arguments)
    values = files.read(chosen or preset or recipe, recipe) if chosen or preset or recipe else {}
    if {"-h", "--help"} & set(arguments):
        name = f"{command}.py {called or method}".strip()
        name += " [PATH]" * (command == "inference")
        aliases = aliases_of(config_class, command)
        flags = _flags(command, _recipes(folder))
        show(help_text(name, config_class, values, flags, aliases, examples))
        sys.exit(0)
    from utils.option_parser import check_spelling, make_parser  # slow to import

    parser = make_parser(config_class, command, _flags(command))
    entries = {name: values.pop(name) for name in _entries(config_class) if name in values}
    if values:
        parser.set_defaults(vars(parser.parse_object(values)))  # checks every value's type
    check_spelling(arguments, parser)
    prints = "--print_config" in arguments
    flags = ("--print_config", "--download")
    parsed = parser.parse_args([word for word in arguments if word not in flags])
    chosen_values = {
        field.name: getattr(parsed, field.name) for field in dataclasses.fields(config_class)
    }
    for name in _entries(config_class):
        if getattr(parsed, name, None) is not None:
            entries[name] = getattr(parsed, name)
    _add_entries(config_class, chosen_values, entries)
    config = config_class(**chosen_values)
    check_values(config, arguments)
    if prints:
        print(to_yaml(config), end="")
        sys.exit(0)
    return config


def _entries(config_class: type) -> list[str]:
    """The older options that mean an entry of a mapping."""
    fields = dataclasses.fields(config_class)
    return list(itertools.chain.from_iterable(field.metadata["entries"] for field in fields))


def _add_entries(config_class: type, values: dict, entries: dict) -> None:
    """Put older options into their mapping; raises UserError for a wrong type or a low number."""
    for field in dataclasses.fields(config_class):
        known = field.metadata["entries"]
        own = {name: entries[name] for name in known if name in entries}
        if own:
            values[field.name] = (values[field.name] or {}) | own
        for name, value in (values[field.name] or {}).items() if known else ():
            kind, minimum = known.get(name, (object, 0))
            if not isinstance(value, kind):
                raise UserError(f"--{field.name} {name}: {value}: {wanted(kind)} is needed")
            if kind is int and value < minimum:
                raise UserError(f"--{name} {value}: a number from {minimum} on is needed")


def check_values(config: Any, arguments: list[str]) -> None:
    """Raises UserError for numbers that are too low, and for options that say nothing."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not number >= field.metadata["minimum"]:
                raise UserError(
                    f"--{field.name} {number}: a number from {field.metadata['minimum']:g} on is "
                    "needed"
                )
            if isinstance(number, int | float) and number > maximum_of(field.name, number):
                raise UserError(
                    f"--{field.name} {shown(number)}: a number of at most "
                    f"{maximum_of(field.name, number):,} is needed"
                )
        if WITHOUT_EFFECT in field.metadata["help"] and values_given(field.name, arguments):
            print(f"note: --{field.name}: {field.metadata['help']}", file=sys.stderr)
        other = field.metadata["unused_with"]
        overruled = other and getattr(config, other) and not values_given(other, arguments)
        if overruled and values_given(field.name, arguments):
            raise UserError(
                f"--{field.name} says nothing beside the recipe's {other} "
                f"({getattr(config, other)}): give --{other} instead"
            )


def _config_of_value(config_class: type, arguments: list[str]) -> str | None:
    """The configuration that goes with an option's value (see `option`: configs)."""
    for field in dataclasses.fields(config_class):
        configs, given = field.metadata["configs"], values_given(field.name, arguments)
        if configs and given:
            return configs(given[-1])
    return None


def to_yaml(config: Any) -> str:
    """The configuration as YAML that --config reads back."""
    values = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in dataclasses.asdict(config).items()
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def keep_config(folder: Path, config: Any, free: Collection[str]) -> None:
    """Write folder/config.yaml; raises UserError where results lie beside one that differs in more
    than the `free` options.
    """
    path, text = folder / "config.yaml", to_yaml(config)
    if path.is_file() and any(
        not other.name.startswith(".") for other in folder.iterdir() if other != path
    ):
        before = read_yaml(path)
        if not isinstance(before, dict):
            raise UserError(f"{path} must hold `option: value` lines")
        now = yaml.safe_load(text)
        changed = [name for name in now if before.get(name) != now[name] and name not in free]
        if changed:
            raise UserError(
                f"{folder} was made with other options ({', '.join(changed)}): choose another "
                "--output_dir"
            )
    write_text(path, text)


def _take_config(arguments: list[str]) -> tuple[str | None, list[str]]:
    rest: list[str] = []
    chosen = None
    words = iter(arguments)
    for word in words:
        if word == "--config":
            chosen = next(words, None)
            if chosen is None:
                raise UserError("--config needs a name or the path of a YAML file")
        elif word.startswith("--config="):
            chosen = word.removeprefix("--config=")
        elif rest and rest[-1].startswith("--") and re.fullmatch(NEGATIVE, word):
            rest[-1] += f"={word}"  # argparse takes -1e-3 for an option
        else:
            rest.append(word)
    return chosen, rest


def _flags(command: str, recipes: str = "") -> dict[str, str]:
    """{option: help} of what every command has beside its options."""
    flags = {
        "--config NAME": f"{recipes}the path of a YAML file; options on the command line override "
        "its values",
        "--print_config": "print the resolved configuration as YAML and exit",
        "-h, --help": "print this help and exit",
    }
    if command != "app":
        flags["--download"] = (
            "first download the published weights and data that the options name and that are "
            "missing (python download.py lists them)"
        )
    if command == "train":
        flags["--explain"] = (
            "say what the recipe does, where its figures come from, and how many samples, hours "
            "and MB it means for DATA_PATH; then exit"
        )
    return flags


def _recipes(folder: Path) -> str:
    names = ", ".join(path.stem for path in sorted(folder.glob("*.yaml")))
    return f"one of {names}, or " if names else ""
