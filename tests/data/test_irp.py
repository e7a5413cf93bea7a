"""Exposure stacks: the published layout, what may be wrong with it, and the physics behind them."""

import json
import shutil

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from data import irp
from data.fresh_shots import FreshShots, SceneDraw, augmented
from data.irp import LabelledShots, find_shots, find_stacks, write_labels
from data.irp_records import read_features
from data.synthesis.camera import STANDARD
from data.synthesis.masks import find_masks
from data.synthesis.stack import (
    Sensor,
    brightened,
    encoded_noise,
    expose_picture,
    expose_video,
    part_of_path,
    sense,
)
from utils.errors import UserError
from utils.files import write_text
from utils.image import read_image, to_tensor, write_image

RATIOS = (1.0, 1.5, 10.0)


def label(scene, ratio):
    return round(0.3 + 0.01 * scene + 0.001 * ratio, 6)


@pytest.fixture
def root(tmp_path):
    """Twelve scenes of 40x48 px at three ratios, two from each source."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "set"
    labels = {}
    sources = {}
    for scene in range(1, 13):
        name = f"scene{scene}"
        for ratio in RATIOS:
            pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            write_image(folder / name / f"{ratio:g}.png", pixels)
        labels[name] = {ratio: label(scene, ratio) for ratio in RATIOS}
        sources[name] = f"source{scene // 2}"
    write_labels(folder, labels, sources, seed=3)
    return folder


def test_lines_follow_scenes_sorted_as_strings(root):
    """scene1, scene10, scene11, scene12, scene2, ...: every shot gets its own label."""
    lines = (root / "IRP_label/1.5_metric.txt").read_text().split()
    assert float(lines[1]) == label(10, 1.5) and float(lines[4]) == label(2, 1.5)
    found = find_stacks(root)
    for shot in found.of("all"):
        assert shot.label == label(int(shot.scene.removeprefix("scene")), shot.ratio)
        assert shot.path == root / shot.scene / f"{shot.ratio:g}.png"
    assert len(found.of("all")) == 36 and found.remark == ""


def test_partitions_share_no_source(root):
    found = find_stacks(root)
    sources = {}
    for name, scenes in found.partitions.items():
        sources[name] = {int(scene.removeprefix("scene")) // 2 for scene in scenes}
    assert all(sources.values()) and sum(map(len, found.partitions.values())) == 12
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not sources[one] & sources[other]
    assert sorted(map(int, (root / "list_index.txt").read_text().split(","))) == list(range(12))


def test_the_published_split(root):
    """Without our splits.json the first 70 % of list_index.txt train.

    Without that there are a fixed permutation and a remark.
    """
    (root / "splits.json").unlink()
    (root / "list_index.txt").write_text("11,10,9,8,7,6,5,4,3,2,1,0")
    names = sorted(f"scene{number}" for number in range(1, 13))
    found = find_stacks(root)
    assert found.partitions["train"] == tuple(names[::-1][:9])
    assert found.partitions["val"] == (names[2],)
    assert found.remark == ""
    (root / "list_index.txt").unlink()
    found = find_stacks(root)
    again = find_stacks(root)
    assert "no list_index.txt" in found.remark and found.partitions == again.partitions
    assert sorted(sum(found.partitions.values(), ())) == names
    assert [irp._counts(count) for count in (500, 4, 1)] == [(350, 50, 100), (2, 1, 1), (1, 0, 0)]


def write_index(root, text):
    (root / "splits.json").unlink()
    (root / "list_index.txt").write_text(text)


def write_first_labels(root, last):
    (root / "IRP_label/1_metric.txt").write_text("0.5\n" * 11 + last)


def remove_scenes(root):
    for path in root.glob("scene*"):
        shutil.rmtree(path)


NO_SCENES = json.dumps(dict.fromkeys(irp.PARTITIONS, []))
DAMAGES = [
    (lambda root: (root / "scene3/10.png").unlink(), r"scene3 has no 10\.png"),
    (lambda root: write_first_labels(root, ""), "has 11 lines, but there are 12 scenes"),
    (lambda root: write_first_labels(root, "good\n"), "a line that is no number"),
    (lambda root: write_first_labels(root, "nan\n"), "not finite"),
    (lambda root: shutil.rmtree(root / "IRP_label"), "no labels in"),
    (lambda root: (root / "splits.json").write_text("{}"), "not a mapping with train, val, test"),
    (lambda root: (root / "splits.json").write_text(NO_SCENES), "differ: scene1"),
    (lambda root: write_index(root, "0,1,x"), "no list of numbers"),
    (lambda root: write_index(root, "0,1,2"), r"no permutation of 0 \.\.\. 11"),
    (remove_scenes, "no exposure stacks in"),
]


@pytest.mark.parametrize(("damage", "sentence"), DAMAGES)
def test_what_is_wrong_is_named(root, damage, sentence):
    damage(root)
    with pytest.raises(UserError, match=sentence):
        find_stacks(root)


def test_shots_without_labels(root):
    """A stack by itself, a folder of stacks, other picture formats; anything else is none."""
    assert [shot.ratio for shot in find_shots(root / "scene2")["scene2"]] == list(RATIOS)
    assert list(find_shots(root))[:3] == ["scene1", "scene2", "scene3"]
    assert len(find_shots(root)) == 12
    (root / "scene1/1.5.png").rename(root / "scene1/night.png")
    assert "scene1" not in find_shots(root) and find_shots(root / "IRP_label") == {}


def test_training_items(root):
    """They depend on (seed, epoch, index) alone, whatever was read before; flips are flips."""
    shots = find_stacks(root).of("train")
    one = LabelledShots(shots, 1, patch=32, augment=("mirror", "turn"))
    other = LabelledShots(shots, 1, patch=32, augment=("mirror", "turn"))
    for key in ((0, 3), (1, 3), (0, 3)):
        assert np.array_equal(one[key]["image"], other[key]["image"])
    item = one[0, 3]
    assert item["image"].shape == (1, 3, 32, 32)
    assert not np.array_equal(item["image"], one[1, 3]["image"])
    assert item["label"] == np.float32(shots[3].label)
    assert item["ratio"] == shots[3].ratio
    whole = LabelledShots(shots, 1)
    seen = [whole[epoch, 0]["image"].numpy() for epoch in range(12)]
    both = {image.tobytes() for image in seen}
    assert len(both) == 2 and seen[0][..., ::-1].tobytes() in both
    orders = LabelledShots(shots, 1, augment=("colours",))
    assert len({orders[epoch, 0]["image"].numpy().tobytes() for epoch in range(60)}) == 6
    means = orders[0, 0]["image"][0].mean((1, 2))
    stored = to_tensor(read_image(shots[0].path)).mean((1, 2))
    assert sorted(means.tolist()) == pytest.approx(sorted(stored.tolist()))


def test_a_bracket_holds_shots_of_one_scene_with_one_cut(root):
    shots = find_stacks(root).of("train")
    item = LabelledShots(shots, 1, patch=32, bracket=3)[0, 5]
    scene = {shot.ratio: shot for shot in shots if shot.scene == shots[5].scene}
    assert item["image"].shape == (3, 3, 32, 32)
    assert len(set(item["ratio"].tolist())) == 3
    assert item["ratio"][0] == shots[5].ratio
    labels = [scene[float(f"{ratio:g}")].label for ratio in item["ratio"]]
    assert item["label"].tolist() == [np.float32(label) for label in labels]
    whole = LabelledShots(shots, 1, bracket=3, augment=())[0, 5]
    for image, ratio in zip(whole["image"], whole["ratio"]):
        assert torch.equal(image, to_tensor(read_image(scene[float(f"{ratio:g}")].path)))
    with pytest.raises(UserError, match="--bracket 12: a scene has only 3 shots"):
        LabelledShots(shots, 1, bracket=12)


def test_sizes_that_make_no_batch(root):
    shots = find_stacks(root).of("train")
    with pytest.raises(UserError, match="--patch_size 64 is larger than the images of 40 px"):
        LabelledShots(shots, 1, patch=64)
    write_image(shots[4].path, np.zeros((40, 50, 3), np.uint8))
    with pytest.raises(UserError, match="50x40: whole images of a batch need one size"):
        LabelledShots(shots, 1)


def test_the_stored_picture_is_ratio_times_darker():
    """Mean light and noise of a flat grey scene, against the formulas."""
    light = np.full((200, 200, 3), 0.2, np.float32)
    sensor = Sensor(5000.0, 2.0)
    for ratio in (1.0, 5.0, 20.0):
        stored = sense(light, ratio, sensor, np.random.default_rng(0))
        assert STANDARD.linear(stored).mean() == pytest.approx(0.2 / ratio, rel=0.02)
        bright = brightened(stored, ratio)
        assert bright.mean() == pytest.approx(float(STANDARD.encoded(light).mean()), abs=0.01)
        assert bright.std() == pytest.approx(encoded_noise(sensor, ratio, 0.2), rel=0.15)


def blocks(seed, count):
    """A picture of count x count random blocks of 4x4 px."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, count, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((4, 4, 1), np.uint8))


def correlated(image, kernel, mode):
    channels = [correlate(image[..., channel], kernel, mode=mode) for channel in range(3)]
    return np.stack(channels, -1)


def test_shorter_exposures_are_the_middle_of_the_path():
    path = np.stack((np.linspace(-10, 10, 101), np.zeros(101)), 1)
    assert np.abs(part_of_path(path, 5)[:, 0]).max() == pytest.approx(2, abs=0.05)
    picture = blocks(0, 24)
    masks = np.zeros((0, 96, 96), bool)
    sharp = STANDARD.linear(picture)[16:-16, 16:-16]
    errors = []
    for ratio in (1.0, 2.0, 5.0, 75.0):
        exposure = expose_picture(picture, masks, [path], ratio, 33)
        errors.append(np.abs(exposure.blurred_linear - sharp).mean())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 5 * errors[-1]


def test_known_kernels_blur_as_the_exposure_did():
    """Of a picture exactly; of a video they explain most of the blur, from its sharp middle."""
    path = np.stack((np.linspace(-6, 6, 51), np.linspace(-2, 2, 51)), 1)
    picture = blocks(1, 20)
    exposure = expose_picture(picture, np.zeros((0, 80, 80), bool), [path], 1.0, 17)
    light = STANDARD.linear(picture)
    again = correlated(light, exposure.kernels[0], "constant")[8:-8, 8:-8]
    assert np.abs(again - exposure.blurred_linear).max() < 1e-4
    frames = [np.float32(picture[10:70, 10 + step : 70 + step]) / 255 for step in (-2, -1, 0, 1, 2)]
    exposure = expose_video(frames, 3.0, 1.0, 17)
    light = STANDARD.linear(frames[2])
    again = np.zeros_like(light)
    for kernel, weight in zip(exposure.kernels, exposure.weights):
        again += weight[..., None] * correlated(light, kernel, "nearest")
    blur = np.abs(exposure.blurred_linear - light)[8:-8, 8:-8].mean()
    assert np.abs(exposure.blurred_linear - again)[8:-8, 8:-8].mean() < 0.5 * blur
    assert np.allclose(exposure.weights.sum(0), 1, atol=1e-5)


def test_features_are_what_the_generator_knows(root):
    """Light and length of the blur come from the records, detail from the sharp picture.

    Unknown blur is NaN; without records there are no features.
    """
    shots = find_stacks(root).of("all")
    assert read_features(root, shots) is None
    measured = {"label": 0.5, "input_ssim": 0.5}
    rows = [{"ratio": ratio, "input_psnr": 20 + ratio, **measured} for ratio in RATIOS]
    for scene in {shot.scene for shot in shots}:
        record = {"source": "a", "number": 0, "photons": 1000.0, "shots": rows}
        if scene != "scene2":
            record["extent_px"] = [8.0, 20.0]
        write_text(root / "records" / f"{scene}.json", json.dumps(record))
        contrast = 2 if scene == "scene3" else 1
        write_image(root / "sharp" / f"{scene}.png", read_image(root / "scene1/1.png") // contrast)
    features = read_features(root, shots)
    names = [(shot.scene, shot.ratio) for shot in shots]
    targets = dict(zip(names, features.auxiliary_targets))
    assert targets["scene1", 10.0][:2] == pytest.approx([np.log(100), np.log(0.8 + 0.5)])
    assert np.isnan(targets["scene2", 1.0][1])
    assert targets["scene2", 1.0][0] == pytest.approx(np.log(1000))
    half_contrast = targets["scene3", 1.0][2:]
    assert targets["scene1", 1.0][2:] == pytest.approx(half_contrast + np.log(2), abs=0.05)
    item = LabelledShots(shots, 1, patch=32, features=features)[0, 0]
    assert np.array_equal(item["auxiliary_targets"][0], targets[names[0]])
    known = item["label_features"][0]
    assert known[[0, 1, 6, 7]] == pytest.approx([0, np.log(1000), 2.1, 0.5])
    assert np.array_equal(known[2:6], item["auxiliary_targets"][0, 2:])


def test_fresh_shots_are_exposed_anew_every_epoch(tmp_path):
    """From one picture another shot every time, but always the same for one (seed, epoch, index).

    What is known of it is true.
    """
    write_image(tmp_path / "a.png", blocks(0, 30))
    pictures = [("a", tmp_path / "a.png")]
    masks = find_masks(None)
    draw = SceneDraw(still=0.0, photons=(900.0, 1000.0))
    fresh = FreshShots(pictures, masks, draw, 48, seed=4)
    items = [fresh[epoch, 0] for epoch in range(12)]
    again = FreshShots(pictures, masks, draw, 48, seed=4)[3, 0]
    for name, value in again.items():
        assert np.array_equal(value, items[3][name], equal_nan=name == "label"), name
    assert len({item["image"].numpy().tobytes() for item in items}) == 12
    for item in items:
        light = item["auxiliary_targets"][0, 0]
        ratio = item["ratio"][0]
        assert item["image"].shape == (1, 3, 48, 48) and np.isnan(item["label"])
        assert np.log(900) <= light + np.log(ratio) <= np.log(1000)
        assert item["label_features"][0, :2] == pytest.approx([np.log(ratio), light])
    bracket = FreshShots(pictures, masks, draw, 48, seed=4, bracket=4)[3, 0]
    assert bracket["image"].shape == (4, 3, 48, 48) and len(set(bracket["ratio"].tolist())) == 4
    targets = bracket["auxiliary_targets"]
    assert np.ptp(targets[:, 0] + np.log(bracket["ratio"])) < 1e-5  # one sensor
    assert np.ptp(targets[:, 2:], axis=0).max() == 0  # one sharp picture
    brightness = [(item["image"].mean() ** 2.2 * item["ratio"][0]).item() for item in items]
    assert max(brightness) < 4 * min(brightness)  # stored `ratio` times too dark


def test_masks_turn_with_a_picture():
    """The object stays under its mask; there are eight ways."""
    picture = np.full((40, 50, 3), 10, np.uint8)
    mask = np.zeros((1, 40, 50), bool)
    mask[0, 3:9, 5:20] = True
    picture[mask[0]] = 200
    ways = set()
    for seed in range(60):
        turned, masks = augmented(picture, mask, np.random.default_rng(seed))
        assert np.array_equal(turned[..., 0] == 200, masks[0])
        ways.add(masks.tobytes())
    assert len(ways) == 8
    assert augmented(picture, mask[:0], np.random.default_rng(0))[1].shape[0] == 0
