"""Pages of what a run did (HTML, templates in utils/pages); contact sheets: utils/contact_sheet.py.

A page shows input and restored frame under a divider that can be dragged, and side by side when
one is clicked. It needs nothing else: pictures are embedded; only videos are those of the run.
"""

import base64
import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from utils.checkpoint import VERSION
from utils.files import write_text
from utils.image import resize_to
from utils.templates import rendered

MAX_PANELS = 8
PANEL_WIDTH = 640  # px
PAGE_WIDTH = 940
MAX_BYTES = 8_000_000  # of a page
REGION_SIDE = 256  # px of the region with the most gained detail
_FIGURE_WIDTH = 300
_CHANGE_SIDE = 96  # px of the most changed region
# (longest side in px, quality) of a page's JPEG pictures; the first whose page is small enough
_SIZES = ((4096, 88), (1600, 80), (960, 70), (640, 50), (640, 30))
_QUALITY = 88
_BINS = 12  # of the histogram of gains
_WORST = 5
# times its width is what a picture beside others may be high; higher ones become narrower
_MAX_HEIGHT = 4


@dataclass
class Example:
    """One frame to show: 8-bit pictures [H,W,3] of one size.

    extras: further pictures {label: picture}. words: what is to be said about the frame.
    """

    name: str
    blurry: np.ndarray
    restored: np.ndarray
    sharp: np.ndarray | None = None
    extras: dict[str, np.ndarray] = field(default_factory=dict)
    words: str = ""

    @property
    def pictures(self) -> dict[str, np.ndarray]:
        shown = {"input": self.blurry, "restored": self.restored}
        if self.sharp is not None:
            shown["ground truth"] = self.sharp
        return shown


@dataclass
class Chapter:
    """A part of a story: words, commands that do the same, a table, pictures, examples.

    wide, pictures: {label: picture [H,W,3]}, as wide as the page or small.
    """

    title: str
    words: str
    commands: Sequence[str] = ()
    table: str = ""
    wide: dict[str, np.ndarray] = field(default_factory=dict)
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    gif: Path | None = None
    examples: Sequence[Example] = ()


def write_report(
    path: Path,
    title: str,
    examples: Sequence[Example],
    metadata: dict[str, str],
    table: str = "",
    pictures: dict[str, np.ndarray] | None = None,
    gains: dict[str, float] | None = None,
    videos: Sequence[tuple[Path, Path]] = (),
) -> None:
    """Write a page of a run: metadata, the exact command, versions, scores, pictures.

    At most 8 examples and other pictures, at most at their own size; they are shrunk until the page
    has at most 8 MB. gains: {picture: dB gained}. videos: (input, result) files, which are played
    from where they are.
    """
    known = {
        "title": title,
        "metadata": {key: value for key, value in (metadata | _origin()).items() if value},
        "table": table,
        "gains": _histogram(gains or {}),
        "videos": [
            {"name": result.name, "before": _link(before, path), "after": _link(result, path)}
            for before, result in videos
        ],
    }
    shown = examples[:MAX_PANELS]

    def page(side: int, quality: int) -> str:
        return rendered(
            "report.html",
            figures=_figures(pictures or {}, PANEL_WIDTH, quality),
            panels=[_panel(example, side, quality) for example in shown],
            **known,
        )

    _write_small(path, page)


def write_comparison(
    path: Path,
    title: str,
    table: str,
    pictures: dict[str, dict[str, np.ndarray]],
    words: dict[str, str],
) -> None:
    """Write a page with a slider between any two results of an image.

    pictures: {image: {label: 8-bit picture [H,W,3]}}, the same labels and one size for an image.
    words: what is said about it. The page is kept as small as that of a run.
    """
    labels = list(dict.fromkeys(label for shown in pictures.values() for label in shown))

    def page(side: int, quality: int) -> str:
        panels = [
            _compared(name, words[name], shown, side, quality) for name, shown in pictures.items()
        ]
        return rendered(
            "comparison.html",
            title=title,
            metadata=_origin(),
            table=table,
            labels=labels,
            panels=panels,
        )

    _write_small(path, page)


def write_story(path: Path, title: str, words: str, chapters: Sequence[Chapter]) -> None:
    """Write a page of chapters with pictures of 300 px and examples of 640 px."""
    shown = [_chapter(chapter) for chapter in chapters]
    write_text(path, rendered("story.html", title=title, words=words, chapters=shown))


def amount(number: float, noun: str) -> str:
    """A number of things, as one says it: 1 frame, 2 frames."""
    plural = "" if number == 1 else "s"
    return f"{number:g} {noun}{plural}"


def spread(items: Sequence, maximum: int) -> list:
    """At most `maximum` of the items, evenly spread over them."""
    count = min(maximum, len(items))
    return [items[int((position + 0.5) * len(items) / count)] for position in range(count)]


def most_different(
    one: np.ndarray, other: np.ndarray, side: int = _CHANGE_SIDE
) -> tuple[slice, slice]:
    """The square region of a side in which two 8-bit pictures [H,W,3] differ most."""
    change = np.abs(one.astype(np.float32) - other).sum(-1)
    return _largest(change, min(side, *change.shape))


def gained_region(example: Example) -> tuple[slice, slice]:
    """The square region of REGION_SIDE px whose restored picture gained most detail: text, edges.

    Detail is the energy of the gradients, of which the input's is taken off.
    """
    gain = _detail(example.restored) - _detail(example.blurry)
    return _largest(np.maximum(gain, 0), min(REGION_SIDE, *gain.shape))


def _detail(picture: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))


def _largest(values: np.ndarray, side: int) -> tuple[slice, slice]:
    """The square of a side in which values [H,W] have the largest sum."""
    height, width = values.shape
    total = cv2.boxFilter(values, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    before = side // 2
    after = (side - 1) // 2
    inner = total[before : height - after, before : width - after]
    top, left = np.unravel_index(inner.argmax(), inner.shape)
    return slice(top, top + side), slice(left, left + side)


def enlarged(picture: np.ndarray, width: int) -> np.ndarray:
    """The picture blown up to `width` pixels without smoothing, so that pixels can be judged."""
    return fitted(picture, width, cv2.INTER_NEAREST)


def fitted(picture: np.ndarray, width: int, interpolation: int) -> np.ndarray:
    """The picture `width` px wide, or narrower where it would be above 4 times that high."""
    scale = min(width / picture.shape[1], _MAX_HEIGHT * width / picture.shape[0])
    size = [max(round(side * scale), 1) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=interpolation)


def flow_picture(flow: np.ndarray) -> np.ndarray:
    """Optical flow [2,H,W] as colours: hue = direction, saturation = length.

    The 99th percentile of the lengths is full saturation.
    """
    length = np.hypot(flow[0], flow[1])
    hue = (np.arctan2(flow[1], flow[0]) + np.pi) / (2 * np.pi) * 179
    saturation = np.clip(length / max(np.percentile(length, 99), 1e-6), 0, 1) * 255
    hsv = np.stack((hue, saturation, np.full_like(hue, 255)), -1).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _origin() -> dict[str, str]:
    """The command that was typed, and the version."""
    command = [Path(sys.orig_argv[0]).name, *sys.orig_argv[1:]]
    return {
        "command": shlex.join(command),
        "version": f"Blurlab {VERSION}, Python {platform.python_version()}",
    }


def _write_small(path: Path, page: Callable[[int, int], str]) -> None:
    """Write the page of the largest (side, quality) of pictures that is small enough."""
    for side, quality in _SIZES:
        text = page(side, quality)
        if len(text) <= MAX_BYTES:
            break
    write_text(path, text)


def _compared(
    name: str, words: str, pictures: dict[str, np.ndarray], side: int, quality: int
) -> dict:
    """An image of a comparison: every result, and the region in which the first two differ most."""
    first, second, *_ = pictures.values()
    region = most_different(first, second, REGION_SIDE)
    crops = {label: picture[region] for label, picture in pictures.items()}
    return {
        "name": name,
        "words": words,
        "width": min(first.shape[1], side),
        "sources": _figures(pictures, side, quality),
        "crops": _figures(crops, REGION_SIDE, quality),
    }


def _chapter(chapter: Chapter) -> dict:
    figures = _figures(chapter.pictures, _FIGURE_WIDTH)
    if chapter.gif:
        data = base64.b64encode(chapter.gif.read_bytes()).decode()
        figures.append({"source": f"data:image/gif;base64,{data}", "caption": chapter.gif.name})
    return {
        "title": chapter.title,
        "words": chapter.words,
        "table": chapter.table,
        "wide": _figures(chapter.wide, PAGE_WIDTH),
        "figures": figures,
        "panels": [_panel(example, PANEL_WIDTH, _QUALITY) for example in chapter.examples],
        "commands": "\n".join(chapter.commands),
    }


def _panel(example: Example, side: int, quality: int) -> dict:
    """An example: input over restored frame, the region with most gained detail, further
    pictures.
    """
    region = gained_region(example)
    crops = {
        f"{label}, region with the most gained detail": picture[region]
        for label, picture in example.pictures.items()
    }
    extras = dict(example.extras)
    if example.sharp is not None:
        extras = {"ground truth": example.sharp} | extras
    return {
        "name": example.name,
        "words": example.words,
        "width": min(example.blurry.shape[1], side),
        "input": _embedded(example.blurry, side, quality),
        "restored": _embedded(example.restored, side, quality),
        "crops": _figures(crops, REGION_SIDE, quality),
        "extras": _figures(extras, _FIGURE_WIDTH, quality),
    }


def _figures(
    pictures: dict[str, np.ndarray], width: int, quality: int = _QUALITY
) -> list[dict[str, str]]:
    return [
        {"source": _embedded(picture, width, quality), "caption": label}
        for label, picture in pictures.items()
    ]


def _embedded(picture: np.ndarray, side: int, quality: int) -> str:
    """The picture as JPEG in a `data:` address."""
    pixels = np.ascontiguousarray(resize_to(picture, side)[..., ::-1])
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def _link(file: Path, page: Path) -> str:
    """Where a page finds a file, as an address relative to it."""
    return quote(os.path.relpath(file.resolve(), page.resolve().parent))


def _histogram(gains: dict[str, float]) -> dict | None:
    """Bars {from, height in percent, count} of gains in dB, and the worst pictures; None of few."""
    finite = {name: gain for name, gain in gains.items() if np.isfinite(gain)}
    if len(finite) < 3:
        return None
    counts, edges = np.histogram(list(finite.values()), bins=_BINS)
    bars = [
        {"start": edge, "height": 100 * count / counts.max(), "count": count}
        for edge, count in zip(edges, counts)
    ]
    worst = sorted(finite.items(), key=lambda entry: entry[1])[:_WORST]
    better = sum(gain > 0 for gain in finite.values())
    return {"bars": bars, "end": edges[-1], "worst": worst, "better": better, "count": len(finite)}
