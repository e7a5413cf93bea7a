"""generate.py sbdd: pairs, clips, sequences and kernels."""

import json
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from scipy.io import loadmat

from data.catalog import find_videos
from data.shards import ShardedPairs
from data.synthesis.kernels import load_kernels
from data.synthesis.masks import find_masks
from data.synthesis.pair import PairSettings
from data.synthesised import Draw, PairMaker, SynthesisedPairs
from methods.sbdd import generate
from methods.sbdd.config import GenerateConfig
from methods.sbdd.pairs import pair_maker
from tests.utils.test_scenes import shot
from tests.utils.test_video import make_file
from utils.config import ROOT
from utils.errors import UserError
from utils.image import read_image, write_image


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        scene = cv2.resize(
            rng.integers(0, 256, (12, 16, 3), dtype=np.uint8),
            (120, 90),
            interpolation=cv2.INTER_CUBIC,
        )
        write_image(tmp_path / "in" / f"{name}.png", scene)
    return GenerateConfig(
        tmp_path / "in", tmp_path / "out", what="clips", frames=4, blur=[6.0], height=48, width=64
    )


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*.png")
        if path.parent != folder
    }


def test_clips_of_pictures_are_a_data_set(pictures):
    generate.main(pictures)
    found = find_videos(pictures.output_dir, need_sharp=True)
    assert found.layout == "clips" and [video.name for video in found.videos] == ["one", "two"]
    assert all(len(video.blurry) == 4 for video in found.videos)
    blurry, sharp = (
        read_image(paths[1]).astype(float)
        for paths in (found.videos[0].blurry, found.videos[0].sharp)
    )
    assert blurry.shape == (48, 64, 3)
    assert np.abs(np.diff(blurry, axis=1)).sum() < np.abs(np.diff(sharp, axis=1)).sum()
    assert (pictures.output_dir / "contact_sheet.jpg").is_file()


def test_a_clip_depends_on_seed_and_name_alone(pictures, tmp_path):
    generate.main(pictures)
    before = contents(pictures.output_dir)
    for path in (pictures.output_dir / "blur" / "two").iterdir():
        path.unlink()
    (pictures.output_dir / "blur" / "two").rmdir()  # as after a stop
    (pictures.data_path / "one.png").unlink()
    generate.main(pictures)
    assert contents(pictures.output_dir) == before


def test_exposures_over_a_video(tmp_path):
    make_file(tmp_path / "in.mp4", [index * 40 for index in range(12)])
    config = GenerateConfig(tmp_path / "in.mp4", tmp_path / "out", "clips", "videos")
    generate.main(replace(config, exposure=3.0, stride=2, interpolate=False))
    (video,) = find_videos(tmp_path / "out").videos
    assert video.frames == ["00001", "00003", "00005", "00007", "00009"]  # the middle frames
    blurry, sharp = (read_image(paths[2]).mean() for paths in (video.blurry, video.sharp))
    assert blurry == pytest.approx(sharp, abs=1)  # brightness rises evenly from frame to frame
    generate.main(replace(config, output_dir=tmp_path / "smooth", exposure=1.0))
    (video,) = find_videos(tmp_path / "smooth").videos
    assert video.frames == [f"{index:05d}" for index in range(1, 11)]


def test_no_exposure_goes_over_a_cut(tmp_path):
    for index, pixels in enumerate([*shot(1, 5), *shot(2, 2), *shot(3, 4)]):
        write_image(tmp_path / f"in/cut/{index:02d}.png", pixels)
    config = GenerateConfig(tmp_path / "in", tmp_path / "out", "clips", "videos")
    generate.main(replace(config, exposure=3.0, stride=1, interpolate=False))
    (video,) = find_videos(tmp_path / "out").videos
    assert video.frames == ["00001", "00002", "00003", "00008", "00009"]


def test_mistakes_are_sentences(pictures, tmp_path):
    for changes, message in (
        ({"exposure": 1.5}, "at most 1 frame interval, got 1.5"),
        ({"exposure": 0.0}, "must be positive"),
        ({"width": 500}, "one.png is 120x90, smaller than the window of 500x48 px"),
        ({"data_path": tmp_path / "none"}, "no folder at"),
        ({"what": "pairs", "kernel_size": 20}, "kernels have an odd side"),
        ({"what": "pairs", "strong": 0.8, "mild": 0.3}, "together at most 1"),
        (
            {"what": "pairs", "kernel_length": 70.0},
            "--kernel_length 70 must be above 0 and at most --kernel_size 65 less 3",
        ),
        ({"what": "pairs"}, "all 2 pictures have a side of at most 400 px"),
        ({"source": "videos", "exposure": 1.0, "interpolate": False}, "averages 3, 5, 7"),
        (
            {"source": "videos", "exposure": 8.0, "interpolate": False},
            "--exposure 8: --no_interpolate averages 3, 5, 7",
        ),
    ):
        with pytest.raises(UserError, match=message):
            generate.main(replace(pictures, output_dir=tmp_path / "bad" / message[:9], **changes))
    make_file(tmp_path / "short.mp4", [0, 40])
    config = GenerateConfig(
        tmp_path / "short.mp4", tmp_path / "out", "clips", "videos", exposure=3.0
    )
    with pytest.raises(
        UserError, match="video short is too short: an exposure of 3 intervals needs 5 frames"
    ):
        generate.main(config)
    assert not (tmp_path / "out" / "blur" / "short").exists()


@pytest.fixture
def pairs(pictures, tmp_path):
    mask = np.zeros((90, 120), np.uint8)
    mask[30:60, 40:80] = 255
    for name in ("one", "two"):
        (tmp_path / "masks" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "masks" / name / "0.png"), mask)
    return replace(
        pictures,
        what="pairs",
        mask_path=tmp_path / "masks",
        kernel_size=21,
        min_img_size=50,
        min_object_area=100,
        n_images=2,
    )


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent != folder
    }


def test_pairs_with_objects(pairs):
    generate.main(pairs)
    out = pairs.output_dir
    keys = ["one_0", "one_1", "two_0", "two_1"]
    expected = set()
    for key in keys:
        expected |= {f"blurry/{key}.png", f"sharp/{key}.png", f"records/{key}.json"}
    assert set(files_of(out)) == expected
    blurry, sharp = (
        read_image(out / kind / "one_0.png").astype(int) for kind in ("blurry", "sharp")
    )
    assert blurry.shape == sharp.shape == (70, 100, 3)
    assert np.array_equal(sharp, read_image(pairs.data_path / "one.png")[10:-10, 10:-10])
    record = json.loads((out / "records/one_0.json").read_text())
    assert record["objects"] == 1 and len(record["kernels"]) == 2 and record["number"] == 0
    assert not np.array_equal(blurry, read_image(out / "blurry/one_1.png"))
    assert (out / "contact_sheet.jpg").is_file()
    assert "kernel_size: 21" in (out / "config.yaml").read_text()


@pytest.mark.parametrize("what", ["pairs", "clips"])
def test_pictures_whose_results_would_have_one_name_are_refused(pictures, what):
    for name in ("a/b", "a_b"):
        write_image(pictures.data_path / f"{name}.png", np.zeros((90, 120, 3), np.uint8))
    config = replace(pictures, what=what, kernel_size=9, min_img_size=0)
    with pytest.raises(UserError, match="one name: a/b and a_b; rename one"):
        generate.main(config)
    assert not contents(pictures.output_dir)


def test_a_pair_depends_on_seed_and_name_alone(pairs, tmp_path):
    generate.main(pairs)
    before = files_of(pairs.output_dir)
    for key in ("two_0", "one_1"):  # as after a stop
        (pairs.output_dir / "blurry" / f"{key}.png").unlink()
    kept = pairs.output_dir / "blurry/one_0.png"
    written = kept.stat().st_mtime_ns
    generate.main(pairs)
    assert files_of(pairs.output_dir) == before
    assert kept.stat().st_mtime_ns == written
    alone = replace(pairs, output_dir=tmp_path / "alone", only="two_1")
    generate.main(alone)
    assert files_of(alone.output_dir) == {
        name: content for name, content in before.items() if "two_1" in name
    }
    with pytest.raises(
        UserError, match="--only three_0: the pairs here are called one_0, one_1, two_0"
    ):
        generate.main(replace(alone, only="three_0"))
    with pytest.raises(
        UserError, match="was made with other options .seed.: choose another --output_dir"
    ):
        generate.main(replace(pairs, seed=2))
    with pytest.raises(UserError, match="would become material.* choose another --output_dir"):
        generate.main(replace(pairs, output_dir=pairs.data_path / "pairs"))


def test_shards_hold_the_same_pairs_and_are_read_back(pairs, tmp_path):
    generate.main(pairs)
    shards = replace(pairs, output_dir=tmp_path / "shards", shards=3)
    generate.main(shards)
    tars = sorted(shards.output_dir.glob("*.tar"))
    assert [tar.name for tar in tars] == ["pairs-00000.tar", "pairs-00001.tar"]
    loaded = ShardedPairs(shards.output_dir, None, seed=0)
    assert len(loaded) == 4
    for index, key in enumerate(("one_0", "one_1", "two_0", "two_1")):
        item = loaded[0, index]
        assert item["name"] == key
        for kind in ("blurry", "sharp"):
            pixels = (item[kind] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            assert np.array_equal(pixels, read_image(pairs.output_dir / kind / f"{key}.png"))
    with tarfile.open(tars[0]) as tar:
        records = [tar.extractfile(name) for name in tar.getnames() if name.endswith(".json")]
        assert [json.load(record)["name"] for record in records] == ["one", "one", "two"]
    content = tars[0].read_bytes()
    tars[0].unlink()
    generate.main(shards)
    assert tars[0].read_bytes() == content
    patch = ShardedPairs(shards.output_dir, 32, seed=0)
    assert patch[0, 1]["blurry"].shape == (3, 32, 32)
    assert torch.equal(patch[5, 1]["sharp"], patch[5, 1]["sharp"])
    tars[1].write_bytes(tars[1].read_bytes()[:1500])
    with pytest.raises(UserError, match="pairs-00001.tar"):
        ShardedPairs(shards.output_dir, None, seed=0)
    with pytest.raises(UserError, match="no shards"):
        ShardedPairs(tmp_path / "in", None, seed=0)


def test_killed_and_resumed_nothing_is_missing_double_or_half(pairs, tmp_path):
    many = replace(pairs, n_images=40)
    generate.main(many)
    words = [
        "sbdd",
        "--config",
        many.output_dir / "config.yaml",
        "--output_dir",
        tmp_path / "killed",
    ]
    with subprocess.Popen(
        [sys.executable, "generate.py", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while len(list((tmp_path / "killed" / "blurry").glob("[!.]*.png"))) < 5:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert 5 <= len(list((tmp_path / "killed" / "blurry").glob("[!.]*.png"))) < 80
    generate.main(replace(many, output_dir=tmp_path / "killed"))
    finished = {
        name: content for name, content in files_of(tmp_path / "killed").items() if "/." not in name
    }
    assert finished == files_of(many.output_dir)


def test_kernels_are_published_files(pictures, tmp_path):
    config = replace(
        pictures, what="kernels", kernels=12, kernel_size=31, output_dir=tmp_path / "kernels"
    )
    generate.main(config)
    assert len(list(config.output_dir.glob("*.mat"))) == 12
    assert loadmat(config.output_dir / "kernel00007.mat")["K"].shape == (31, 31)
    assert len(load_kernels(config.output_dir, 65)) == 12
    path = config.output_dir / "kernel00003.mat"
    before = path.read_bytes()[128:]  # behind the date
    path.unlink()
    generate.main(config)
    assert path.read_bytes()[128:] == before


def test_kernels_of_one_length(pairs, tmp_path):
    """The longer side of what is not black is the length, or a pixel more.

    Of every kind of kernel, alone and in pairs.
    """
    config = replace(
        pairs,
        what="kernels",
        kernels=9,
        kernel_size=31,
        kernel_length=12.0,
        output_dir=tmp_path / "kernels",
    )
    generate.main(config)
    made = [
        pair_maker(replace(pairs, kernel_length=12.0)).make("one", number).kernels
        for number in range(3)
    ]
    for kernel in (*load_kernels(config.output_dir, 31).values(), *np.concatenate(made)):
        rows, columns = np.nonzero(kernel > 1e-6)
        assert max(np.ptp(rows), np.ptp(columns)) in (12, 13)


def test_sequences_are_hypercuts_folder(pairs, tmp_path):
    config = replace(
        pairs, what="sequences", exposure=1.0, blur=[10.0], output_dir=tmp_path / "sequences"
    )
    generate.main(config)
    metadata = json.loads((config.output_dir / "metadata.json").read_text())
    assert metadata["name"] == "sequences" and metadata["frame_per_seq"] == 7
    assert len(metadata["data"]) == 4
    entry = metadata["data"][0]
    assert entry["id"] == "one_0" and entry["order"] == "ignore"
    assert entry["partition"] in ("train", "val", "test")
    frames = [
        read_image(config.output_dir / entry[f"frame{number:03d}_path"]).astype(float)
        for number in range(1, 8)
    ]
    blurry = read_image(config.output_dir / entry["blur_path"]).astype(float)
    mean = 255 * np.mean([(frame / 255) ** 2.2 for frame in frames], axis=0) ** (1 / 2.2)
    # The exposure is that of its sharp frames.
    assert np.abs(blurry - mean).mean() < 1.5 < np.abs(blurry - frames[3]).mean()
    steps = [np.abs(one - two).mean() for one, two in zip(frames, frames[1:])]
    assert np.abs(frames[0] - frames[6]).mean() > max(steps)  # in order


def test_the_source_is_seen(pictures, tmp_path):
    (tmp_path / "videos").mkdir()
    make_file(tmp_path / "videos" / "in.mp4", [index * 40 for index in range(9)])
    generate.main(replace(pictures, data_path=tmp_path / "videos", output_dir=tmp_path / "a"))
    config = (tmp_path / "a/config.yaml").read_text()
    assert "source: videos" in config and "exposure: 3.0" in config
    for frame in range(6):
        write_image(
            tmp_path / f"folders/walk/{frame:05d}.png", np.full((48, 64, 3), 40 * frame, np.uint8)
        )
    generate.main(replace(pictures, data_path=tmp_path / "folders", output_dir=tmp_path / "b"))
    assert find_videos(tmp_path / "b").videos[0].frames == ["00002"]
    generate.main(replace(pictures, output_dir=tmp_path / "c"))
    assert "source: pictures" in (tmp_path / "c/config.yaml").read_text()


def test_sequences_of_a_video(tmp_path):
    make_file(tmp_path / "in.mp4", [index * 40 for index in range(24)])
    config = GenerateConfig(tmp_path / "in.mp4", tmp_path / "out", "sequences", "videos")
    generate.main(config)
    entries = json.loads((tmp_path / "out/metadata.json").read_text())["data"]
    assert [entry["id"] for entry in entries] == ["in_00004", "in_00011", "in_00018"]
    assert len({entry["partition"] for entry in entries}) == 1  # one source, one partition
    means = [
        read_image(tmp_path / "out" / entries[1][f"frame{number:03d}_path"]).mean()
        for number in range(1, 8)
    ]
    assert np.allclose(np.diff(means), 4, atol=1)  # seven frames in a row
    assert read_image(tmp_path / "out" / entries[1]["blur_path"]).mean() == pytest.approx(
        means[3], abs=1.5
    )


def test_pairs_made_while_training_are_those_of_the_files(pairs):
    """A patch as large as the picture allows is the pair of the file.

    The physics is the same where the random numbers are the same.
    """
    maker = pair_maker(replace(pairs, mask_path=None))
    made = maker.make("one", 0)
    rng = np.random.default_rng((1, 5))
    picture = read_image(pairs.data_path / "one.png")
    patch = maker.patch(rng, "one", 40)
    top, left = np.random.default_rng((1, 5)).integers([90 - 60 + 1, 120 - 60 + 1])
    window = picture[top + 10 : top + 50, left + 10 : left + 50]
    assert np.abs(patch.pair.sharp * 255 - window).max() < 0.01
    again = maker._make(np.random.default_rng(9), picture, np.zeros((0, 90, 120), bool))
    whole = maker._make(np.random.default_rng(9), picture[:60, :60], np.zeros((0, 60, 60), bool))
    assert np.abs(again.pair.blurry[:40, :40] - whole.pair.blurry).max() < 1e-5
    assert made.pair.blurry.shape == (70, 100, 3)


def test_fractions_of_strong_mild_and_no_blur(pairs):
    maker = pair_maker(replace(pairs, strong=0.3, mild=0.4))
    dataset = SynthesisedPairs(maker, 40)
    assert torch.equal(dataset[3, 1]["blurry"], SynthesisedPairs(maker, 40)[3, 1]["blurry"])
    kinds = [
        maker.patch(np.random.default_rng(seed), "one", 40).record["kernels"][0]
        for seed in range(200)
    ]
    assert 0.2 < kinds.count("none") / 200 < 0.4 and 0.3 < kinds.count("mild") / 200 < 0.5
    item = dataset[0, 0]
    assert item["name"] == "one" and item["blurry"].shape == (3, 40, 40)
    assert item["blurry"].min() >= 0 and item["blurry"].max() <= 1
    stored = PairMaker(
        maker.pictures["one"].parent,
        find_masks(None),
        Draw(size=21, srgb_fraction=0.5),
        PairSettings(),
        seed=1,
    )
    kinds = [
        stored.patch(np.random.default_rng(seed), "one", 40).record["settings"]["response"]["kind"]
        for seed in range(60)
    ]
    assert 15 < kinds.count("none") < 45 and kinds.count("none") + kinds.count("gamma") == 60
    with pytest.raises(UserError, match="a patch of 90 px needs 110 px"):
        maker.patch(np.random.default_rng(0), "one", 90)


def test_zoomed_patches_show_a_part_enlarged(tmp_path):
    """The window of a patch is that many times smaller, its objects with it.

    A picture too small for the patch is enlarged as needed.
    """
    row = np.arange(120, dtype=np.uint8)  # one grey level per pixel
    ramp = np.repeat(row[None, :, None], 110, 0).repeat(3, 2)
    write_image(tmp_path / "ramp.png", ramp)
    maker = PairMaker(tmp_path, find_masks(None), Draw(size=21, strong=0), PairSettings(), seed=1)
    for zoom, wanted in (((1.0, 1.0), 1.0), ((2.0, 2.0), 0.5), ((0.5, 0.5), 1.0 / (60 / 110))):
        sharp = maker.patch(np.random.default_rng(0), "ramp", 40, zoom).pair.sharp * 255
        step = np.diff(sharp[:, 5:-5, 0], axis=1).mean()
        assert sharp.shape == (40, 40, 3) and step == pytest.approx(wanted, rel=0.05), zoom
    assert maker.patch(np.random.default_rng(0), "ramp", 100, (0.5, 1.1)).pair.sharp.shape == (
        100,
        100,
        3,
    )
