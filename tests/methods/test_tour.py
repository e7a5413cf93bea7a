import re

from methods import tour


def test_the_tour_tells_its_story_in_one_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tour, "SHOTS", 3)
    tour.main(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert [int(number) for number in re.findall(r"<h2>(\d)\. ", page)] == [1, 2, 3, 4, 5]
    assert page.count('type="range"') == 4
    assert "data:image/gif;base64," in page
    assert len(page) < 5_000_000
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing is fetched
    selected, random, best = (
        float(value) for value in re.findall(r"([\d.]+) dB\n", capsys.readouterr().out)[:3]
    )
    assert random <= best and selected <= best
    assert len(list((tmp_path / "restored").glob("coffee_*.png"))) == 3
