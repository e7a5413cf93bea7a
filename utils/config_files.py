"""YAML files of options: one command's values out of a file that several commands share."""

import dataclasses
import sys
from pathlib import Path
from typing import Any, get_args

from utils.errors import UserError
from utils.names import nearest, plain_name
from utils.safe_yaml import read_yaml
from utils.schema import shown

NEGATIVE = r"-[\d.][\d.eE+-]*"  # a negative number on a command line
ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("train", "test", "inference", "generate", "export")


class YamlFiles:
    """Reads YAML files for one command.

    Top-level keys hold for every command that has them, a section named like a command (`test:`)
    for that one. Published and older spellings of options are understood.
    """

    def __init__(self, config_class: type, command: str, folder: Path, arguments: list[str]):
        self.config_class = config_class
        self.command = command
        self.folder = folder
        self.arguments = arguments
        self.fields = {field.name: field for field in dataclasses.fields(config_class)}
        self.entries: dict[str, str] = {}  # older option -> the mapping that it means an entry of
        for name, field in self.fields.items():
            self.entries |= dict.fromkeys(field.metadata["entries"], name)
        self.aliases = aliases_of(config_class, command)
        known = {name for other in _other_commands(config_class) for name in other}
        for other in COMMANDS:
            known |= {alias[2:] for alias in aliases_of(config_class, other)}
        self.elsewhere = known | set(COMMANDS)  # what may stand in a file besides our options

    def read(self, chosen: str, recipe: str | None, above: tuple[Path, ...] = ()) -> dict:
        """The values of a file for the command.

        A line `base: NAME` lays it over the one of that name, or over `recipe`, if that is given.
        above: the files that lie over it.
        """
        shipped = self.folder / f"{chosen}.yaml"
        path = shipped if shipped.is_file() else Path(chosen)
        if path in above:
            raise UserError(f"{path} lies over itself: its lines `base` lead back to it")
        values = self._load(path, chosen)
        base = values.pop("base", None)
        values = self._with_our_names(values)
        own = self._with_our_names(values.get(self.command) or {})
        known = self.fields.keys() | self.entries.keys()
        for key in [*own, *(key for key in values if key not in self.elsewhere)]:
            if key not in known:
                words = [*self.fields, *self.elsewhere]
                raise UserError(f"{path} has an unknown option {key!r}{nearest(str(key), words)}")
        merged = {key: value for key, value in (values | own).items() if key in known}
        self._leave_out_foreign_mappings(merged)
        start = ROOT if path == shipped else Path.cwd()
        for key, value in merged.items():
            annotation = self.fields[key].type if key in self.fields else int
            if value is None and type(None) not in get_args(annotation):
                raise UserError(f"{path}: {key} has no value, which it needs")
            if value is not None and _is_path(annotation):
                merged[key] = start / _path_word(value, f"{path}: {key}")
        if not base:
            return merged
        beneath = self.read(recipe or str(base), None, above=(*above, path))
        for entry, mapping in self.entries.items():
            if mapping in merged:  # a whole mapping holds instead of entries beneath
                beneath.pop(entry, None)
        return beneath | merged

    def _load(self, path: Path, chosen: str) -> dict:
        if not path.is_file():
            names = sorted(path.stem for path in self.folder.glob("*.yaml"))
            raise UserError(
                f"no configuration {chosen!r}: choose from {', '.join(names)} or give the path "
                "of a YAML file"
            )
        values = read_yaml(path) or {}
        sections = [values.get(name) or {} for name in COMMANDS] if isinstance(values, dict) else []
        if not sections or not all(isinstance(section, dict) for section in sections):
            raise UserError(f"{path} must hold `option: value` lines")
        return values

    def _with_our_names(self, values: dict) -> dict:
        """The values under our options' names."""
        renamed = {}
        for key, value in values.items():
            ours = self.aliases.get(f"--{key}", f"--{key}")[2:]
            renamed[key if key in self.fields else ours] = value
        return renamed

    def _leave_out_foreign_mappings(self, merged: dict) -> None:
        """Remove mappings made for another value of an option than the command line's."""
        for name, field in self.fields.items():
            owner = self.fields.get(field.metadata["belongs_to"])
            given = values_given(owner.name, self.arguments) if owner else []
            if not given or owner.name not in merged:
                continue
            canonical = owner.metadata["canonical"]
            if plain_name(canonical(given[-1])) != plain_name(canonical(str(merged[owner.name]))):
                for key in (name, *field.metadata["entries"]):
                    merged.pop(key, None)


def aliases_of(config_class: type, command: str) -> dict[str, str]:
    """{published spelling: ours} of a command, from ALIASES in the module of its configuration."""
    return getattr(sys.modules[config_class.__module__], "ALIASES", {}).get(command, {})


def values_given(option_name: str, arguments: list[str]) -> list[str]:
    """What a command line gives for an option: the word after its name, or after `=`."""
    name = f"--{option_name}"
    following = [after for word, after in zip(arguments, [*arguments[1:], ""]) if word == name]
    return following + [
        word.removeprefix(name + "=") for word in arguments if word.startswith(name + "=")
    ]


def _other_commands(config_class: type) -> list[list[str]]:
    """The option names of the configurations that stand in the same module."""
    names = []
    for value in vars(sys.modules[config_class.__module__]).values():
        if dataclasses.is_dataclass(value):
            fields = dataclasses.fields(value)
            names.append([field.name for field in fields])
            names += [list(field.metadata["entries"]) for field in fields]
    return names


def _path_word(value: object, label: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{label}: {shown(value)}: a path is needed")
    return value


def _is_path(annotation: Any) -> bool:
    return annotation is Path or Path in get_args(annotation)
