"""Pictures of what a run did: a contact sheet (PNG) and a page (HTML) with input and restored frame
under a draggable divider.
"""

import base64
import html
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from utils.checkpoint import VERSION
from utils.files import write_text
from utils.image import resize_to, write_image

MAX_PANELS = 8
PANEL_WIDTH, PAGE_WIDTH = 640, 940  # px
MAX_BYTES = 5_000_000
_LABEL_HEIGHT = 22
_CROP = 96  # side in px of the most changed region
# times its width is what a picture on a contact sheet may be high; higher ones become narrower
_TALLEST = 4


@dataclass
class Example:
    """One frame to show: 8-bit pictures [H,W,3] of one size, and further pictures and words about
    it.
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
        return shown if self.sharp is None else shown | {"ground truth": self.sharp}


def contact_sheet(path: Path, examples: Sequence[Example], width: int = 400) -> None:
    """Write a PNG: per example its name, input, restored (and sharp) frame, and below them their
    most changed region, enlarged.
    """
    bands = []
    for example in examples:
        crops = [enlarged(crop, width)[: width // 2] for crop in most_changed(example)]
        bands += [*_row(example.name, example.pictures, width), np.hstack(crops)]
    _write_bands(path, bands)


def contact_sheet_of_rows(
    path: Path, rows: dict[str, dict[str, np.ndarray]], width: int = 400
) -> None:
    """Write a PNG of labelled pictures [H,W,3] side by side, one named row (name -> label ->
    picture) after the other.
    """
    bands = [band for name, pictures in rows.items() for band in _row(name, pictures, width)]
    _write_bands(path, bands)


def amount(number: float, noun: str) -> str:
    """A number of things, as one says it: 1 frame, 2 frames."""
    return f"{number:g} {noun}" + ("s" if number != 1 else "")


def spread(items: Sequence, most: int) -> list:
    """At most `most` of the items, evenly spread over them."""
    count = min(most, len(items))
    return [items[int((place + 0.5) * len(items) / count)] for place in range(count)]


def most_changed(example: Example) -> list[np.ndarray]:
    """The square region that the network changed most, cut from each of the example's pictures."""
    region = most_different(example.blurry, example.restored)
    return [picture[region] for picture in example.pictures.values()]


def most_different(one: np.ndarray, other: np.ndarray) -> tuple[slice, slice]:
    """The square region in which two 8-bit pictures [H,W,3] differ most."""
    change = np.abs(one.astype(np.float32) - other).sum(-1)
    height, width = change.shape
    side = min(_CROP, height, width)
    total = cv2.boxFilter(change, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    inner = total[side // 2 : height - (side - 1) // 2, side // 2 : width - (side - 1) // 2]
    top, left = np.unravel_index(inner.argmax(), inner.shape)
    return slice(top, top + side), slice(left, left + side)


def enlarged(picture: np.ndarray, width: int) -> np.ndarray:
    """The picture blown up to `width` pixels without smoothing, so that pixels can be judged."""
    return _scaled(picture, width, cv2.INTER_NEAREST)


def flow_picture(flow: np.ndarray) -> np.ndarray:
    """Optical flow [2,H,W] as colours: hue = direction, saturation = length relative to the 99th
    percentile.
    """
    length = np.hypot(flow[0], flow[1])
    hue = (np.arctan2(flow[1], flow[0]) + np.pi) / (2 * np.pi) * 179
    saturation = np.clip(length / max(np.percentile(length, 99), 1e-6), 0, 1) * 255
    hsv = np.stack((hue, saturation, np.full_like(hue, 255)), -1).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def write_report(
    path: Path,
    title: str,
    examples: Sequence[Example],
    facts: dict[str, str],
    table: str = "",
    pictures: dict[str, np.ndarray] | None = None,
) -> None:
    """Write a page that needs nothing else: at most 8 examples and other pictures of 640 px,
    scores, facts, the exact command, versions.
    """
    facts = facts | {
        "command": shlex.join(["python", *sys.argv]),
        "version": f"Blurlab {VERSION}, Python {platform.python_version()}",
    }
    rows = "".join(
        f"<tr><th>{html.escape(key)}</th><td>{html.escape(value)}</td></tr>"
        for key, value in facts.items()
        if value
    )
    for quality in (88, 70, 50, 30):
        panels = "".join(
            _figure(picture, name, quality, PANEL_WIDTH)
            for name, picture in (pictures or {}).items()
        )
        panels += (_DRAG if examples else "") + "".join(
            _panel(example, quality) for example in examples[:MAX_PANELS]
        )
        page = _PAGE.format(
            title=html.escape(title),
            facts=f"<table>{rows}</table>",
            scores=_preformatted(table),
            panels=panels,
        )
        if len(page) <= MAX_BYTES:
            break
    write_text(path, page)


@dataclass
class Chapter:
    """A part of a story: words, commands that do the same, a table, pictures (label -> [H,W,3],
    small or as wide as the page), examples.
    """

    title: str
    words: str
    commands: Sequence[str] = ()
    table: str = ""
    wide: dict[str, np.ndarray] = field(default_factory=dict)
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    gif: Path | None = None
    examples: Sequence[Example] = ()


def write_story(path: Path, title: str, words: str, chapters: Sequence[Chapter]) -> None:
    """Write a page that needs nothing else: chapters with pictures of 300 px and examples of 640
    px.
    """
    panels = _DRAG + "".join(
        _chapter(number, chapter) for number, chapter in enumerate(chapters, 1)
    )
    write_text(
        path,
        _PAGE.format(
            title=html.escape(title), facts=f"<p>{html.escape(words)}</p>", scores="", panels=panels
        ),
    )


def _chapter(number: int, chapter: Chapter) -> str:
    wide = "".join(
        _figure(picture, label, 88, PAGE_WIDTH) for label, picture in chapter.wide.items()
    )
    pictures = "".join(_figure(picture, label, 88) for label, picture in chapter.pictures.items())
    if chapter.gif:
        data = base64.b64encode(chapter.gif.read_bytes()).decode()
        pictures += (
            "<figure><img "
            f'src="data:image/gif;base64,{data}"><figcaption>{html.escape(chapter.gif.name)}</figcaption></figure>'
        )
    return (
        f"<section><h2>{number}. "
        f"{html.escape(chapter.title)}</h2><p>{html.escape(chapter.words)}</p>{_preformatted(chapter.table)}"
        f"{wide}<div "
        f'class="row">{pictures}</div>{"".join(_panel(example, 88) for example in chapter.examples)}'
        f"{_preformatted(chr(10).join(chapter.commands))}</section>"
    )


def _preformatted(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>" if text else ""


def _panel(example: Example, quality: int) -> str:
    below, above = (
        _embedded(picture, PANEL_WIDTH, quality) for picture in (example.restored, example.blurry)
    )
    crops = {
        f"{head}, most changed region": enlarged(crop, 300)
        for head, crop in zip(example.pictures, most_changed(example))
    }
    extras = {
        **({} if example.sharp is None else {"ground truth": example.sharp}),
        **example.extras,
    }
    crops, extras = (
        "".join(_figure(picture, name, quality) for name, picture in row.items())
        for row in (crops, extras)
    )
    return (
        f"<section><h2>{html.escape(example.name)}</h2><p>{html.escape(example.words)}</p>"
        f'<div class="compare"><img src="{below}" alt="restored"><img class="above" '
        f'src="{above}" alt="input">'
        '<span class="tag left">input</span><span class="tag right">restored</span><i></i>'
        '<input type="range" min="0" max="100" value="50" step="0.1" aria-label="divider between '
        'input and restored frame"></div>'
        f'<div class="row">{crops}</div><div class="row">{extras}</div></section>'
    )


def _figure(picture: np.ndarray, caption: str, quality: int, width: int = 300) -> str:
    kind = ' class="wide"' if width > 300 else ""
    return (
        f"<figure{kind}><img "
        f'src="{_embedded(picture, width, quality)}"><figcaption>{html.escape(caption)}</figcaption></figure>'
    )


def _embedded(picture: np.ndarray, width: int, quality: int) -> str:
    pixels = np.ascontiguousarray(resize_to(picture, width)[..., ::-1])
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def _row(name: str, pictures: dict[str, np.ndarray], width: int) -> list[np.ndarray]:
    heads = [
        f"{name}  {head}".strip() if column == 0 else head for column, head in enumerate(pictures)
    ]
    shrunk = [_scaled(picture, width, cv2.INTER_AREA) for picture in pictures.values()]
    tallest = max(len(picture) for picture in shrunk)
    shrunk = [
        np.pad(
            each,
            ((0, tallest - len(each)), (0, width - each.shape[1]), (0, 0)),
            constant_values=255,
        )
        for each in shrunk
    ]
    return [_text_band(heads, width), np.hstack(shrunk)]


def _write_bands(path: Path, bands: list[np.ndarray]) -> None:
    widest = max(band.shape[1] for band in bands)
    write_image(
        path,
        np.vstack(
            [
                np.pad(band, ((0, 0), (0, widest - band.shape[1]), (0, 0)), constant_values=255)
                for band in bands
            ]
        ),
    )


def _scaled(picture: np.ndarray, width: int, interpolation: int) -> np.ndarray:
    """The picture `width` pixels wide, or narrower where it would be higher than _TALLEST times
    that.
    """
    scale = min(width / picture.shape[1], _TALLEST * width / picture.shape[0])
    return cv2.resize(
        picture,
        [max(round(side * scale), 1) for side in picture.shape[1::-1]],
        interpolation=interpolation,
    )


def _text_band(texts: Sequence[str], width: int) -> np.ndarray:
    band = np.full((_LABEL_HEIGHT, width * len(texts), 3), 255, np.uint8)
    for column, text in enumerate(texts):
        cv2.putText(
            band,
            text,
            (column * width + 4, 15),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.42,
            (20, 20, 20),
            1,
            cv2.LINE_AA,
        )
    return band


_DRAG = "<p>Drag the divider over each picture.</p>"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 980px; margin: 2em auto; padding: 0 1em; }}
h1 {{ font-size: 1.5em; }} h2 {{ font-size: 1.1em; margin-bottom: 0; }} section {{ margin: 2.5em 0; }}
section p {{ margin: .2em 0 .6em; color: #555; }}
table {{ border-collapse: collapse; }} th {{ text-align: left; padding-right: 1.5em; font-weight: 600; vertical-align: top; }}
td {{ overflow-wrap: anywhere; }} pre {{ background: #f4f4f4; padding: .8em; overflow-x: auto; }}
.compare {{ position: relative; display: inline-block; width: min(100%, 640px); --cut: 50%; }}
.compare img {{ display: block; width: 100%; }}
.compare .above {{ position: absolute; inset: 0; clip-path: inset(0 calc(100% - var(--cut)) 0 0); }}
.compare i {{ position: absolute; top: 0; bottom: 0; left: var(--cut); width: 2px; margin-left: -1px;
  background: #fff; box-shadow: 0 0 3px #000; }}
.compare input {{ position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize; }}
.tag {{ position: absolute; top: 6px; background: #000a; color: #fff; padding: 0 .5em; border-radius: 3px; font-size: 13px; }}
.left {{ left: 6px; }} .right {{ right: 6px; }}
.row {{ display: flex; flex-wrap: wrap; gap: 8px; margin-top: 8px; }} figure {{ margin: 0; width: 300px; }}
figure.wide {{ width: auto; margin: .6em 0; }}
figure img {{ width: 100%; display: block; }} figcaption {{ font-size: 13px; color: #555; }}
</style></head><body>
<h1>{title}</h1>
{facts}
{scores}
{panels}
<script>
for (const slider of document.querySelectorAll(".compare input"))
  slider.addEventListener("input", () => slider.parentElement.style.setProperty("--cut", slider.value + "%"));
</script>
</body></html>
"""
