"""HyperCUT's folder: what is read, kept and refused; boxes; one draw for all eight pictures."""

import json
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from data.blur2vid import (
    SequencePatches,
    WholeSequences,
    around_box,
    jittered,
    read_pictures,
    whole_sequence,
)
from data.sequences import (
    collect_metadata,
    find_sequences,
    read_box,
    write_metadata,
    write_sequence,
)
from utils.errors import UserError
from utils.image import write_image


@pytest.fixture
def folder(tmp_path):
    """Three sequences of 40x48 px, one per partition; frame k has the value k/10 in its corner."""
    root = tmp_path / "set"
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        picture = rng.random((40, 48, 3))
        frames = [picture.copy() for _ in range(7)]
        for number, frame in enumerate(frames, 1):
            frame[0, 0] = number / 10
        write_sequence(root, name, np.mean(frames, 0), frames)
    collect_metadata(root, {"a": "train", "b": "val", "c": "test"})
    return root


def corners(frames):
    return [round(float(frame[0, 0, 0]) * 10) for frame in frames]


def edited(folder, change):
    content = json.loads((folder / "metadata.json").read_text())
    change(content)
    (folder / "metadata.json").write_text(json.dumps(content))
    return folder


def test_partitions_and_orders(folder):
    def change(content):
        for entry, order in zip(content["data"], ("reverse", "keep", "random")):
            entry["order"] = order

    found = find_sequences(edited(folder, change))
    assert [sequence.id for sequence in found.of("all")] == ["a", "b", "c"]
    assert found.of("val")[0].id == "b"
    assert corners(whole_sequence(found.of("train")[0])[1]) == [7, 6, 5, 4, 3, 2, 1]
    assert corners(whole_sequence(found.of("train")[0], stored=True)[1]) == [1, 2, 3, 4, 5, 6, 7]
    assert corners(whole_sequence(found.of("val")[0])[1]) == [1, 2, 3, 4, 5, 6, 7]
    random = found.of("test")[0]
    assert torch.equal(whole_sequence(random)[1], whole_sequence(random)[1])  # by its name
    drawn = {read_pictures(random, np.random.default_rng(seed))[1][0, 0, 0] for seed in range(20)}
    assert len(drawn) == 2


def test_every_key_of_an_entry_is_kept(folder, tmp_path):
    def change(content):
        content["data"][0].update(note="mine", fps=240)
        content["licence"] = "none"

    found = find_sequences(edited(folder, change))
    write_metadata(
        tmp_path / "elsewhere/new.json",
        found.name,
        (sequence.entry for sequence in found.sequences),
        found.others,
    )
    again = find_sequences(folder, metadata=tmp_path / "elsewhere/new.json")
    entries = json.loads((folder / "metadata.json").read_text())["data"]
    assert [sequence.entry for sequence in again.sequences] == entries
    content = json.loads((tmp_path / "elsewhere/new.json").read_text())
    assert (content["name"], content["licence"]) == ("set", "none")


def test_a_metadata_file_may_lie_anywhere(folder, tmp_path, monkeypatch):
    import data.sequences

    monkeypatch.setattr(data.sequences, "ROOT", tmp_path)
    (tmp_path / "dataset").mkdir()
    folder.rename(tmp_path / "dataset/set")
    (tmp_path / "dataset/set/metadata.json").rename(tmp_path / "order.json")
    by_its_name = find_sequences(tmp_path / "order.json")
    named = find_sequences(None, "set", tmp_path / "order.json")
    (tmp_path / "empty").mkdir()
    elsewhere = find_sequences(tmp_path / "empty", metadata=tmp_path / "order.json")
    for found in (by_its_name, named, elsewhere):
        assert found.folder == tmp_path / "dataset/set"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"order": "backwards"}, "entry b: unknown order 'backwards'"),
        ({"partition": "valid"}, "unknown partition 'valid', did you mean val"),
        ({"frame008_path": "b/sharp/0000_8.png"}, "more than 7 frames"),
        ({"frame003_path": "b/sharp/gone.png"}, "names 1 files .of 24 pictures. .*gone.png"),
        ({"frame003_path": None}, "frame003_path is None"),
        ({"bbox": 3}, "bbox is 3"),
        ({"id": "../elsewhere"}, "no name for a folder"),
        ({"id": "/tmp/elsewhere"}, "no name for a folder"),
        ({"id": None}, "no name for a folder"),
        ({"id": "a"}, "several entries with the id a"),
    ],
)
def test_entries_that_make_no_sense(folder, change, sentence):
    with pytest.raises(UserError, match=sentence):
        find_sequences(edited(folder, lambda content: content["data"][1].update(change)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"frame_per_seq": 9}, "sequences of 9 frames"),
        ({"name": 5}, "name is 5, not text"),
        ({"data": []}, "data is a list of 0, not a list of at least 1 items"),
    ],
)
def test_metadata_that_makes_no_sense(folder, change, sentence):
    with pytest.raises(UserError, match=sentence):
        find_sequences(edited(folder, lambda content: content.update(change)))


def test_missing_keys_are_named(folder):
    with pytest.raises(UserError, match="entry b: frame007_path is missing"):
        find_sequences(edited(folder, lambda content: content["data"][1].pop("frame007_path")))
    with pytest.raises(UserError, match="not a mapping with data"):
        find_sequences(edited(folder, lambda content: content.pop("data")))


def test_what_is_missing_is_said(folder, tmp_path):
    with pytest.raises(UserError, match="no folder"):
        find_sequences(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no metadata at"):
        find_sequences(tmp_path / "empty")
    edited(folder, lambda content: content["data"][0].update(partition="val"))
    message = "no sequences of the partition train .it has train 0, test 1, val 2"
    with pytest.raises(UserError, match=message):
        find_sequences(folder).of("train")
    (folder / "metadata.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="metadata.json can't be read as JSON"):
        find_sequences(folder)
    (folder / "metadata.json").write_text("{")
    with pytest.raises(UserError, match="metadata.json can't be read as JSON"):
        find_sequences(folder)


def test_three_sources_fill_three_partitions(folder):
    for names in (("a", "b", "c"), ("x_1", "x_2", "y", "z")):
        for old, new in zip(sorted(path.name for path in folder.iterdir() if path.is_dir()), names):
            (folder / old).rename(folder / new)
        if len(names) == 4:
            write_sequence(folder, "z", np.zeros((40, 48, 3)), [np.zeros((40, 48, 3))] * 7)
        collect_metadata(folder)
        found = find_sequences(folder)
        assert {sequence.partition for sequence in found.sequences} == {"train", "val", "test"}
    of_x = [sequence for sequence in found.sequences if sequence.id.startswith("x_")]
    assert len({sequence.partition for sequence in of_x}) == 1


def test_boxed_and_unboxed_do_not_fit_into_one_batch(folder):
    (folder / "box.pkl").write_bytes(pickle.dumps({"bbox": [10, 10, 30, 30]}))
    edited(folder, lambda content: content["data"][0].update(bbox="box.pkl"))
    found = find_sequences(folder).of("all")
    with pytest.raises(UserError, match="1 of 3 sequences have a box"):
        SequencePatches(found, 32, 1, [])
    assert len(SequencePatches(found, 192, 1, [])) == 3


def test_a_loaders_worker_hands_over_the_sentence(folder):
    (folder / "a/sharp/0000_3.png").write_bytes(b"no picture")
    loader = DataLoader(
        WholeSequences(find_sequences(folder).of("train")), batch_size=None, num_workers=1
    )
    with pytest.raises(UserError, match=r"^\S*0000_3.png is not an image [\w ]*\([\w, ]*\)$"):
        list(loader)


def test_frames_of_another_size_are_named(folder):
    write_image(folder / "a/sharp/0000_5.png", np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(UserError, match="48x40, but its sharp frame .*0000_5.png 40x40"):
        whole_sequence(find_sequences(folder).of("train")[0])


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_boxes_are_read_without_executing_anything(tmp_path, capsys):
    for name, box in (
        ("list", [1, 2.5, 30, 40]),
        ("scored", np.array([1, 2.5, 30, 40, 0.9])),
        ("nested", np.float32([[1, 2.5, 30, 40]])),
    ):
        (tmp_path / name).write_bytes(pickle.dumps({"bbox": box, "other": np.float64(3)}))
        assert read_box(tmp_path / name).tolist() == [1, 2.5, 30, 40]
    for name, content, sentence in (
        ("evil", {"bbox": Evil()}, "builtins.print, which could run code"),
        ("keys", {"box": [1, 2, 3, 4]}, "can't be read as a box"),
        ("empty", {"bbox": [5, 2, 5, 4]}, "is not x_min"),
        ("short", {"bbox": [5, 2, 5]}, "is not x_min"),
    ):
        (tmp_path / name).write_bytes(pickle.dumps(content))
        with pytest.raises(UserError, match=sentence):
            read_box(tmp_path / name)
    (tmp_path / "cut").write_bytes(pickle.dumps({"bbox": list(range(100))})[:40])
    with pytest.raises(UserError, match="can't be read as a box"):
        read_box(tmp_path / "cut")
    assert "executed" not in capsys.readouterr().out


def test_the_crop_around_a_box_by_hand():
    """Box (10, 20, 30, 40) of 48x60: half the way to the border is 5, 10, 39, 50.

    Corners are truncated.
    """
    picture = np.arange(60 * 48, dtype=np.float32).reshape(60, 48, 1).repeat(3, 2)
    (crop,) = around_box([picture], np.array([10, 20, 30, 40.0]), 0.5, (40, 34))
    assert np.array_equal(crop, picture[10:50, 5:39])
    (crop,) = around_box([picture], np.array([10.9, 20.9, 30.9, 40.9]), 0.0, (20, 20))
    assert np.array_equal(crop, picture[20:40, 10:30])


def test_a_box_is_one_draw_for_all_eight_and_fixed_in_tests(folder):
    (folder / "box.pkl").write_bytes(pickle.dumps({"bbox": [10, 10, 30, 30, 0.5]}))
    edited(folder, lambda content: content["data"][0].update(bbox="box.pkl"))
    found = find_sequences(folder)
    for number in (2, 3):  # three frames alike
        source = (folder / "a/sharp/0000_1.png").read_bytes()
        (folder / f"a/sharp/0000_{number}.png").write_bytes(source)
    blurry, frames = whole_sequence(found.of("train")[0])
    assert blurry.shape == (3, 192, 160)
    assert torch.equal(frames[0], frames[1])
    assert torch.equal(whole_sequence(found.of("train")[0])[1], frames)
    patches = SequencePatches(found.of("train"), 32, 1, ["affine", "jitter", "noise"])
    items = [patches[epoch, 0] for epoch in range(6)]
    assert all(item["frames"].shape == (7, 3, 192, 192) for item in items)
    assert all(torch.equal(item["frames"][0], item["frames"][2]) for item in items)
    assert not torch.equal(items[0]["frames"], items[1]["frames"])


def test_one_draw_for_all_eight(tmp_path):
    """Eight equal pictures stay equal; an item depends on (seed, epoch, index) alone."""
    picture = np.random.default_rng(0).random((48, 56, 3))
    write_sequence(tmp_path, "a", picture, [picture] * 7)
    collect_metadata(tmp_path, {"a": "train"})
    found = find_sequences(tmp_path).of("train")
    patches = SequencePatches(found, 32, 1, ["affine", "jitter", "noise", "turn"])
    seen = [patches[epoch, 0] for epoch in range(12)]
    for item in seen:
        assert item["blurry"].shape == (3, 32, 32)
        assert 0 <= item["frames"].min() <= item["frames"].max() <= 1
        assert all(torch.equal(item["blurry"], frame) for frame in item["frames"])
    assert torch.equal(patches[3, 0]["blurry"], seen[3]["blurry"])
    assert len({float(item["blurry"].sum()) for item in seen}) == 12
    plain = SequencePatches(found, 32, 1, [])[0, 0]["blurry"]
    whole = torch.from_numpy(np.round(picture * 255) / 255).permute(2, 0, 1).float()
    windows = whole.unfold(1, 32, 1).unfold(2, 32, 1)  # [3,17,25,32,32]
    differences = (windows - plain[:, None, None]).abs().amax((0, 3, 4))  # [17,25]
    assert differences.min() < 1e-6  # a window of the picture, unchanged


def test_patches_larger_than_the_picture_are_refused(folder):
    with pytest.raises(UserError, match="48x40: lower --image_size 64"):
        SequencePatches(find_sequences(folder).of("train"), 64, 1, [])[0, 0]


def test_jitter_keeps_differences_between_frames():
    images = torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    images[1] = images[0]
    changed = jittered(images, np.random.default_rng(0))
    assert torch.equal(changed[0], changed[1])
    assert not torch.allclose(changed[0], changed[2], atol=1e-3)
