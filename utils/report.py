"""Pictures of what a run did: contact sheets (PNG) and pages (HTML).

A page shows input and restored frame under a divider that can be dragged; report_page.html is its
frame. It needs nothing else: pictures are embedded.
"""

import base64
import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template

import cv2
import numpy as np

from utils.checkpoint import VERSION
from utils.files import write_text
from utils.image import resize_to, write_image

MAX_PANELS = 8
PANEL_WIDTH = 640  # px
PAGE_WIDTH = 940
MAX_BYTES = 5_000_000
_FIGURE_WIDTH = 300
_LABEL_HEIGHT = 22
_REGION_SIDE = 96  # side in px of the most changed region
_QUALITIES = (88, 70, 50, 30)  # of JPEG; the first whose page is small enough
# times its width is what a picture on a contact sheet may be high; higher ones become narrower
_MAX_HEIGHT = 4
_TEMPLATE = Path(__file__).with_name("report_page.html")


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


def contact_sheet(path: Path, examples: Sequence[Example], width: int = 400) -> None:
    """Write a PNG of the examples: name, input, restored (and sharp) frame side by side.

    Below them stands their most changed region, enlarged.
    """
    bands = []
    for example in examples:
        crops = [enlarged(crop, width)[: width // 2] for crop in most_changed(example)]
        bands += _row(example.name, example.pictures, width)
        bands.append(np.hstack(crops))
    _write_bands(path, bands)


def contact_sheet_of_rows(
    path: Path, rows: dict[str, dict[str, np.ndarray]], width: int = 400
) -> None:
    """Write a PNG of named rows {name: {label: picture [H,W,3]}}, one below the other."""
    bands = []
    for name, pictures in rows.items():
        bands += _row(name, pictures, width)
    _write_bands(path, bands)


def write_report(
    path: Path,
    title: str,
    examples: Sequence[Example],
    metadata: dict[str, str],
    table: str = "",
    pictures: dict[str, np.ndarray] | None = None,
) -> None:
    """Write a page of a run: metadata, the exact command, versions, scores, pictures.

    At most 8 examples and other pictures of 640 px; their quality is lowered until the page has
    at most 5 MB.
    """
    metadata = metadata | {
        "command": shlex.join(["python", *sys.argv]),
        "version": f"Blurlab {VERSION}, Python {platform.python_version()}",
    }
    rows = [
        f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>"
        for key, value in metadata.items()
        if value
    ]
    head = f"<table>{''.join(rows)}</table>\n{_preformatted(table)}"
    for quality in _QUALITIES:
        panels = _figures(pictures or {}, quality, PANEL_WIDTH)
        panels += _panels(examples[:MAX_PANELS], quality)
        page = _page(title, f"{head}\n{panels}")
        if len(page) <= MAX_BYTES:
            break
    write_text(path, page)


def write_story(path: Path, title: str, words: str, chapters: Sequence[Chapter]) -> None:
    """Write a page of chapters with pictures of 300 px and examples of 640 px."""
    sections = [_chapter(number, chapter) for number, chapter in enumerate(chapters, 1)]
    write_text(path, _page(title, f"<p>{escape(words)}</p>\n{_DRAG}{''.join(sections)}"))


def amount(number: float, noun: str) -> str:
    """A number of things, as one says it: 1 frame, 2 frames."""
    plural = "" if number == 1 else "s"
    return f"{number:g} {noun}{plural}"


def spread(items: Sequence, maximum: int) -> list:
    """At most `maximum` of the items, evenly spread over them."""
    count = min(maximum, len(items))
    return [items[int((position + 0.5) * len(items) / count)] for position in range(count)]


def most_changed(example: Example) -> list[np.ndarray]:
    """The square region that the network changed most, cut from each of the example's pictures."""
    region = most_different(example.blurry, example.restored)
    return [picture[region] for picture in example.pictures.values()]


def most_different(one: np.ndarray, other: np.ndarray) -> tuple[slice, slice]:
    """The square region in which two 8-bit pictures [H,W,3] differ most."""
    change = np.abs(one.astype(np.float32) - other).sum(-1)
    height, width = change.shape
    side = min(_REGION_SIDE, height, width)
    total = cv2.boxFilter(change, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    before = side // 2
    after = (side - 1) // 2
    inner = total[before : height - after, before : width - after]
    top, left = np.unravel_index(inner.argmax(), inner.shape)
    return slice(top, top + side), slice(left, left + side)


def enlarged(picture: np.ndarray, width: int) -> np.ndarray:
    """The picture blown up to `width` pixels without smoothing, so that pixels can be judged."""
    return _scaled(picture, width, cv2.INTER_NEAREST)


def flow_picture(flow: np.ndarray) -> np.ndarray:
    """Optical flow [2,H,W] as colours: hue = direction, saturation = length.

    The 99th percentile of the lengths is full saturation.
    """
    length = np.hypot(flow[0], flow[1])
    hue = (np.arctan2(flow[1], flow[0]) + np.pi) / (2 * np.pi) * 179
    saturation = np.clip(length / max(np.percentile(length, 99), 1e-6), 0, 1) * 255
    hsv = np.stack((hue, saturation, np.full_like(hue, 255)), -1).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _page(title: str, body: str) -> str:
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(title=escape(title), body=body)


def _chapter(number: int, chapter: Chapter) -> str:
    quality = _QUALITIES[0]
    figures = _figures(chapter.pictures, quality)
    if chapter.gif:
        data = base64.b64encode(chapter.gif.read_bytes()).decode()
        figures += _figure(f"data:image/gif;base64,{data}", chapter.gif.name)
    examples = [_panel(example, quality) for example in chapter.examples]
    parts = [
        f"<h2>{number}. {escape(chapter.title)}</h2>",
        f"<p>{escape(chapter.words)}</p>",
        _preformatted(chapter.table),
        _figures(chapter.wide, quality, PAGE_WIDTH),
        f'<div class="row">{figures}</div>',
        *examples,
        _preformatted("\n".join(chapter.commands)),
    ]
    return f"<section>{''.join(parts)}</section>\n"


def _preformatted(text: str) -> str:
    return f"<pre>{escape(text)}</pre>" if text else ""


def _panels(examples: Sequence[Example], quality: int) -> str:
    if not examples:
        return ""
    return _DRAG + "".join(_panel(example, quality) for example in examples)


def _panel(example: Example, quality: int) -> str:
    """An example: input over restored frame, the most changed region, further pictures."""
    crops = {
        f"{label}, most changed region": enlarged(crop, _FIGURE_WIDTH)
        for label, crop in zip(example.pictures, most_changed(example))
    }
    extras = dict(example.extras)
    if example.sharp is not None:
        extras = {"ground truth": example.sharp} | extras
    return _PANEL.substitute(
        name=escape(example.name),
        words=escape(example.words),
        restored=_embedded(example.restored, PANEL_WIDTH, quality),
        input=_embedded(example.blurry, PANEL_WIDTH, quality),
        crops=_figures(crops, quality),
        extras=_figures(extras, quality),
    )


def _figures(pictures: dict[str, np.ndarray], quality: int, width: int = _FIGURE_WIDTH) -> str:
    wide = width > _FIGURE_WIDTH
    return "".join(
        _figure(_embedded(picture, width, quality), label, wide)
        for label, picture in pictures.items()
    )


def _figure(source: str, caption: str, wide: bool = False) -> str:
    kind = ' class="wide"' if wide else ""
    return (
        f'<figure{kind}><img src="{source}"><figcaption>{escape(caption)}</figcaption></figure>\n'
    )


def _embedded(picture: np.ndarray, width: int, quality: int) -> str:
    """The picture as JPEG in a `data:` address."""
    pixels = np.ascontiguousarray(resize_to(picture, width)[..., ::-1])
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def _row(name: str, pictures: dict[str, np.ndarray], width: int) -> list[np.ndarray]:
    """Two bands: labels, the first with the row's name, and pictures side by side."""
    labels = list(pictures)
    labels[0] = f"{name}  {labels[0]}".strip()
    scaled = [_scaled(picture, width, cv2.INTER_AREA) for picture in pictures.values()]
    height = max(len(picture) for picture in scaled)
    padded = [_padded(picture, height, width) for picture in scaled]
    return [_text_band(labels, width), np.hstack(padded)]


def _write_bands(path: Path, bands: Iterable[np.ndarray]) -> None:
    width = max(band.shape[1] for band in bands)
    write_image(path, np.vstack([_padded(band, len(band), width) for band in bands]))


def _padded(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The picture with white below and to the right."""
    below = height - picture.shape[0]
    right = width - picture.shape[1]
    return np.pad(picture, ((0, below), (0, right), (0, 0)), constant_values=255)


def _scaled(picture: np.ndarray, width: int, interpolation: int) -> np.ndarray:
    """The picture `width` px wide, or narrower where it would be above 4 times that high."""
    scale = min(width / picture.shape[1], _MAX_HEIGHT * width / picture.shape[0])
    size = [max(round(side * scale), 1) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=interpolation)


def _text_band(texts: Sequence[str], width: int) -> np.ndarray:
    band = np.full((_LABEL_HEIGHT, width * len(texts), 3), 255, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    grey = (20, 20, 20)
    for column, text in enumerate(texts):
        origin = (column * width + 4, 15)
        cv2.putText(band, text, origin, font, 0.42, grey, 1, cv2.LINE_AA)
    return band


_DRAG = "<p>Drag the divider over each picture.</p>\n"
_PANEL = Template("""<section>
<h2>$name</h2>
<p>$words</p>
<div class="compare">
<img src="$restored" alt="restored">
<img class="above" src="$input" alt="input">
<span class="tag left">input</span><span class="tag right">restored</span><i></i>
<input type="range" min="0" max="100" value="50" step="0.1"
  aria-label="divider between input and restored frame">
</div>
<div class="row">$crops</div>
<div class="row">$extras</div>
</section>
""")
