"""test.py --compare, through every method whose results are pictures or clips."""

import csv
import json
import shutil

import numpy as np
import pytest

from tests.commands import pattern, sentence
from utils.evaluation import compared_files
from utils.image import read_image, write_image

OFFSET_DB = 20 * np.log10(255)  # PSNR of a picture that is off by one level everywhere


def offset(picture: np.ndarray, levels: int) -> np.ndarray:
    """A picture that is off by so many levels; below 200 none is clipped."""
    return picture // 2 + 20 + levels


@pytest.fixture
def pictures(tmp_path):
    """sharp/ and blur/ with four pictures; A is off by 2 levels, B by 1 but for one picture by 4;
    C lacks one.
    """
    for number in range(4):
        picture = pattern(seed=number)
        write_image(tmp_path / f"set/sharp/p{number}.png", offset(picture, 0))
        write_image(tmp_path / f"set/blur/p{number}.png", offset(picture, 8))
        write_image(tmp_path / f"A/p{number}.png", offset(picture, 2))
        write_image(tmp_path / f"B/p{number}.png", offset(picture, 4 if number == 3 else 1))
        if number:
            write_image(tmp_path / f"C/p{number}.png", offset(picture, 1))
    return tmp_path


def compared(folder, run_command, *words: object) -> dict:
    """The summary that a comparison writes."""
    assert run_command(*words, "--output_dir", folder / "out") == (0, "")
    return json.loads((folder / "out/comparison.json").read_text())


def test_pictures_by_hand(pictures, run_command, capsys):
    """PSNR of n levels: 48.13 - 20 log10(n)."""
    given = ["test.py image_deblur --compare", f"A={pictures}/A", f"B={pictures}/B"]
    found = compared(pictures, run_command, *given, "--data_path", pictures / "set")
    assert found["n"] == 4
    assert found["mean"]["A"]["psnr"] == pytest.approx(OFFSET_DB - 20 * np.log10(2))
    assert found["mean"]["B"]["psnr"] == pytest.approx(OFFSET_DB - 5 * np.log10(4))
    assert found["input_mean"]["psnr"] == pytest.approx(OFFSET_DB - 20 * np.log10(8))
    psnr = found["pairs"][0]["psnr"]
    assert psnr["mean"] == pytest.approx(20 * np.log10(2) - 5 * np.log10(4))
    assert (psnr["better"], psnr["worse"], psnr["p"]) == (3, 1, 10 / 16)
    page = (pictures / "out/report.html").read_text()
    assert page.index("<h2>p3</h2>") < page.index("<h2>p0</h2>")  # where B is worst comes first
    for label in ("A", "B", "input", "ground truth"):
        assert page.count(f">{label}</option>") == 2  # of either side
        assert page.count(f'alt="{label}"') == 4


def test_only_what_all_folders_hold_is_compared(pictures, run_command):
    given = [f"{label}={pictures}/{label}" for label in "ABC"]
    words = ["test.py image_deblur --metrics psnr --compare", *given]
    truth = ["--sharp_dir", pictures / "set/sharp", "--blurry_dir", pictures / "set/blur"]
    found = compared(pictures, run_command, *words, *truth)
    assert found["n"] == 3 and [pair["second"] for pair in found["pairs"]] == ["B", "C", "C"]
    assert found["remarks"] == [
        "compared: 3 of 4 images, those that all folders hold",
        "C lacks 1: p0",
    ]
    assert list(found["mean"]["A"]) == ["psnr"]


def test_figures_are_those_of_scoring_each_folder(pictures, run_command):
    """Two ways to the same: a folder alone, and beside another one."""
    truth = ["--sharp_dir", pictures / "set/sharp"]
    given = ["test.py image_deblur --compare", f"A={pictures}/A", f"B={pictures}/B"]
    found = compared(pictures, run_command, *given, *truth)
    for label in "AB":
        alone = ["test.py image_deblur --restored_dir", pictures / label, *truth]
        assert run_command(*alone, "--output_dir", pictures / "alone") == (0, "")
        scores = json.loads((pictures / "alone/scores.json").read_text())
        assert found["mean"][label] == pytest.approx(scores["mean"])


def test_real_pairs_are_registered_first(pictures, run_command):
    """Protocol realblur matches intensities: what is off by some levels is as good as exact."""
    given = ["test.py sbdd --compare", f"A={pictures}/A", f"B={pictures}/B"]
    found = compared(pictures, run_command, *given, "--sharp_dir", pictures / "set/sharp")
    assert found["title"].startswith("protocol realblur")
    assert found["mean"]["A"]["psnr"] > OFFSET_DB
    sentence(run_command(*given), "to compare folders give --sharp_dir")


def test_clips_are_what_tests_of_videos_count(make_videos, run_command, tmp_path):
    """Videos of 6 and 7 frames, of which the first and last two are not scored."""
    root = make_videos()
    for video in ("a", "b"):
        for path in (root / "gt" / video).iterdir():
            sharp = read_image(path)
            write_image(tmp_path / "A" / video / path.name, np.maximum(sharp, 3) - 3)
            better = 1 if video == "a" else 5
            write_image(tmp_path / "B" / video / path.name, np.maximum(sharp, better) - better)
    words = ["test.py video_deblur --metrics psnr --data_path", root, "--compare"]
    found = compared(tmp_path, run_command, *words, f"A={tmp_path}/A", f"B={tmp_path}/B")
    assert found["n"] == 2 + 3 and found["unit"] == "clip"
    psnr = found["pairs"][0]["psnr"]
    assert (psnr["better"], psnr["worse"], psnr["p"]) == (1, 1, 1)
    with open(tmp_path / "out/comparison.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert names == ["a/00002", "a/00003", "b/00002", "b/00003", "b/00004"]


def test_sequences_may_run_backwards(make_sequences, run_command, tmp_path):
    root = make_sequences((32, 40), 6.0)
    for name in ("s4", "s5"):
        for index, path in enumerate(sorted((root / name / "sharp").iterdir())):
            frame = np.clip(read_image(path).astype(int) + 2 * index + 1, 0, 255).astype(np.uint8)
            write_image(tmp_path / f"A/{name}/deblur_{index}.png", frame)
            write_image(tmp_path / f"B/{name}/deblur_{6 - index}.png", frame)
    words = ["test.py blur2vid --data_path", root, "--compare"]
    found = compared(tmp_path, run_command, *words, f"A={tmp_path}/A", f"B={tmp_path}/B")
    assert found["unit"] == "sequence" and list(found["mean"]["A"]) == ["ppsnr", "pssim"]
    assert found["pairs"][0]["ppsnr"]["mean"] == pytest.approx(0, abs=1e-9)
    assert found["input_mean"]["ppsnr"] < found["mean"]["A"]["ppsnr"]
    page = (tmp_path / "out/report.html").read_text()
    first = page.index("<div hidden>")
    sources = page[first : page.index("</div>", first)].split('src="')[1:]
    one, other = (source.split('"')[0] for source in sources[:2])
    assert one == other  # frame 1 of either, turned to the truth's direction


def test_lpips_where_its_weights_are(pictures, run_command, monkeypatch):
    def distance(first, second):
        return (first - second).abs().mean((1, 2, 3))

    monkeypatch.setattr(compared_files, "find_lpips", lambda folder: (distance, ""))
    given = ["test.py image_deblur --compare", f"A={pictures}/A", f"B={pictures}/B"]
    words = [*given, "--data_path", pictures / "set", "--metrics", "lpips", "psnr"]
    found = compared(pictures, run_command, *words)
    assert found["mean"]["A"]["lpips"] == pytest.approx(2 / 255, rel=1e-5)
    lpips = found["pairs"][0]["lpips"]
    assert (lpips["better"], lpips["worse"]) == (3, 1)  # lower is better


def test_lpips_without_weights_is_a_sentence(pictures, run_command, monkeypatch):
    monkeypatch.setattr(compared_files, "find_lpips", lambda folder: (None, "LPIPS not computed"))
    given = ["test.py image_deblur --compare", f"A={pictures}/A", f"B={pictures}/B"]
    words = [*given, "--data_path", pictures / "set", "--metrics"]
    found = compared(pictures, run_command, *words, "psnr", "lpips")
    assert list(found["mean"]["A"]) == ["psnr"] and found["remarks"][-1] == "LPIPS not computed"
    sentence(run_command(*words, "lpips"), "nothing to compare by: LPIPS not computed")


def test_misuse_is_a_sentence(pictures, run_command):
    given = ["test.py image_deblur --compare", f"A={pictures}/A", f"B={pictures}/B"]
    sentence(run_command(*given, "--weights", "x"), "leave --weights out")
    sentence(run_command("test.py image_deblur --metrics psnr"), "--metrics psnr belongs to")
    sentence(run_command("test.py image_deblur --compare", f"A={pictures}/A"), "at least two")
    shutil.rmtree(pictures / "B")
    sentence(run_command(*given), "there is no folder")
