"""A command line's words, by jsonargparse, whose import takes longer than the help of a command."""

import argparse
import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_origin

from jsonargparse import ActionYesNo, ArgumentParser

from utils.config_files import NEGATIVE, ROOT, aliases_of
from utils.errors import UserError
from utils.help import default_of, wanted
from utils.names import nearest


def make_parser(config_class: type, command: str, flags: Iterable[str]) -> ArgumentParser:
    """The parser of a command's options, of their published spellings and of flags."""
    parser = _Parser(add_help=False)
    for name in flags:
        parser.add_argument(
            *name.removesuffix(" NAME").split(", "), action="store_true", default=argparse.SUPPRESS
        )
    parser.types = {field.name: field.type for field in dataclasses.fields(config_class)}
    for field in dataclasses.fields(config_class):
        kinds = field.metadata["entries"].items()
        parser.types |= {entry: kind for entry, (kind, _) in kinds}
    aliases = aliases_of(config_class, command)
    for field in dataclasses.fields(config_class):
        canonical = f"--{field.name}"
        names = [canonical, *(alias for alias, ours in aliases.items() if ours == canonical)]
        _add_option(parser, names, field, _anchored(default_of(field), ROOT))
        for entry, (kind, _) in field.metadata["entries"].items():
            _add_entry(parser, entry, kind)
    return parser


def check_spelling(arguments: list[str], parser: ArgumentParser) -> None:
    """Raises UserError for an option that is not known, with the nearest one."""
    known = sorted(parser._option_string_actions)
    for word in arguments:
        name = word.split("=", 1)[0]
        if name.startswith("-") and name not in known and not re.fullmatch(NEGATIVE, word):
            raise UserError(f"unknown option {name}{nearest(name, known)} (--help lists all)")


class _Parser(ArgumentParser):
    types: dict[str, Any]  # option -> its annotation

    def error(self, message: str, ex: Exception | None = None) -> None:
        message = re.sub(r"\s*\n\s*", " ", message).strip()
        wrong = re.match(r'Parser key "(\w+)".*(?:Got|Given) value: (.*)', message)
        if wrong and wrong[1] in self.types:
            message = f"--{wrong[1]} {wrong[2]}: {wanted(self.types[wrong[1]])} is needed"
        raise UserError(message)


def _add_entry(parser: ArgumentParser, entry: str, kind: type) -> None:
    """An older option that means an entry of a mapping."""
    settings: dict[str, Any] = {"type": kind}
    if kind is bool:
        settings = {"action": ActionYesNo, "nargs": "?"}
    parser.add_argument(f"--{entry}", default=argparse.SUPPRESS, **settings)


def _add_option(
    parser: ArgumentParser, names: list[str], field: dataclasses.Field, default: Any
) -> None:
    settings: dict[str, Any] = {"default": default}
    kinds = (field.type, *get_args(field.type))
    if bool in kinds:
        settings |= {"action": ActionYesNo, "nargs": "?"}
    elif listed := [kind for kind in kinds if get_origin(kind) is list]:
        settings |= {"type": get_args(listed[0])[0], "nargs": "+"}
    elif field.metadata["bare"] is not None:
        settings |= {"type": field.type, "nargs": "?", "const": field.metadata["bare"]}
    else:
        settings |= {"type": field.type}
    parser.add_argument(*names, **settings)


def _anchored(value: Any, base: Path) -> Any:
    return base / value if isinstance(value, Path) else value
