"""The validation sets by kind: layout, truth, and that a seed fixes them."""

import json

import cv2
import numpy as np
import pytest

from data.validation_kinds import KINDS_OF_CLIPS, KINDS_OF_PICTURES, make_kinds
from utils.image import read_image, write_image


@pytest.fixture
def sharp(tmp_path):
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.random((120, 140, 3), np.float32), (0, 0), 1.5)
    picture = np.uint8(255 * (noise - noise.min()) / np.ptp(noise))
    for index in range(2):
        write_image(tmp_path / f"pictures/{index}.png", np.roll(picture, 9 * index, 1))
    for frame in range(60):
        write_image(tmp_path / f"videos/pan/{frame:02d}.png", np.roll(picture, 2 * frame, 1))
    return tmp_path


def test_the_sets_hold_what_they_say(sharp, tmp_path, monkeypatch):
    for kind in KINDS_OF_PICTURES.values():
        monkeypatch.setitem(kind.__dict__, "count", 2)
    made = tmp_path / "made"
    make_kinds(sharp, made, seed=3, size=64, frames=4)
    record = json.loads((made / "kinds.json").read_text())
    assert set(record["pictures"]) == set(KINDS_OF_PICTURES) - {"texture"}
    assert set(record["clips"]) == set(KINDS_OF_CLIPS)
    for kind, lengths in record["pictures"].items():
        folder = made / "pictures" / kind
        low, high = KINDS_OF_PICTURES[kind].lengths
        for name, length in lengths.items():
            blurry = read_image(folder / "blur" / f"{name}.png").astype(int)
            truth = read_image(folder / "sharp" / f"{name}.png").astype(int)
            assert blurry.shape == truth.shape == (64, 64, 3)
            assert low * 0.6 <= length <= high * 3
            assert (np.abs(blurry - truth).mean() > 0.3) == (kind != "sharp"), (kind, name)
    between = record["clips"]["between sharp frames"]["pan"]
    assert len(between) == 1  # of four frames; those at the ends have one neighbour
    for name in ("blur", "gt"):
        frames = sorted((made / "clips/between sharp frames" / name / "pan").glob("*.png"))
        assert len(frames) == 4
    clip = made / "clips/between sharp frames"
    for frame in frames:
        blurry = read_image(clip / "blur/pan" / frame.name)
        equal = np.array_equal(blurry, read_image(frame))
        assert equal == (frame.stem not in between)
    again = tmp_path / "again"
    make_kinds(sharp, again, seed=3, size=64, frames=4)
    for path in made.rglob("*.png"):
        assert path.read_bytes() == (again / path.relative_to(made)).read_bytes()


def test_an_average_in_srgb_space_is_the_mean_of_its_frames(sharp, tmp_path):
    make_kinds(sharp, tmp_path / "made", seed=3, size=64, frames=2)
    root = tmp_path / "made/clips/srgb averages"
    name = sorted(path.stem for path in (root / "gt/pan").glob("*.png"))[0]
    frames = [
        read_image(sharp / f"videos/pan/{int(name) + step:02d}.png").astype(float)
        for step in range(-3, 4)
    ]
    mean = np.mean(frames, axis=0)[28:92, 38:102]  # the middle 64 px of 140x120
    blurry = read_image(root / "blur/pan" / f"{name}.png")
    assert np.abs(blurry - mean).max() <= 0.5 + 1e-3
