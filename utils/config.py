"""From a dataclass to a command line: dataclass default < YAML file < command line, nothing else.

Every option is declared once, as a field made by `option`, in methods/METHOD/config.py. Published
spellings are aliases in ALIASES.
"""

import argparse
import dataclasses
import difflib
import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter

from utils.errors import UserError
from utils.files import write_text

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("train", "test", "inference", "generate")

_NEGATIVE = r"-[\d.][\d.eE+-]*"  # a negative number


def option(
    default: Any,
    help: str,
    bare: Any = None,
    configs: Callable[[str], str | None] | None = None,
    minimum: float = 0,
    unused_with: str = "",
) -> Any:
    """A configuration field: its default, its meaning with unit, and what the option without a
    value means (`bare`).

    configs: gives the file in configs/ that holds where the command line has a value for this
    option and no --config, or that lies beneath one with a line `base`. minimum: the lowest number
    that a command line or a YAML file may give. unused_with: an option beside which this one says
    nothing.
    """
    metadata = {
        "help": help,
        "bare": bare,
        "configs": configs,
        "minimum": minimum,
        "unused_with": unused_with,
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
) -> Any:
    """The configuration that a command line means. Exits after --help and --print_config; raises
    UserError for a mistake.

    preset: the --config that holds where the command line names none. called: the method's name on
    the command line, if it is another.
    """
    folder = ROOT / "methods" / method / "configs"
    chosen, arguments = _take_config(arguments)
    recipe = _config_of_value(config_class, arguments)
    chosen = chosen or preset or recipe
    values = _read_yaml(chosen, folder, config_class, command, recipe) if chosen else {}
    parser = _parser(config_class, method, command, folder, called or method)
    if values:
        parser.set_defaults(vars(parser.parse_object(values)))  # checks every value's type
    _check_spelling(arguments, parser)
    show = "--print_config" in arguments
    parsed = parser.parse_args([argument for argument in arguments if argument != "--print_config"])
    config = config_class(
        **{field.name: getattr(parsed, field.name) for field in dataclasses.fields(config_class)}
    )
    for field in dataclasses.fields(config_class):
        given = getattr(config, field.name)
        for number in given if isinstance(given, list) else [given]:
            if isinstance(number, int | float) and not number >= field.metadata["minimum"]:
                raise UserError(
                    f"--{field.name} {number}: a number from {field.metadata['minimum']:g} on is "
                    "needed"
                )
        other = field.metadata["unused_with"]
        if (
            other
            and getattr(config, other)
            and _given(field.name, arguments)
            and not _given(other, arguments)
        ):
            raise UserError(
                f"--{field.name} says nothing beside the recipe's {other} "
                f"({getattr(config, other)}): give --{other} instead"
            )
    if show:
        print(to_yaml(config), end="")
        sys.exit(0)
    return config


def _config_of_value(config_class: type, arguments: list[str]) -> str | None:
    """The configuration that goes with an option's value (see `option`: configs)."""
    for field in dataclasses.fields(config_class):
        configs, given = field.metadata["configs"], _given(field.name, arguments)
        if configs and given:
            return configs(given[-1])
    return None


def _given(option_name: str, arguments: list[str]) -> list[str]:
    """What a command line gives for an option: the word after its name, or after `=`."""
    name = f"--{option_name}"
    following = [after for word, after in zip(arguments, [*arguments[1:], ""]) if word == name]
    return following + [
        word.removeprefix(name + "=") for word in arguments if word.startswith(name + "=")
    ]


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
        before, now = (yaml.safe_load(words) for words in (path.read_text(encoding="utf-8"), text))
        changed = [name for name in now if before.get(name) != now[name] and name not in free]
        if changed:
            raise UserError(
                f"{folder} was made with other options ({', '.join(changed)}): choose another "
                "--output_dir"
            )
    write_text(path, text)


def aliases_of(config_class: type, command: str) -> dict[str, str]:
    """{published spelling: ours} of a command, from ALIASES in the module of its configuration."""
    return getattr(sys.modules[config_class.__module__], "ALIASES", {}).get(command, {})


def nearest(word: str, words: list[str]) -> str:
    """', did you mean X?' for a misspelt word, or nothing if no known word is like it."""
    found = difflib.get_close_matches(word, words, 1, 0.6)
    return f", did you mean {found[0]}?" if found else ""


class _Help(DefaultHelpFormatter):
    def _expand_help(self, action: Any) -> str:
        text = re.sub(
            r"type: (<class 'Path'>|[^,()]*null|str|bool|Literal\[[^]]*\]|Optional\[.*?\]\]), ",
            "",
            super()._expand_help(action),
        )
        return text.replace(" (default: null)", "")


class _Parser(ArgumentParser):
    types: dict[str, Any]  # option -> its annotation

    def error(self, message: str, ex: Exception | None = None) -> None:
        message = re.sub(r"\s*\n\s*", " ", message).strip()
        wrong = re.match(r'Parser key "(\w+)".*(?:Got|Given) value: (.*)', message)
        if wrong and wrong[1] in self.types:
            message = f"--{wrong[1]} {wrong[2]}: {_wanted(self.types[wrong[1]])} is needed"
        raise UserError(message)


def _wanted(annotation: Any) -> str:
    """What values an option takes, in words."""
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if get_origin(annotation) is list:
        return _wanted(get_args(annotation)[0])
    words = {
        int: "a whole number",
        float: "a number",
        str: "a word",
        bool: "true or false",
        Path: "a path",
        dict: "{NAME: VALUE, ...}",
    }
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    return words.get(annotation) or " or ".join(map(_wanted, kinds)) or str(annotation)


def _parser(
    config_class: type, method: str, command: str, folder: Path, called: str
) -> ArgumentParser:
    shipped = "".join(f"{path.stem}, " for path in sorted(folder.glob("*.yaml")))
    parser = _Parser(
        prog=f"{command}.py {called}".strip(),
        description=config_class.__doc__,
        formatter_class=_Help,
    )
    parser.add_argument(
        "--config",
        metavar="NAME",
        default=argparse.SUPPRESS,
        help=f"{shipped}or the path of a YAML file; the command line wins over it",
    )
    parser.add_argument(
        "--print_config",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print the resolved configuration as YAML and stop",
    )
    parser.types = {field.name: field.type for field in dataclasses.fields(config_class)}
    aliases = aliases_of(config_class, command)
    for field in dataclasses.fields(config_class):
        canonical = f"--{field.name}"
        names = [canonical, *(alias for alias, ours in aliases.items() if ours == canonical)]
        _add_option(parser, names, field, _anchored(_default(field), ROOT), command)
    return parser


def _add_option(
    parser: ArgumentParser, names: list[str], field: dataclasses.Field, default: Any, command: str
) -> None:
    settings: dict[str, Any] = {
        "help": field.metadata["help"].replace("_COMMAND", f"_{command}"),
        "default": default,
    }
    if bool in (field.type, *get_args(field.type)):
        settings |= {"action": ActionYesNo, "nargs": "?"}
    elif listed := [
        kind for kind in (field.type, *get_args(field.type)) if get_origin(kind) is list
    ]:
        settings |= {"type": get_args(listed[0])[0], "nargs": "+"}
    elif field.metadata["bare"] is not None:
        settings |= {"type": field.type, "nargs": "?", "const": field.metadata["bare"]}
    else:
        settings |= {"type": field.type}
    parser.add_argument(*names, **settings)


def _take_config(arguments: list[str]) -> tuple[str | None, list[str]]:
    rest, chosen, words = [], None, iter(arguments)
    for word in words:
        if word == "--config":
            chosen = next(words, None)
            if chosen is None:
                raise UserError("--config needs a name or the path of a YAML file")
        elif word.startswith("--config="):
            chosen = word.removeprefix("--config=")
        elif rest and rest[-1].startswith("--") and re.fullmatch(_NEGATIVE, word):
            rest[-1] += f"={word}"  # argparse takes -1e-3 for an option
        else:
            rest.append(word)
    return chosen, rest


def _read_yaml(
    chosen: str,
    folder: Path,
    config_class: type,
    command: str,
    recipe: str | None = None,
    above: tuple[Path, ...] = (),
) -> dict:
    """Values for one command. Top-level keys hold for every command that has them, a section named like a
    command (`test:`) for that one.

    A line `base: NAME` lays the file over the one of that name, or over `recipe`, if that is given.
    """
    shipped = folder / f"{chosen}.yaml"
    path = shipped if shipped.is_file() else Path(chosen)
    if not path.is_file():
        names = sorted(path.stem for path in folder.glob("*.yaml"))
        raise UserError(
            f"no configuration {chosen!r}: choose from {', '.join(names)} or give the path of a "
            "YAML file"
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) or not all(
        isinstance(values.get(other) or {}, dict) for other in COMMANDS
    ):
        raise UserError(f"{path} must hold `option: value` lines")
    base = values.pop("base", None)
    if path in above:
        raise UserError(f"{path} lies over itself: its lines `base` lead back to it")
    beneath = (
        _read_yaml(recipe or str(base), folder, config_class, command, above=(*above, path))
        if base
        else {}
    )
    types = {field.name: field.type for field in dataclasses.fields(config_class)}
    values = _with_our_names(values, config_class, command)
    own = _with_our_names(values.get(command) or {}, config_class, command)
    elsewhere = {name for other in _other_commands(config_class) for name in other} | set(COMMANDS)
    elsewhere |= {alias[2:] for other in COMMANDS for alias in aliases_of(config_class, other)}
    for key in [*own, *(key for key in values if key not in elsewhere)]:
        if key not in types:
            raise UserError(
                f"{path} has an unknown option {key!r}{nearest(str(key), [*types, *elsewhere])}"
            )
    start = ROOT if path == shipped else Path.cwd()
    merged = {key: value for key, value in {**values, **own}.items() if key in types}
    if empty := [
        key
        for key, value in merged.items()
        if value is None and type(None) not in get_args(types[key])
    ]:
        raise UserError(f"{path}: {empty[0]} has no value, which it needs")
    return beneath | {
        key: start / value if value is not None and _is_path(types[key]) else value
        for key, value in merged.items()
    }


def _with_our_names(values: dict, config_class: type, command: str) -> dict:
    """The values of a YAML file with published and older spellings of options replaced by ours."""
    aliases = aliases_of(config_class, command)
    options = {field.name for field in dataclasses.fields(config_class)}
    renamed = {}
    for key, value in values.items():
        ours = aliases.get(f"--{key}", f"--{key}")[2:]
        renamed[key if key in options else ours] = value
    return renamed


def _other_commands(config_class: type) -> list[list[str]]:
    """The option names of the configurations that stand in the same module."""
    neighbours = [
        value
        for value in vars(sys.modules[config_class.__module__]).values()
        if dataclasses.is_dataclass(value)
    ]
    return [[field.name for field in dataclasses.fields(other)] for other in neighbours]


def _check_spelling(arguments: list[str], parser: ArgumentParser) -> None:
    known = sorted(parser._option_string_actions)
    for word in arguments:
        name = word.split("=", 1)[0]
        if name.startswith("-") and name not in known and not re.fullmatch(_NEGATIVE, word):
            raise UserError(f"unknown option {name}{nearest(name, known)} (--help lists all)")


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default is not dataclasses.MISSING else field.default_factory()


def _anchored(value: Any, base: Path) -> Any:
    return base / value if isinstance(value, Path) else value


def _is_path(annotation: Any) -> bool:
    return annotation is Path or Path in get_args(annotation)
