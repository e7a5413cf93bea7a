"""The irp commands: stacks that repeat and resume, training, scores by hand, the three tasks, bad
input in one sentence.
"""

import csv
import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from scipy.stats import spearmanr

from data.irp import find_stacks, source_of
from methods.irp import exposure, generate, inference, sample, test, train
from methods.irp.config import GenerateConfig, InferenceConfig, TestConfig, TrainConfig
from methods.irp.restorers import _richardson_lucy, denoise, quality
from models import build, load
from utils.checkpoint import save_weights
from utils.config import parse
from utils.errors import UserError
from utils.files import natural_key
from utils.image import read_image, to_tensor, write_image
from utils.video import NewVideo, VideoWriter

NARROW = {"channels": 16, "widths": [4, 8, 8, 16, 16], "normed": True}


def pattern(seed, size=(112, 112)):
    coarse = np.random.default_rng(seed).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(4):
        write_image(folder / f"p{seed}.png", pattern(seed))
    return folder


def making(pictures, output, **changes):
    """Two ratios, without a network, so that a scene takes milliseconds."""
    options = {
        "height": 64,
        "width": 64,
        "kernel_size": 33,
        "blur": [4.0, 20.0],
        "ratios": [1.0, 5.0, 50.0],
    }
    return GenerateConfig(
        pictures,
        output,
        **{**options, "restorers": ["denoise", "deconvolve"], "device": "cpu", **changes},
    )


@pytest.fixture(scope="module")
def stacks(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stacks") / "set"
    generate.main(making(pictures, folder))
    return folder


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(3)
    network = build("irp", backbone="light", **NARROW)
    torch.nn.init.normal_(network.score[-1].weight)
    save_weights(
        tmp_path / "w.safetensors", network, "irp", network.arguments, "irp", dtype=torch.float32
    )
    return tmp_path / "w.safetensors"


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".yaml"
    }


def test_stacks_hold_everything(stacks):
    """Shots, labels with every part beside them, pictures to look at; a label is the mean over the
    restorers.
    """
    found = find_stacks(stacks)
    assert len(found.of("all")) == 12 and {shot.ratio for shot in found.of("all")} == {
        1.0,
        5.0,
        50.0,
    }
    with open(stacks / "labels.csv", newline="") as file:
        rows = {(row["scene"], float(row["ratio"])): row for row in csv.DictReader(file)}
    for shot in found.of("all"):
        row = rows[shot.scene, shot.ratio]
        parts = [float(row[f"{name}_quality"]) for name in ("denoise", "deconvolve")]
        assert shot.label == pytest.approx(np.mean(parts), abs=1e-6)
        level = np.clip((float(row["denoise_psnr"]) - 15) / 20, 0, 1)
        assert float(row["denoise_quality"]) == pytest.approx(
            (level + max(float(row["denoise_ssim"]), 0)) / 2
        )
    assert all(
        (stacks / name).is_file()
        for name in ("contact_sheet.png", "labels.png", "sharp/scene1.png", "records/scene4.json")
    )


def test_a_stopped_run_goes_on(pictures, stacks, tmp_path, monkeypatch):
    """The same files whether made at once or in two goes; a finished scene is not made again."""
    with monkeypatch.context() as patch:
        made = []
        original = generate._make
        patch.setattr(
            generate,
            "_make",
            lambda config, job, *rest: (made.append(job), original(config, job, *rest))[
                0 if len(made) < 3 else 9
            ],
        )
        with pytest.raises(IndexError):
            generate.main(making(pictures, tmp_path / "set"))
    assert not (tmp_path / "set/splits.json").exists()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "set/scene1").iterdir()}
    generate.main(making(pictures, tmp_path / "set"))
    assert files(tmp_path / "set") == files(stacks)
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_the_embedded_sample_is_made_once(tmp_path, monkeypatch):
    """By generate.py irp from the sample's pictures; here with cheaper settings."""
    made = []
    original = generate.main

    def cheaper(config):
        made.append(config)
        small = replace(config, height=64, width=64, ratios=[1.0, 5.0], restorers=["denoise"])
        original(replace(small, device="cpu"))

    monkeypatch.setattr(generate, "main", cheaper)
    monkeypatch.setattr(sample, "ROOT", tmp_path)
    assert len(sample.stacks_or_sample(None).of("all")) == 8
    assert len(sample.stacks_or_sample(None).of("all")) == 8
    assert [config.output_dir for config in made] == [tmp_path / "dataset/sample_irp"]


def test_videos_make_stacks_too(tmp_path):
    texture = pattern(7, (140, 200))
    with VideoWriter(tmp_path / "in/pan.mp4", NewVideo((96, 96), Fraction(30))) as writer:
        for step in range(14):
            writer.write(np.ascontiguousarray(texture[20:116, 4 * step : 4 * step + 96]), step)
    generate.main(
        making(
            tmp_path / "in", tmp_path / "out", exposure=[3.0, 3.0], kernel_size=33, blur=[2.0, 20.0]
        )
    )
    labels = {shot.ratio: shot.label for shot in find_stacks(tmp_path / "out").of("all")}
    record = json.loads((tmp_path / "out/records/scene1.json").read_text())
    assert (
        record["source"] == "video pan"
        and record["exposure"] == pytest.approx(3)
        and labels[5.0] > labels[1.0]
    )


def test_deconvolution_undoes_a_known_blur():
    """Up to the border, where light came from outside; an asymmetric path, so that a kernel turned
    around would show.
    """
    kernel = np.zeros((33, 33), np.float32)
    for time in np.linspace(-1, 1, 200):
        kernel[int(16 + 10 * time), int(16 + 8 * time**2)] += 1 / 200
    scene = np.float32(pattern(1, (180, 190))) / 255
    blurred = np.stack([correlate(scene[..., channel], kernel) for channel in range(3)], -1)[
        20:-20, 20:-20
    ]
    light = scene[20:-20, 20:-20]
    before, after = (
        np.abs(image - light) for image in (blurred, _richardson_lucy(blurred, kernel, 20))
    )
    assert after.mean() < 0.4 * before.mean()
    assert (
        after[:8].mean() < 0.7 * before[:8].mean()
        and after[:, -8:].mean() < 0.7 * before[:, -8:].mean()
    )
    still = np.zeros((15, 15), np.float32)
    still[7, 7] = 1
    assert _richardson_lucy(blurred, still, 20) is blurred


def test_quality_by_hand():
    """An error of 16 levels is 24.05 dB, 0.452 of the way from 15 to 35 dB; identical pictures have
    quality 1; noise removal raises it.
    """
    sharp = np.full((32, 32, 3), 100, np.uint8)
    found = quality((sharp + 16.0) / 255, sharp)
    assert found["psnr"] == pytest.approx(20 * np.log10(255 / 16)) and found[
        "quality"
    ] == pytest.approx((0.4524 + found["ssim"]) / 2, abs=1e-3)
    assert quality(sharp / 255, sharp)["quality"] == 1
    noisy = np.clip(
        pattern(2) / 255 + np.random.default_rng(0).normal(0, 0.1, (112, 112, 3)), 0, 1
    ).astype(np.float32)
    assert (
        quality(denoise(noisy, 0.1), pattern(2))["quality"]
        > quality(noisy, pattern(2))["quality"] + 0.1
    )


def learning(stacks, **changes):
    options = {
        "backbone": "light",
        "network": NARROW,
        "epochs": 10,
        "val_every": 5,
        "batch_size": 6,
        "lr": 2e-3,
        "milestones": [8],
    }
    return TrainConfig(
        stacks, **{**options, "workers": 0, "device": "cpu", "patch_size": 48, **changes}
    )


def test_training_learns_and_resumes(stacks, tmp_path, monkeypatch):
    """The error falls; a run in two goes ends where one in one go does, with the optimiser started
    afresh at the milestone.
    """
    monkeypatch.setattr(train, "ROOT", tmp_path)
    train.main(learning(stacks, save="whole"))
    with open(tmp_path / "experiment/whole/loss.csv") as file:
        assert float(list(csv.DictReader(file))[-1]["mse"]) < 30
    train.main(learning(stacks, save="parts", epochs=8))
    train.main(learning(stacks, save="parts", resume=True))
    one, other = (
        load(tmp_path / f"experiment/{name}/last.safetensors").state_dict()
        for name in ("whole", "parts")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)
    task = train.PotentialTask(learning(stacks))
    assert [
        task.schedule(step).reset_optimizer
        for step in (8 * task.epoch - 1, 8 * task.epoch, 8 * task.epoch + 1)
    ] == [
        False,
        True,
        False,
    ]
    assert task.schedule(8 * task.epoch).rates == (pytest.approx(2e-4),)
    batch = {
        key: torch.stack([torch.as_tensor(task.training_set[0, index][key]) for index in range(6)])
        for key in ("image", "ratio", "label")
    }
    losses = []
    for _ in range(30):
        loss = task.step(batch, [], 0)["mse"]
        task.optimizer.zero_grad()
        loss.backward()
        task.optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_the_second_lesson_leaves_nothing_in_the_weights(stacks, tmp_path, monkeypatch):
    """It is learned, from what generate.py irp knows; the weights are those of a plain predictor;
    other data are refused.
    """
    monkeypatch.setattr(train, "ROOT", tmp_path)
    train.main(learning(stacks, save="taught", facts=2.0, epochs=12))
    with open(tmp_path / "experiment/taught/loss.csv") as file:
        assert "facts" in csv.DictReader(file).fieldnames
    state = load(tmp_path / "experiment/taught/last.safetensors").state_dict()
    assert state.keys() == build("irp", backbone="light", **NARROW).state_dict().keys()
    task = train.PotentialTask(learning(stacks, facts=2.0))
    facts = (task.training_set.known.facts - task.usual_facts[0].numpy()) / task.usual_facts[
        1
    ].numpy()
    assert np.nanmean(facts, 0) == pytest.approx(np.zeros(6), abs=1e-4)
    shutil.copytree(stacks, tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare/records")
    with pytest.raises(UserError, match="need records/ and sharp/"):
        train.PotentialTask(learning(tmp_path / "bare", facts=1.0))


def test_fresh_shots_get_guessed_labels(stacks, pictures, tmp_path, monkeypatch):
    """The guesses are near the labels where these are known; no picture of a scene that validates
    or tests is shown; training goes on.
    """
    monkeypatch.setattr(train, "ROOT", tmp_path)
    settings = learning(
        stacks,
        save="fresh",
        fresh_path=pictures,
        fresh_fraction=0.5,
        facts=1.0,
        patch_size=32,
        epochs=4,
    )
    task = train.PotentialTask(settings)
    labels = [shot.label for shot in task.training_set.main.shots]
    guesses = task.labeller(torch.from_numpy(task.training_set.main.known.circumstances))
    assert np.corrcoef(guesses, labels)[0, 1] > 0.9
    monkeypatch.setattr("methods.irp.pseudo_labels.STEPS", 100)  # any guesses do from here on
    found = find_stacks(stacks)
    held_out = {
        source_of(stacks, scene) for name in ("val", "test") for scene in found.partitions[name]
    }
    shown = {name for name, _ in task.training_set.other.pictures}
    assert shown and held_out and not shown & held_out
    items = [task.training_set[0, index] for index in range(len(task.training_set))]
    assert 0.2 < np.mean([np.isnan(item["label"]) for item in items]) < 0.8
    train.main(settings)
    train.main(replace(settings, save="parts", max_minutes=1e-9))
    train.main(replace(settings, save="parts", resume=True))
    one, other = (
        load(tmp_path / f"experiment/{name}/last.safetensors").state_dict()
        for name in ("fresh", "parts")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)
    bracketed = train.PotentialTask(replace(settings, bracket=2, within=1.0))
    losses = bracketed.step(next(iter(bracketed.loader(bracketed.schedule(0), 0))), [], 0)
    assert (
        set(losses) == {"mse", "within", "facts"} and 0 < losses["within"] <= losses["mse"]
    )  # a part of the error
    with pytest.raises(UserError, match="needs a --bracket of 2"):
        train.PotentialTask(replace(settings, within=1.0))
    with pytest.raises(UserError, match="no picture in .* that is 128 px wide"):
        train.PotentialTask(replace(settings, patch_size=64))
    with pytest.raises(UserError, match="needs a --patch_size"):
        train.PotentialTask(replace(settings, patch_size=0))


def test_imagenet_is_a_note_where_it_is_out_of_reach(monkeypatch, capsys, tmp_path):
    from torchvision.models import ResNet18_Weights, resnet18

    network = build("irp", backbone="resnet18", channels=16)
    monkeypatch.setattr(
        ResNet18_Weights,
        "get_state_dict",
        lambda self, **options: (_ for _ in ()).throw(OSError("no network")),
    )
    train.load_imagenet(network, "auto")
    assert "not reachable (no network)" in capsys.readouterr().out
    state = resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "r.pth")
    train.load_imagenet(network, str(tmp_path / "r.pth"))
    assert torch.equal(network.blur_trunk[0].weight, state["conv1.weight"])


def test_scores_of_the_command(stacks, weights, tmp_path):
    scores = test.main(
        TestConfig(
            stacks,
            weights=weights,
            partition="all",
            output_dir=tmp_path / "out",
            workers=0,
            device="cpu",
        )
    )
    written = json.loads((tmp_path / "out/scores.json").read_text())
    values, labels = (
        [row["irp"] for row in written["rows"]],
        [row["label"] for row in written["rows"]],
    )
    assert written["n"] == 12 and written["protocol"] == "irp" and written["sha256"]
    assert (
        scores.mean["srcc"]
        == pytest.approx(spearmanr(values, labels).statistic)
        == written["mean"]["srcc"]
    )
    laplacian = written["figures"]["variance of Laplacian"]
    expected = spearmanr(
        [row["variance of Laplacian"] for row in written["rows"]], labels
    ).statistic
    assert laplacian["srcc"] == pytest.approx(expected) and "rmse" not in laplacian
    assert (tmp_path / "out/scatter.png").is_file() and "scene_srcc" in scores.table()


def test_the_label_ratio_makes_a_difference(stacks, weights):
    """What the network is told of the exposure counts: the same picture, judged as another ratio,
    has another value.
    """
    from methods.irp.predict import load as load_predictor

    predictor, image = (
        load_predictor(weights, "cpu", "fp32"),
        to_tensor(read_image(stacks / "scene1/5.png")),
    )
    assert abs(predictor(image, 5.0) - predictor(image, 1.0)) > 1e-4


def judging(path, weights, tmp_path, task, **changes):
    return InferenceConfig(path, task, weights, output_dir=tmp_path / task, device="cpu", **changes)


def test_score_ranks_a_folder_and_knows_stacks(stacks, weights, tmp_path):
    inference.main(judging(stacks / "scene2", weights, tmp_path, "score"))
    with open(tmp_path / "score/scores.csv") as file:
        rows = list(csv.DictReader(file))
    assert [
        float(row["ratio"]) for row in sorted(rows, key=lambda row: natural_key(row["name"]))
    ] == [1, 5, 50]
    assert [float(row["potential"]) for row in rows] == sorted(
        (float(row["potential"]) for row in rows), reverse=True
    )
    by_test = test.main(
        TestConfig(
            stacks,
            weights=weights,
            partition="all",
            output_dir=tmp_path / "t",
            workers=0,
            device="cpu",
            baselines=False,
        )
    )
    expected = {
        row["name"].split("/")[1]: row["irp"] for row in by_test.rows if row["scene"] == "scene2"
    }
    assert {row["name"]: float(row["potential"]) for row in rows} == pytest.approx(
        expected, abs=1e-4
    )
    assert all(
        (tmp_path / "score" / name).is_file()
        for name in ("contact_sheet.png", "curve.png", "config.yaml")
    )


def test_select_copies_the_best_and_restores_only_these(pictures, weights, tmp_path, small_network):
    for name in ("a/one.png", "a/two.jpg", "b/one.png", "three.png", "four.png"):
        write_image(tmp_path / "in" / name, pattern(sum(map(ord, name)), (64, 80)))
    torch.manual_seed(0)
    arguments = {"width": 4, "encoder": [1], "middle": 1, "decoder": [1]}
    save_weights(
        tmp_path / "n.safetensors",
        build("nafnet", **arguments),
        "nafnet",
        arguments,
        "image_deblur",
    )
    config = judging(
        tmp_path / "in",
        weights,
        tmp_path,
        "select",
        keep="40%",
        restore=True,
        restorer=tmp_path / "n.safetensors",
    )
    inference.main(config)
    with open(tmp_path / "select/scores.csv") as file:
        rows = list(csv.DictReader(file))
    chosen = [row["name"] for row in rows if row["selected"] == "1"]
    assert chosen == [row["name"] for row in rows][:2]
    copies = {
        str(path.relative_to(tmp_path / "select/selected").with_suffix("")): path
        for path in (tmp_path / "select/selected").rglob("*.*")
    }
    assert set(copies) == set(chosen)
    for name, path in copies.items():
        assert (
            path.read_bytes()
            == (tmp_path / "in" / path.relative_to(tmp_path / "select/selected")).read_bytes()
        )
        assert read_image(tmp_path / "select/restored" / f"{name}.png").shape == (64, 80, 3)
    inference.main(replace(config, keep="1", restore=False))  # what an earlier run selected is gone
    assert (
        len(list((tmp_path / "select/selected").rglob("*.*"))) == 1
        and not (tmp_path / "select/restored").exists()
    )


def test_who_ends_the_progress_bar_ends_the_judging(pictures, weights, tmp_path, monkeypatch):
    """As the web page does for a visitor who has gone: the bar moves with every shot."""

    class Ended(inference.Progress):
        def update(self, n=1):
            raise InterruptedError("ended by its bar")

    monkeypatch.setattr(inference, "Progress", Ended)
    with pytest.raises(InterruptedError, match="ended by its bar"):
        inference.main(judging(pictures, weights, tmp_path, "score"))
    assert not (tmp_path / "score/scores.csv").exists()


def test_videos_are_judged_frame_by_frame(weights, tmp_path):
    with VideoWriter(tmp_path / "v.mp4", NewVideo((64, 64), Fraction(10))) as writer:
        for step in range(6):
            writer.write(cv2.GaussianBlur(pattern(3, (64, 64)), (0, 0), 0.5 + step), step)
    inference.main(judging(tmp_path / "v.mp4", weights, tmp_path, "select", keep="2"))
    with open(tmp_path / "select/scores.csv") as file:
        rows = list(csv.DictReader(file))
    assert sorted(float(row["seconds"]) for row in rows) == pytest.approx(
        [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    )
    names = sorted(path.name for path in (tmp_path / "select/selected").iterdir())
    assert names == sorted(f"{row['name']}.png" for row in rows[:2])


def test_expose_recommends_the_highest(stacks, weights, tmp_path, capsys):
    inference.main(judging(stacks, weights, tmp_path, "expose"))
    said = capsys.readouterr().out
    with open(tmp_path / "expose/exposures.csv") as file:
        rows = list(csv.DictReader(file))
    for scene in {row["scene"] for row in rows}:
        own = [row for row in rows if row["scene"] == scene]
        best = max(own, key=lambda row: float(row["potential"]))
        assert [row["recommended"] for row in own].count("1") == 1 and best["recommended"] == "1"
        assert f"{scene}: take ratio {best['ratio']} (exposure T/{best['ratio']})" in said
        assert sum(float(row["confidence"]) for row in own) == pytest.approx(1, abs=1e-3)


def test_confidence_by_hand():
    """Two shots: the normal distribution of their difference, which errs by the root of two; equal
    ones share.
    """
    from scipy.stats import norm

    one, other = exposure.confidence([0.6, 0.5], 0.05)
    assert one == pytest.approx(
        norm.cdf(0.1 / 0.05 / np.sqrt(2)), abs=1e-3
    ) and one + other == pytest.approx(1)
    assert exposure.confidence([0.4] * 5, 0.1) == pytest.approx([0.2] * 5)
    draws = np.random.default_rng(0).normal([0.6, 0.55, 0.3], 0.1, (200000, 3)).argmax(1)
    assert exposure.confidence([0.6, 0.55, 0.3], 0.1) == pytest.approx(
        np.bincount(draws) / len(draws), abs=5e-3
    )


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [("20%", 10, 2), ("20%", 3, 1), ("5", 10, 5), ("50", 10, 10), ("100%", 7, 7)],
)
def test_how_many_are_kept(text, count, expected):
    assert inference.keep_count(text, count) == expected


def test_bad_input(stacks, pictures, weights, tmp_path, small_network):
    (tmp_path / "text.png").write_text("no picture")
    write_image(tmp_path / "small/a.png", np.zeros((20, 40, 3), np.uint8))
    cases = [
        (
            lambda: inference.main(judging(tmp_path / "gone", weights, tmp_path, "score")),
            "no image, folder of images or video file at",
        ),
        (
            lambda: inference.main(judging(tmp_path / "text.png", weights, tmp_path, "score")),
            r"text\.png",
        ),
        (
            lambda: inference.main(judging(tmp_path / "small", weights, tmp_path, "score")),
            r"a\.png: an image of 40x20 px: IRP needs at least 32",
        ),
        (
            lambda: inference.main(judging(pictures, weights, tmp_path, "expose")),
            "no shots at several exposures",
        ),
        (
            lambda: inference.main(judging(pictures, weights, tmp_path, "select", keep="0")),
            "--keep '0' must be",
        ),
        (
            lambda: inference.main(judging(pictures, weights, tmp_path, "select", keep="many")),
            "--keep 'many' must be",
        ),
        (
            lambda: inference.main(judging(pictures, weights, tmp_path, "score", ratio=0.5)),
            "--ratio 0.5 must be at least 1",
        ),
        (
            lambda: inference.main(judging(pictures, small_network(), tmp_path, "score")),
            "this command needs a IRP network",
        ),
        (
            lambda: inference.main(
                replace(judging(stacks / "scene1", weights, tmp_path, "score"), output_dir=stacks)
            ),
            "choose another --output_dir",
        ),
        (
            lambda: test.main(TestConfig(pictures, weights=weights, workers=0)),
            "no exposure stacks in",
        ),
        (
            lambda: train.PotentialTask(learning(stacks, batch_size=0)),
            "--batch_size must be at least 1",
        ),
        (
            lambda: generate.main(making(pictures, tmp_path / "o", kernel_size=32)),
            "--kernel_size 32 must be odd",
        ),
        (
            lambda: generate.main(making(pictures, tmp_path / "o", height=128)),
            "all 4 pictures are too small",
        ),
        (lambda: generate.main(making(pictures, tmp_path / "o", blur=[5.0])), "--blur is a range"),
        (lambda: generate.main(making(pictures, stacks, photons=[5.0, 6.0])), "photons"),
    ]
    for call, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            call()
    shutil.copytree(stacks, tmp_path / "broken")
    (tmp_path / "broken/scene1/5.png").write_bytes((stacks / "scene1/5.png").read_bytes()[:200])
    with pytest.raises(UserError, match=r"scene1/5\.png"):
        test.main(
            TestConfig(
                tmp_path / "broken", weights=weights, partition="all", workers=0, baselines=False
            )
        )


def test_an_earlier_selection_that_is_none_stays(pictures, weights, tmp_path):
    (tmp_path / "select/selected").mkdir(parents=True)
    (tmp_path / "select/selected/mine.txt").write_text("kept")
    with pytest.raises(UserError, match="not from an earlier run"):
        inference.main(judging(pictures, weights, tmp_path, "select"))
    assert (tmp_path / "select/selected/mine.txt").read_text() == "kept"


def test_the_table_says_what_is_missing(capsys):
    assert test.main(TestConfig(table="all")) is None
    assert (
        "not run: needs dataset/IRPDataset and pretrain_models/IRP.pth" in capsys.readouterr().out
    )


def test_published_spellings():
    for command, config_class in (("train", TrainConfig), ("test", TestConfig)):
        config = parse(
            config_class,
            "irp",
            command,
            ["--data_path", "D", *(["--weights_path", "W"] if command == "test" else [])],
        )
        assert config.data_path == Path("D") and (command == "train" or config.weights == Path("W"))
