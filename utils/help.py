"""The help of a command: examples, then its options in groups, published spellings last."""

import dataclasses
import inspect
import itertools
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import yaml

from utils.config_files import ROOT
from utils.option_groups import GROUPS

WITHOUT_EFFECT = "changes nothing"  # stands in the help of options that are only accepted
_WIDEST = 100
_COLUMN = 26  # where what an option means begins
_PLACEHOLDERS = {int: "N", float: "X", str: "NAME", Path: "PATH", dict: "{NAME: VALUE, ...}"}
Example = tuple[str, str]  # what it does, the command line


def help_text(
    called: str,
    config_class: type,
    values: Mapping[str, Any],
    flags: Mapping[str, str],
    aliases: Mapping[str, str],
    examples: Sequence[Example],
) -> str:
    """The help of a command.

    called: how the command starts, `train.py METHOD`. values: {option: value} of a recipe, instead
    of the defaults. flags: {option: help} of what every command has. aliases: {published spelling:
    our option}.
    """
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    description = inspect.cleandoc(config_class.__doc__)
    words = " ".join(description.split())
    parts = [f"usage: {called} [--config NAME] [--option value ...]", textwrap.fill(words, width)]
    if examples:
        lines = [f"  # {what}\n  {line}" for what, line in examples]
        parts.append("\n".join(["examples:", *lines]))
    fields = dataclasses.fields(config_class)
    shown = {field.name: field for field in fields if WITHOUT_EFFECT not in field.metadata["help"]}
    grouped = set(itertools.chain.from_iterable(GROUPS.values()))
    others = tuple(name for name in shown if name not in grouped)
    for title, names in {**GROUPS, "other": others}.items():
        entries = [
            _entry(_invocation(shown[name], values), _meaning(shown[name], values), width)
            for name in names
            if name in shown
        ]
        if title == "common":
            entries += [_entry(name, meaning, width) for name, meaning in flags.items()]
        if entries:
            parts.append("\n".join([f"{title}:", *entries]))
    parts += _published(fields, aliases, width)
    parts.append(
        textwrap.fill(
            "Relative defaults lie in the folder of this repository; relative paths that you type, "
            "in the current folder.",
            width,
        )
    )
    return "\n\n".join(parts)


def wanted(annotation: Any) -> str:
    """What values an option takes, in words."""
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if get_origin(annotation) is list:
        return wanted(get_args(annotation)[0])
    words = {
        int: "a whole number",
        float: "a number",
        str: "a word",
        bool: "true or false",
        Path: "a path",
        dict: "{NAME: VALUE, ...}",
    }
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    return words.get(annotation) or " or ".join(map(wanted, kinds)) or str(annotation)


def _published(
    fields: Sequence[dataclasses.Field], aliases: Mapping[str, str], width: int
) -> list[str]:
    """What is only accepted: other spellings, and options without effect."""
    lines = [_entry(theirs, f"the same as {ours}", width) for theirs, ours in aliases.items()]
    for field in fields:
        for name in field.metadata["entries"]:
            meaning = f"the same as --{field.name} {{{name}: VALUE}}"
            lines.append(_entry(f"--{name}", meaning, width))
    parts = []
    if lines:
        parts.append("\n".join(["published and older spellings:", *lines]))
    idle = [field for field in fields if WITHOUT_EFFECT in field.metadata["help"]]
    if idle:
        entries = [_entry(_invocation(field, {}), field.metadata["help"], width) for field in idle]
        parts.append("\n".join(["without effect:", *entries]))
    return parts


def _entry(invocation: str, meaning: str, width: int) -> str:
    """An option's lines: how it is written, and beside or below it what it means."""
    indent = " " * _COLUMN
    text = textwrap.fill(
        meaning,
        max(width, _COLUMN + 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    start = f"  {invocation}"
    if len(start) > _COLUMN - 2:
        return f"{start}\n{text}"
    return start.ljust(_COLUMN) + text[_COLUMN:]


def _invocation(field: dataclasses.Field, values: Mapping[str, Any]) -> str:
    """--device NAME, --betas X ..., --resume, and with the default true --report, --no_report."""
    name = f"--{field.name}"
    kinds = [kind for kind in get_args(field.type) or (field.type,) if kind is not NoneType]
    if get_origin(field.type) in (Literal, list):
        kinds = [field.type]
    if bool in kinds:
        is_off = values.get(field.name, default_of(field)) is False
        return name if is_off else f"{name}, --no_{field.name}"
    value = field.metadata["value"] or _placeholder(kinds[0])
    return f"{name} [{value}]" if field.metadata["bare"] is not None else f"{name} {value}"


def _placeholder(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "{" + ",".join(map(str, get_args(kind))) + "}"
    if get_origin(kind) is list:
        return f"{_placeholder(get_args(kind)[0])} ..."
    return _PLACEHOLDERS[kind]


def _meaning(field: dataclasses.Field, values: Mapping[str, Any]) -> str:
    """An option's help, with its default where the help does not tell it."""
    text = field.metadata["help"]
    default = values.get(field.name, default_of(field))
    if default is None or default is False or default == "" or "default" in text.split(";")[-1]:
        return text
    return f"{text} (default: {_shown(default)})"


def default_of(field: dataclasses.Field) -> Any:
    """The default of an option."""
    return field.default if field.default is not dataclasses.MISSING else field.default_factory()


def _shown(value: Any) -> str:
    """A default as one types it; paths below the repository are relative to it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path):
        return str(value.relative_to(ROOT) if value.is_relative_to(ROOT) else value)
    if isinstance(value, list):
        return " ".join(map(_shown, value))
    if isinstance(value, dict):
        return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000).strip()
    return f"{value:g}" if isinstance(value, float) else str(value)
