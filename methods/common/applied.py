"""How a network is applied where the options don't say: as published, or adapted to the picture."""

import dataclasses
from pathlib import Path
from typing import TypeVar

from utils.checkpoint import read_description
from utils.errors import UserError

Config = TypeVar("Config")


def with_scale(config: Config, scoring: bool) -> Config:
    """The configuration with `scale` and `guard` in place.

    scoring: the result is compared with published figures, so the network sees the picture as it
    is; else --scale auto and the guard. Raises UserError for changes of the result with --table.
    """
    check_table(config)
    changes = {}
    if config.scale is None:
        changes["scale"] = "1" if scoring else "auto"
    if config.guard is None:
        changes["guard"] = not scoring
    return dataclasses.replace(config, **changes)


def check_table(config: object) -> None:
    """Raises UserError for --table with options whose results no published figure stands beside."""
    if not getattr(config, "table", None):
        return
    changed = [
        f"--{name} {getattr(config, name)}"
        for name, published in (
            ("scale", (None, "1")),
            ("strength", (1,)),
            ("only_blurry", (False,)),
        )
        if getattr(config, name) not in published
    ]
    if changed:
        raise UserError(
            f"--table repeats published figures, which were made without {' '.join(changed)}: "
            "leave it out, or score the data without --table"
        )


def is_of_authors(weights: Path) -> bool:
    """Whether a weights file is none of ours, so that its published data may be at hand."""
    return read_description(weights) is None
