"""Results of a visitor's task where the page finds them."""

import os
from pathlib import Path
from typing import Any

from utils.web.visitors import Visitor

SHOWN_SIDE = 2048  # px; larger pictures are shown shrunk, and downloaded as they are


def show(visitor: Visitor, task: str, result: Path, name: str | None = None) -> str:
    """Put a result where the page finds it."""
    target = visitor.shown[task] / (name or result.name)
    os.link(result, target)
    return str(target)


def show_shrunk(visitor: Visitor, task: str, picture: Path, name: str) -> str:
    """Put a picture where the page finds it, upright, in 8 bits and of at most SHOWN_SIDE px."""
    from utils.image import read_8bit, resize_to, write_image

    target = visitor.shown[task] / name
    write_image(target, resize_to(read_8bit(picture), SHOWN_SIDE))
    return str(target)


def compared(visitor: Visitor, task: str, before: Path, after: Path) -> tuple[str, str]:
    """Two pictures for a divider."""
    return (
        show_shrunk(visitor, task, before, "before.png"),
        show_shrunk(visitor, task, after, "after.png"),
    )


def changed(**properties: Any) -> dict:
    """What a field of the page becomes besides its value, as gr.update says it."""
    return {**properties, "__type__": "update"}
