import re

import numpy as np

from utils.checkpoint import VERSION
from utils.image import read_image
from utils.report import Example, contact_sheet, flow_picture, most_changed, write_report

RNG = np.random.default_rng(0)


def example(name="v/<1>", size=(120, 200), truth=True):
    blurry = RNG.integers(0, 200, (*size, 3), dtype=np.uint8)
    restored = blurry.copy()
    restored[10:30, 150:170] += 50  # the only change
    return Example(name, blurry, restored, blurry if truth else None, {"flow": blurry}, "PSNR 1 dB")


def test_most_changed_region_holds_the_change():
    one = example()
    crops = most_changed(one)
    assert len(crops) == 3 and all(crop.shape == (96, 96, 3) for crop in crops)
    assert (crops[1].astype(int) - crops[0]).sum() == 20 * 20 * 3 * 50
    assert most_changed(example(size=(40, 30)))[0].shape == (30, 30, 3)


def test_contact_sheet_has_a_column_per_picture(tmp_path):
    contact_sheet(tmp_path / "a.png", [example(), example()], width=100)
    sheet = read_image(tmp_path / "a.png")
    assert sheet.shape == (2 * (22 + 60 + 50), 300, 3)
    contact_sheet(tmp_path / "b.png", [example(truth=False), example()], width=100)
    assert read_image(tmp_path / "b.png").shape[1] == 300


def test_a_tower_stays_a_small_sheet(tmp_path):
    """At the width of the others it would be 200,000 px high."""
    tower = np.full((4000, 2, 3), 50, np.uint8)
    contact_sheet(tmp_path / "a.png", [Example("tower", tower, tower)], width=100)
    sheet = read_image(tmp_path / "a.png")
    assert sheet.shape == (22 + 400 + 50, 200, 3)
    assert (sheet[22:422, 0] == 50).all() and (sheet[22:422, 1] == 255).all()


def test_flow_colours_tell_directions_apart():
    colours = set()
    for direction in ((3, 0), (0, 3), (-3, 0), (0, -3)):
        flow = np.broadcast_to(np.reshape(direction, (2, 1, 1)), (2, 4, 4))
        colours.add(tuple(flow_picture(flow)[0, 0]))
    assert len(colours) == 4
    still = np.zeros((2, 4, 4))
    assert (flow_picture(still) == 255).all()


def test_page_is_one_small_safe_file(tmp_path):
    examples = [example(size=(720, 1280)) for _ in range(12)]
    metadata = {"weights": "w<1>", "none": ""}
    write_report(tmp_path / "report.html", "A & B", examples, metadata, "psnr 30.00")
    page = (tmp_path / "report.html").read_text()
    assert len(page) <= 5_000_000
    assert page.count("<section>") == 8 and page.count('type="range"') == 8
    for text in ("A &amp; B", "v/&lt;1&gt;", "w&lt;1&gt;", "psnr 30.00", f"Blurlab {VERSION}"):
        assert text in page
    assert "<th>command</th>" in page
    assert "<th>none</th>" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing is fetched
