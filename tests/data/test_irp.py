"""Exposure stacks: the published layout and everything that may be wrong with it, and the physics
of making them.
"""

import json
import shutil

import numpy as np
import pytest
import torch

from data import irp
from data.fresh_shots import FreshShots, SceneDraw, turned
from data.irp import LabelledShots, find_shots, find_stacks, read_knowledge, write_labels
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
    for scene in range(1, 13):
        for ratio in RATIOS:
            write_image(
                tmp_path / f"set/scene{scene}/{ratio:g}.png",
                rng.integers(0, 256, (40, 48, 3), dtype=np.uint8),
            )
    labels = {
        f"scene{scene}": {ratio: label(scene, ratio) for ratio in RATIOS} for scene in range(1, 13)
    }
    write_labels(
        tmp_path / "set",
        labels,
        {f"scene{scene}": f"source{scene // 2}" for scene in range(1, 13)},
        seed=3,
    )
    return tmp_path / "set"


def test_lines_follow_scenes_sorted_as_strings(root):
    """scene1, scene10, scene11, scene12, scene2, ...: every shot gets the label that was written
    for it.
    """
    lines = (root / "IRP_label/1.5_metric.txt").read_text().split()
    assert float(lines[1]) == label(10, 1.5) and float(lines[4]) == label(2, 1.5)
    found = find_stacks(root)
    for shot in found.of("all"):
        assert shot.label == label(int(shot.scene.removeprefix("scene")), shot.ratio)
        assert shot.path == root / shot.scene / f"{shot.ratio:g}.png"
    assert len(found.of("all")) == 36 and found.remark == ""


def test_partitions_share_no_source(root):
    found = find_stacks(root)
    sources = {
        name: {int(scene.removeprefix("scene")) // 2 for scene in scenes}
        for name, scenes in found.partitions.items()
    }
    assert all(sources.values()) and sum(map(len, found.partitions.values())) == 12
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not sources[one] & sources[other]
    assert sorted(map(int, (root / "list_index.txt").read_text().split(","))) == list(range(12))


def test_the_published_split(root):
    """Without our splits.json the first 70 % of list_index.txt train; without that, a fixed
    permutation and a remark.
    """
    (root / "splits.json").unlink()
    (root / "list_index.txt").write_text("11,10,9,8,7,6,5,4,3,2,1,0")
    names = sorted(f"scene{number}" for number in range(1, 13))
    found = find_stacks(root)
    assert (
        found.partitions["train"] == tuple(names[::-1][:9])
        and found.partitions["val"] == (names[2],)
        and found.remark == ""
    )
    (root / "list_index.txt").unlink()
    found, again = find_stacks(root), find_stacks(root)
    assert "no list_index.txt" in found.remark and found.partitions == again.partitions
    assert sorted(sum(found.partitions.values(), ())) == names
    assert [irp._counts(count) for count in (500, 4, 1)] == [(350, 50, 100), (2, 1, 1), (1, 0, 0)]


DAMAGES = [
    (lambda root: (root / "scene3/10.png").unlink(), r"scene3 has no 10\.png"),
    (
        lambda root: (root / "IRP_label/10_metric.txt").write_text("0.5\n" * 11),
        "has 11 lines, but there are 12 scenes",
    ),
    (
        lambda root: (root / "IRP_label/1_metric.txt").write_text("0.5\n" * 11 + "good\n"),
        "a line that is no number",
    ),
    (
        lambda root: (root / "IRP_label/1_metric.txt").write_text("0.5\n" * 11 + "nan\n"),
        "not finite",
    ),
    (lambda root: shutil.rmtree(root / "IRP_label"), "no labels in"),
    (lambda root: (root / "splits.json").write_text("{}"), "does not list the scenes"),
    (
        lambda root: (root / "splits.json").write_text(
            json.dumps(dict.fromkeys(irp.PARTITIONS, []))
        ),
        "differ: scene1",
    ),
    (
        lambda root: (
            (root / "splits.json").unlink(),
            (root / "list_index.txt").write_text("0,1,x"),
        ),
        "no list of numbers",
    ),
    (
        lambda root: (
            (root / "splits.json").unlink(),
            (root / "list_index.txt").write_text("0,1,2"),
        ),
        "no permutation of 0 ... 11",
    ),
    (lambda root: [shutil.rmtree(path) for path in root.glob("scene*")], "no exposure stacks in"),
]


@pytest.mark.parametrize(("damage", "sentence"), DAMAGES)
def test_what_is_wrong_is_named(root, damage, sentence):
    damage(root)
    with pytest.raises(UserError, match=sentence):
        find_stacks(root)


def test_shots_without_labels(root):
    """A stack by itself, a folder of stacks, other picture formats; anything else is none."""
    assert [shot.ratio for shot in find_shots(root / "scene2")["scene2"]] == list(RATIOS)
    assert (
        list(find_shots(root))[:3] == ["scene1", "scene2", "scene3"] and len(find_shots(root)) == 12
    )
    (root / "scene1/1.5.png").rename(root / "scene1/night.png")
    assert "scene1" not in find_shots(root) and find_shots(root / "IRP_label") == {}


def test_training_items(root):
    """Depend on (seed, epoch, index) alone, whatever was read before; parts lie inside, flips are
    flips.
    """
    shots = find_stacks(root).of("train")
    one, other = (
        LabelledShots(shots, 1, patch=32, augment=("mirror", "turn")),
        LabelledShots(shots, 1, patch=32, augment=("mirror", "turn")),
    )
    for key in ((0, 3), (1, 3), (0, 3)):
        assert np.array_equal(one[key]["image"], other[key]["image"])
    assert one[0, 3]["image"].shape == (1, 3, 32, 32) and not np.array_equal(
        one[0, 3]["image"], one[1, 3]["image"]
    )
    assert one[0, 3]["label"] == np.float32(shots[3].label) and one[0, 3]["ratio"] == shots[3].ratio
    whole = LabelledShots(shots, 1)
    seen = [whole[epoch, 0]["image"].numpy() for epoch in range(12)]
    both = {image.tobytes() for image in seen}
    assert len(both) == 2 and seen[0][..., ::-1].tobytes() in both
    orders = LabelledShots(shots, 1, augment=("colours",))
    assert len({orders[epoch, 0]["image"].numpy().tobytes() for epoch in range(60)}) == 6
    channels = [
        sorted(image.mean((1, 2)).tolist())
        for image in (orders[0, 0]["image"][0], to_tensor(read_image(shots[0].path)))
    ]
    assert channels[0] == pytest.approx(channels[1])


def test_a_bracket_holds_shots_of_one_scene_with_one_cut(root):
    shots = find_stacks(root).of("train")
    item = LabelledShots(shots, 1, patch=32, bracket=3)[0, 5]
    scene = {shot.ratio: shot for shot in shots if shot.scene == shots[5].scene}
    assert (
        item["image"].shape == (3, 3, 32, 32)
        and len(set(item["ratio"].tolist())) == 3
        and item["ratio"][0] == shots[5].ratio
    )
    assert item["label"].tolist() == [
        np.float32(scene[float(f"{ratio:g}")].label) for ratio in item["ratio"]
    ]
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
    light, sensor = np.full((200, 200, 3), 0.2, np.float32), Sensor(5000.0, 2.0)
    for ratio in (1.0, 5.0, 20.0):
        stored = sense(light, ratio, sensor, np.random.default_rng(0))
        assert STANDARD.linear(stored).mean() == pytest.approx(0.2 / ratio, rel=0.02)
        bright = brightened(stored, ratio)
        assert bright.mean() == pytest.approx(float(STANDARD.encoded(light).mean()), abs=0.01)
        assert bright.std() == pytest.approx(encoded_noise(sensor, ratio, 0.2), rel=0.15)


def test_shorter_exposures_are_the_middle_of_the_path():
    path = np.stack((np.linspace(-10, 10, 101), np.zeros(101)), 1)
    assert np.abs(part_of_path(path, 5)[:, 0]).max() == pytest.approx(2, abs=0.05)
    picture = np.kron(
        np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8),
        np.ones((4, 4, 1), np.uint8),
    )
    masks = np.zeros((0, 96, 96), bool)
    sharp = STANDARD.linear(picture)[16:-16, 16:-16]
    errors = [
        np.abs(expose_picture(picture, masks, [path], ratio, 33).blurred_linear - sharp).mean()
        for ratio in (1.0, 2.0, 5.0, 75.0)
    ]
    assert errors == sorted(errors, reverse=True) and errors[0] > 5 * errors[-1]


def test_known_kernels_blur_as_the_exposure_did():
    """Of a picture exactly; of a video nearly: blurring its sharp middle with the kernels explains
    most of the blur.
    """
    from scipy.ndimage import correlate

    path = np.stack((np.linspace(-6, 6, 51), np.linspace(-2, 2, 51)), 1)
    picture = np.kron(
        np.random.default_rng(1).integers(0, 256, (20, 20, 3), dtype=np.uint8),
        np.ones((4, 4, 1), np.uint8),
    )
    exposure = expose_picture(picture, np.zeros((0, 80, 80), bool), [path], 1.0, 17)
    light = STANDARD.linear(picture)
    again = np.stack(
        [
            correlate(light[..., channel], exposure.kernels[0], mode="constant")
            for channel in range(3)
        ],
        -1,
    )[8:-8, 8:-8]
    assert np.abs(again - exposure.blurred_linear).max() < 1e-4
    frames = [np.float32(picture[10:70, 10 + step : 70 + step]) / 255 for step in (-2, -1, 0, 1, 2)]
    exposure = expose_video(frames, 3.0, 1.0, 17)
    light = STANDARD.linear(frames[2])
    again = sum(
        weight[..., None]
        * np.stack(
            [correlate(light[..., channel], kernel, mode="nearest") for channel in range(3)], -1
        )
        for kernel, weight in zip(exposure.kernels, exposure.weights)
    )
    blur = np.abs(exposure.blurred_linear - light)[8:-8, 8:-8].mean()
    assert np.abs(exposure.blurred_linear - again)[8:-8, 8:-8].mean() < 0.5 * blur
    assert np.allclose(exposure.weights.sum(0), 1, atol=1e-5)


def test_facts_are_what_the_generator_knows(root):
    """Light and length of the blur from the records, detail from the sharp picture; unknown blur is
    NaN; without records none.
    """
    shots = find_stacks(root).of("all")
    assert read_knowledge(root, shots) is None
    rows = [{"ratio": ratio, "input_psnr": 20 + ratio, "input_ssim": 0.5} for ratio in RATIOS]
    for scene in {shot.scene for shot in shots}:
        record = {"photons": 1000.0, "shots": rows} | (
            {} if scene == "scene2" else {"extent_px": [8.0, 20.0]}
        )
        write_text(root / "records" / f"{scene}.json", json.dumps(record))
        write_image(
            root / "sharp" / f"{scene}.png",
            read_image(root / "scene1/1.png") // (2 if scene == "scene3" else 1),
        )
    known = read_knowledge(root, shots)
    facts = dict(zip(((shot.scene, shot.ratio) for shot in shots), known.facts))
    assert facts["scene1", 10.0][:2] == pytest.approx([np.log(100), np.log(0.8 + 0.5)])
    assert np.isnan(facts["scene2", 1.0][1]) and facts["scene2", 1.0][0] == pytest.approx(
        np.log(1000)
    )
    assert facts["scene1", 1.0][2:] == pytest.approx(
        facts["scene3", 1.0][2:] + np.log(2), abs=0.05
    )  # half the contrast
    item = LabelledShots(shots, 1, patch=32, known=known)[0, 0]
    assert np.array_equal(item["facts"][0], facts[shots[0].scene, shots[0].ratio])
    assert item["circumstances"][0, [0, 1, 6, 7]] == pytest.approx([0, np.log(1000), 2.1, 0.5])
    assert np.array_equal(item["circumstances"][0, 2:6], item["facts"][0, 2:])


def test_fresh_shots_are_exposed_anew_every_epoch(tmp_path):
    """From the same picture another shot every time, but always the same for one (seed, epoch,
    index); what is known of it is true.
    """
    coarse = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", np.kron(coarse, np.ones((4, 4, 1), np.uint8)))
    fresh = FreshShots(
        [("a", tmp_path / "a.png")],
        find_masks(None),
        SceneDraw(still=0.0, photons=(900.0, 1000.0)),
        48,
        seed=4,
    )
    items = [fresh[epoch, 0] for epoch in range(12)]
    again = FreshShots(fresh.pictures, fresh.masks, fresh.draw, 48, seed=4)[3, 0]
    for name, value in again.items():
        assert np.array_equal(value, items[3][name], equal_nan=name == "label"), name
    assert len({item["image"].numpy().tobytes() for item in items}) == 12
    for item in items:
        light, ratio = item["facts"][0, 0], item["ratio"][0]
        assert item["image"].shape == (1, 3, 48, 48) and np.isnan(item["label"])
        assert np.log(900) <= light + np.log(ratio) <= np.log(1000)
        assert item["circumstances"][0, :2] == pytest.approx([np.log(ratio), light])
    bracket = FreshShots(fresh.pictures, fresh.masks, fresh.draw, 48, seed=4, bracket=4)[3, 0]
    assert bracket["image"].shape == (4, 3, 48, 48) and len(set(bracket["ratio"].tolist())) == 4
    lights = bracket["facts"][:, 0] + np.log(bracket["ratio"])
    assert (
        np.ptp(lights) < 1e-5 and np.ptp(bracket["facts"][:, 2:], axis=0).max() == 0
    )  # one sensor, one sharp picture
    brightness = [(item["image"].mean() ** 2.2 * item["ratio"][0]).item() for item in items]
    assert max(brightness) < 4 * min(brightness)  # stored `ratio` times too dark


def test_masks_turn_with_a_picture():
    """The object stays under its mask; there are eight ways."""
    picture, mask = np.full((40, 50, 3), 10, np.uint8), np.zeros((1, 40, 50), bool)
    mask[0, 3:9, 5:20] = True
    picture[mask[0]] = 200
    ways = set()
    for seed in range(60):
        turned_picture, masks = turned(picture, mask, np.random.default_rng(seed))
        assert np.array_equal(turned_picture[..., 0] == 200, masks[0])
        ways.add(masks.tobytes())
    assert len(ways) == 8
    assert turned(picture, mask[:0], np.random.default_rng(0))[1].shape[0] == 0
