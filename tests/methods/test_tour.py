import re

from methods import tour


def test_the_tour_tells_its_story_in_one_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tour, "SHOTS", 3)
    tour.main(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert [int(number) for number in re.findall(r"<h2>(\d)\. ", page)] == [*range(1, 10)]
    assert page.count('type="range"') == 5
    assert "data:image/gif;base64," in page
    assert len(page) < 5_000_000
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing is fetched
    out = capsys.readouterr().out
    selected, random, best = (float(value) for value in re.findall(r"([\d.]+) dB\n", out)[:3])
    assert random <= best and selected <= best
    assert len(list((tmp_path / "restored").glob("coffee_*.png"))) == 3
    # long blur: auto gains more than scale 1, half the strength less
    gains = dict(re.findall(r"^(--scale \S+(?: --strength \S+)?) +([\d.]+) dB$", out, re.MULTILINE))
    assert float(gains["--scale auto"]) > float(gains["--scale 1"])
    assert float(gains["--scale auto"]) > float(gains["--scale auto --strength 0.5"])
    # of nine frames three are blurred, and only these change
    assert len(re.findall(r"^0000\d +no +sharp +the same$", out, re.MULTILINE)) == 6
    frames = re.findall(r"^0000\d +yes +([\d.]+) dB +([\d.]+) dB$", out, re.MULTILINE)
    assert len(frames) == 3 and all(float(after) > float(before) for before, after in frames)
    assert float(re.search(r"from inference.py: (\S+) of 1", out)[1]) < 1e-5
    assert "NAFNet-GoPro-width64.pth" in page
