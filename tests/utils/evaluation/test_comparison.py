"""Comparing networks: the sign test, paired differences, and which images count."""

import csv
import json
import math

import pytest
from scipy.stats import binomtest

from utils.errors import UserError
from utils.evaluation.comparison import Comparison, in_all, named_folders, sign_test


def rows(**figures: list[float]) -> dict[str, dict[str, float]]:
    """{image: {metric: figure}} of lists of figures, images a, b, c, ..."""
    names = "abcdefgh"[: len(next(iter(figures.values())))]
    return {
        name: {metric: values[index] for metric, values in figures.items()}
        for index, name in enumerate(names)
    }


def test_the_sign_test_by_hand():
    """Of ten fair throws at most two (or at least eight) are heads: 2 (1 + 10 + 45) / 1024."""
    assert sign_test(8, 2) == sign_test(2, 8) == 112 / 1024
    assert sign_test(5, 0) == 2 / 32
    assert sign_test(3, 3) == sign_test(0, 0) == sign_test(1, 0) == 1


@pytest.mark.parametrize(("better", "worse"), [(1, 9), (17, 31), (60, 51), (600, 511), (0, 40)])
def test_the_sign_test_agrees_with_scipy(better, worse):
    expected = binomtest(better, better + worse, 0.5).pvalue
    assert sign_test(better, worse) == pytest.approx(expected, rel=1e-9)


def test_the_table_by_hand():
    """psnr: +1, +2, -1, 0; lpips falls three times, which is better, and rises once."""
    comparison = Comparison(
        "protocol image, 4 images",
        ["psnr", "lpips"],
        {
            "old": rows(psnr=[30, 31, 32, 33], lpips=[0.4, 0.4, 0.4, 0.4]),
            "new": rows(psnr=[31, 33, 31, 33], lpips=[0.1, 0.2, 0.5, 0.3]),
        },
        {"psnr": 25.0},
    )
    lines = [line.split() for line in comparison.table().splitlines()]
    assert lines[1:] == [
        ["psnr", "lpips"],
        ["input", "25.00", "-"],
        ["old", "31.50", "0.4000"],
        ["new", "32.00", "0.2750"],
        ["new", "-", "old", "+0.50", "-0.1250"],
        ["images", "better", "2", "3"],
        ["images", "worse", "1", "1"],
        ["sign", "test,", "p", "1", "0.62"],
    ]


def test_identical_images_do_not_differ():
    infinite = math.inf
    comparison = Comparison(
        "", ["psnr"], {"A": rows(psnr=[infinite, 30]), "B": rows(psnr=[infinite, 29])}
    )
    found = comparison.paired("A", "B", "psnr")
    assert (found.mean, found.better, found.worse, found.equal) == (-0.5, 0, 1, 1)


def test_frames_of_a_clip_count_once():
    """Five frames gain, two lose, but it is one clip against one."""
    names = [f"x/{number}" for number in range(5)] + ["y/0", "y/1"]
    first = {name: {"psnr": 30.0} for name in names}
    second = {name: {"psnr": 31.0 if name[0] == "x" else 29.5} for name in names}
    clips = {name: name[0] for name in names}
    comparison = Comparison("", ["psnr"], {"A": first, "B": second}, unit="clip", clips=clips)
    found = comparison.paired("A", "B", "psnr")
    assert (found.better, found.worse, found.p) == (1, 1, 1)
    assert found.mean == pytest.approx((5 * 1 - 2 * 0.5) / 7)  # over all frames


def test_the_worst_come_first_then_the_best():
    base = rows(psnr=[30] * 8)
    changed = rows(psnr=[30, 31, 25, 33, 29, 32, 27, 30])  # h and a in the middle
    comparison = Comparison("", ["psnr"], {"A": base, "B": changed})
    assert comparison.extremes(4) == ["c", "g", "d", "f"]
    assert sorted(comparison.extremes(20)) == list("abcdefgh")
    third = rows(psnr=[20, 30, 30, 30, 30, 30, 30, 40])
    three = Comparison("", ["psnr"], {"A": base, "B": changed, "C": third})
    assert three.extremes(4) == ["c", "a", "d", "h"]
    lower = Comparison("", ["lpips"], {
        "A": rows(lpips=[0.5, 0.5]), "B": rows(lpips=[0.2, 0.7])
    })  # fmt: skip
    assert lower.extremes(2) == ["b", "a"]


def test_only_images_of_all_folders_count():
    folders = {"A": dict.fromkeys("abcd"), "B": dict.fromkeys("bcdz"), "C": dict.fromkeys("acd")}
    names, lines = in_all(list("abcde"), "abcde", folders)
    assert names == ["c", "d"]
    assert lines == [
        "compared: 2 of 5 images, those that all folders hold",
        "A lacks 1: e",
        "B lacks 2: a, e",
        "B holds without ground truth 1: z",
        "C lacks 2: b, e",
    ]
    with pytest.raises(UserError, match="no image is in all folders; A lacks 1: b; B lacks 1: a"):
        in_all(["a", "b"], "ab", {"A": {"a": 1}, "B": {"b": 1}})
    many = [str(number) for number in range(9)]
    assert in_all(many, many, {"A": {"8": 1}})[1][1] == "A lacks 8: 0, 1, 2, 3, 4, ..."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["A=one"], "at least two folders"),
        (["A=one", "two"], "--compare two: write NAME=FOLDER"),
        (["A=one", "=two"], "--compare =two: write NAME=FOLDER"),
        (["A=one", "A=two"], "the name A is taken"),
        (["input=one", "A=two"], "the name input is taken"),
        (["A=one", "B=three"], "there is no folder three"),
    ],
)
def test_folders_have_names(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    assert list(named_folders(["A=one", "B b=two"])) == ["A", "B b"]
    with pytest.raises(UserError, match=said):
        named_folders(words)


def test_files_hold_every_image_and_every_pair(tmp_path):
    comparison = Comparison(
        "t", ["psnr"], {"A": rows(psnr=[30, math.inf]), "B": rows(psnr=[31, 32])}, remarks=["r"]
    )
    comparison.write(tmp_path)
    with open(tmp_path / "comparison.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"name": "a", "A psnr": "30", "B psnr": "31"},
            {"name": "b", "A psnr": "inf", "B psnr": "32"},
        ]
    summary = json.loads((tmp_path / "comparison.json").read_text())
    assert summary["mean"] == {"A": {"psnr": "inf"}, "B": {"psnr": 31.5}}
    (pair,) = summary["pairs"]
    assert pair["first"] == "A" and pair["psnr"]["better"] == pair["psnr"]["worse"] == 1
