"""Results of a visitor's task where the page finds them."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.web.visitors import Visitor

if TYPE_CHECKING:
    import numpy as np

SHOWN_SIDE = 2048  # px; larger pictures are shown shrunk, and downloaded as they are
PLAYED_SIDE = 1280  # px; larger videos are played shrunk


def show(visitor: Visitor, task: str, result: Path, name: str | None = None) -> str:
    """Put a result where the page finds it."""
    target = visitor.shown[task] / (name or result.name)
    os.link(result, target)
    return str(target)


def show_shrunk(
    visitor: Visitor, task: str, picture: "Path | np.ndarray", name: str, side: int = 0
) -> str:
    """Put a picture where the page finds it, upright, in 8 bits and of at most `side` px.

    side: 0 = SHOWN_SIDE.
    """
    from utils.image import read_8bit, resize_to, write_image

    target = visitor.shown[task] / name
    pixels = read_8bit(picture) if isinstance(picture, Path) else picture
    write_image(target, resize_to(pixels, side or SHOWN_SIDE))
    return str(target)


def compared(visitor: Visitor, task: str, before: Path, after: Path) -> tuple[str, str]:
    """Two pictures for a divider."""
    return (
        show_shrunk(visitor, task, before, "before.png"),
        show_shrunk(visitor, task, after, "after.png"),
    )


def played_together(visitor: Visitor, task: str, before: Path, after: Path, fps: float) -> dict:
    """Two videos for a player: copies that every browser plays, as long as the shorter one."""
    from utils.video import VideoFile
    from utils.video_part import VideoPart, copy_video

    count = sum(1 for _ in VideoFile(after))
    addresses = {}
    for side, path in (("before", before), ("after", after)):
        part = VideoPart(VideoFile(path, as_bt709=True), frames=count, longest=PLAYED_SIDE)
        target = visitor.shown[task] / f"played_{side}.mp4"
        copy_video(part, target)
        addresses[side] = [address(target)]
    return {**addresses, "frames": False, "labels": ["before", "after"], "fps": fps}


def played_frames(
    visitor: Visitor, task: str, picture: Path, frames: Sequence[Path], labels: Sequence[str]
) -> dict:
    """A picture, and beside it frames that are played, for a player."""
    before = show_shrunk(visitor, task, picture, "played_before.png")
    after = [
        show_shrunk(visitor, task, path, f"played_{number}.png")
        for number, path in enumerate(frames)
    ]
    return {
        "before": [address(before)],
        "after": [address(path) for path in after],
        "frames": True,
        "labels": list(labels),
        "fps": 8,
    }


def address(shown: str | Path) -> str:
    """Where the browser gets what lies where the page finds it."""
    return f"gradio_api/file={shown}"


def zipped(visitor: Visitor, task: str, files: Sequence[Path], name: str) -> str:
    """One archive of files, which are not packed a second time."""
    target = visitor.shown[task] / name
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            archive.write(path, path.name)
    return str(target)


def changed(**properties: Any) -> dict:
    """What a field of the page becomes besides its value, as gr.update says it."""
    return {**properties, "__type__": "update"}
