import base64
import io
import re

import numpy as np
from PIL import Image

from utils.checkpoint import VERSION
from utils.report import (
    Example,
    flow_picture,
    gained_region,
    write_report,
)

RNG = np.random.default_rng(0)


def example(name="v/<1>", size=(120, 200), truth=True):
    blurry = RNG.integers(0, 200, (*size, 3), dtype=np.uint8)
    restored = blurry.copy()
    restored[10:30, 150:170] += 50  # the only change
    return Example(name, blurry, restored, blurry if truth else None, {"flow": blurry}, "PSNR 1 dB")


def test_the_region_shows_gained_detail_not_mere_change():
    """A square gets lines, a larger area another brightness: the lines count."""
    blurry = np.full((400, 700, 3), 90, np.uint8)
    restored = blurry.copy()
    restored[:, :300] += 60
    restored[150:250:4, 500:600] += 40
    rows, columns = gained_region(Example("a", blurry, restored))
    assert rows.stop - rows.start == columns.stop - columns.start == 256
    assert rows.start <= 150 and rows.stop >= 250
    assert columns.start <= 500 and columns.stop >= 600
    small = gained_region(Example("b", blurry[:40, :30], restored[:40, :30]))
    assert restored[small].shape == (30, 30, 3)


def test_flow_colours_tell_directions_apart():
    colours = set()
    for direction in ((3, 0), (0, 3), (-3, 0), (0, -3)):
        flow = np.broadcast_to(np.reshape(direction, (2, 1, 1)), (2, 4, 4))
        colours.add(tuple(flow_picture(flow)[0, 0]))
    assert len(colours) == 4
    still = np.zeros((2, 4, 4))
    assert (flow_picture(still) == 255).all()


def test_page_is_one_small_safe_file(tmp_path):
    examples = [example(size=(480, 640))] * 12
    metadata = {"weights": "w<1>", "none": ""}
    write_report(tmp_path / "report.html", "A & B", examples, metadata, "psnr 30.00")
    page = (tmp_path / "report.html").read_text()
    assert len(page) <= 8_000_000
    assert page.count("<section>") == 8 and page.count('type="range"') == 8
    for text in ("A &amp; B", "v/&lt;1&gt;", "w&lt;1&gt;", "psnr 30.00", f"Blurlab {VERSION}"):
        assert text in page
    assert "<th>command</th>" in page
    assert "<th>none</th>" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing is fetched


def test_pictures_are_embedded_at_their_own_size(tmp_path):
    write_report(tmp_path / "report.html", "A", [example(size=(720, 1280))], {})
    page = (tmp_path / "report.html").read_text()
    data = re.findall(r'class="above" src="data:image/jpeg;base64,([^"]+)"', page)
    assert Image.open(io.BytesIO(base64.b64decode(data[0]))).size == (1280, 720)
    assert "--width: 1280px" in page


def test_gains_videos_and_the_typed_command_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.orig_argv", ["/usr/bin/python3", "inference.py", "a b", "--x"])
    gains = {f"p{number}<": number - 4.0 for number in range(12)}
    videos = [(tmp_path / "in put/a.mp4", tmp_path / "out/a.mp4")]
    write_report(tmp_path / "out/report.html", "A", [], {}, gains=gains, videos=videos)
    page = (tmp_path / "out/report.html").read_text()
    assert "python3 inference.py &#39;a b&#39; --x" in page
    assert "7 of 12 pictures gained PSNR" in page
    assert "The worst: p0&lt; (-4.00 dB), p1&lt; (-3.00 dB)" in page and "p5&lt;" not in page
    assert page.count('dB"><b') == 12 and "height: 100.0%" in page
    assert 'src="../in%20put/a.mp4"' in page and 'src="a.mp4"' in page
