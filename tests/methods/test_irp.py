"""The irp commands: stacks that repeat and resume, training, scores, the three tasks, bad input."""

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

from data.irp import find_stacks
from data.irp_records import source_of
from methods.irp import exposure, generate, inference, sample, test, train
from methods.irp.config import GenerateConfig, InferenceConfig, TestConfig, TrainConfig
from methods.irp.restorers import _deconvolve_one, denoise, quality
from models import build, load
from utils.checkpoint import save_weights
from utils.config import parse
from utils.errors import UserError
from utils.files import natural_key
from utils.image import read_image, to_tensor, write_image
from utils.video_writer import NewVideo, VideoWriter

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
    """Three ratios, without a network, so that a scene takes milliseconds."""
    options = {
        "height": 64,
        "width": 64,
        "kernel_size": 33,
        "blur": [4.0, 20.0],
        "ratios": [1.0, 5.0, 50.0],
        "restorers": ["denoise", "deconvolve"],
        "device": "cpu",
    }
    return GenerateConfig(pictures, output, **{**options, **changes})


def read_rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


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
    """Shots, labels with every part beside them, pictures to look at.

    A label is the mean over the restorers.
    """
    shots = find_stacks(stacks).of("all")
    assert len(shots) == 12
    assert {shot.ratio for shot in shots} == {1.0, 5.0, 50.0}
    rows = {(row["scene"], float(row["ratio"])): row for row in read_rows(stacks / "labels.csv")}
    for shot in shots:
        row = rows[shot.scene, shot.ratio]
        parts = [float(row[f"{name}_quality"]) for name in ("denoise", "deconvolve")]
        assert shot.label == pytest.approx(np.mean(parts), abs=1e-6)
        level = np.clip((float(row["denoise_psnr"]) - 15) / 20, 0, 1)
        expected = (level + max(float(row["denoise_ssim"]), 0)) / 2
        assert float(row["denoise_quality"]) == pytest.approx(expected)
    for name in ("contact_sheet.jpg", "labels.png", "sharp/scene1.png", "records/scene4.json"):
        assert (stacks / name).is_file()


def test_a_stopped_run_goes_on(pictures, stacks, tmp_path, monkeypatch):
    """The same files whether made at once or in two goes; a finished scene is not made again."""
    original = generate._make
    made = []

    def make_three(config, job, *rest):
        original(config, job, *rest)
        made.append(job)
        if len(made) == 3:
            raise InterruptedError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(generate, "_make", make_three)
        with pytest.raises(InterruptedError):
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
    generate.main(making(tmp_path / "in", tmp_path / "out", exposure=[3.0, 3.0], blur=[2.0, 20.0]))
    labels = {shot.ratio: shot.label for shot in find_stacks(tmp_path / "out").of("all")}
    record = json.loads((tmp_path / "out/records/scene1.json").read_text())
    assert record["source"] == "video pan"
    assert record["exposure"] == pytest.approx(3)
    assert labels[5.0] > labels[1.0]


def test_deconvolution_undoes_a_known_blur():
    """Up to the border, where light came from outside.

    The path is asymmetric, so that a kernel turned around would show.
    """
    kernel = np.zeros((33, 33), np.float32)
    for time in np.linspace(-1, 1, 200):
        kernel[int(16 + 10 * time), int(16 + 8 * time**2)] += 1 / 200
    scene = np.float32(pattern(1, (180, 190))) / 255
    channels = [correlate(scene[..., channel], kernel) for channel in range(3)]
    blurred = np.stack(channels, -1)[20:-20, 20:-20]
    light = scene[20:-20, 20:-20]
    before = np.abs(blurred - light)
    after = np.abs(_deconvolve_one(blurred, kernel, 20) - light)
    assert after.mean() < 0.4 * before.mean()
    assert after[:8].mean() < 0.7 * before[:8].mean()
    assert after[:, -8:].mean() < 0.7 * before[:, -8:].mean()
    still = np.zeros((15, 15), np.float32)
    still[7, 7] = 1
    assert _deconvolve_one(blurred, still, 20) is blurred


def test_quality_by_hand():
    """An error of 16 levels is 24.05 dB, 0.452 of the way from 15 to 35 dB.

    Identical pictures have quality 1; noise removal raises it.
    """
    sharp = np.full((32, 32, 3), 100, np.uint8)
    found = quality((sharp + 16.0) / 255, sharp)
    assert found["psnr"] == pytest.approx(20 * np.log10(255 / 16))
    assert found["quality"] == pytest.approx((0.4524 + found["ssim"]) / 2, abs=1e-3)
    assert quality(sharp / 255, sharp)["quality"] == 1
    noise = np.random.default_rng(0).normal(0, 0.1, (112, 112, 3))
    noisy = np.clip(pattern(2) / 255 + noise, 0, 1).astype(np.float32)
    cleaned = quality(denoise(noisy, 0.1), pattern(2))
    assert cleaned["quality"] > quality(noisy, pattern(2))["quality"] + 0.1


def learning(stacks, **changes):
    options = {
        "backbone": "light",
        "network": NARROW,
        "epochs": 10,
        "val_every": 5,
        "batch_size": 6,
        "lr": 2e-3,
        "milestones": [8],
        "workers": 0,
        "device": "cpu",
        "patch_size": 48,
    }
    return TrainConfig(stacks, **{**options, **changes})


def assert_same_weights(folder, one, other):
    first = load(folder / one / "last.safetensors").state_dict()
    second = load(folder / other / "last.safetensors").state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_training_learns_and_resumes(stacks, tmp_path, monkeypatch):
    """The error falls; a run in two goes ends where one in one go does.

    The optimiser starts afresh at the milestone.
    """
    monkeypatch.setattr(train, "ROOT", tmp_path)
    train.main(learning(stacks, save="whole"))
    assert float(read_rows(tmp_path / "experiment/whole/loss.csv")[-1]["mse"]) < 30
    train.main(learning(stacks, save="parts", epochs=8))
    train.main(learning(stacks, save="parts", resume=True))
    assert_same_weights(tmp_path / "experiment", "whole", "parts")
    task = train.PotentialTask(learning(stacks))
    milestone = 8 * task.epoch
    steps = (milestone - 1, milestone, milestone + 1)
    assert [task.schedule(step).reset_optimizer for step in steps] == [False, True, False]
    assert task.schedule(milestone).rates == (pytest.approx(2e-4),)
    items = [task.training_set[0, index] for index in range(6)]
    batch = {}
    for key in ("image", "ratio", "label"):
        batch[key] = torch.stack([torch.as_tensor(item[key]) for item in items])
    losses = []
    for _ in range(30):
        loss = task.step(batch, [], 0)["mse"]
        task.optimizer.zero_grad()
        loss.backward()
        task.optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_the_auxiliary_loss_leaves_nothing_in_the_weights(stacks, tmp_path, monkeypatch):
    """It is learned, from what generate.py irp knows; the weights are those of a plain predictor.

    Other data are refused.
    """
    monkeypatch.setattr(train, "ROOT", tmp_path)
    train.main(learning(stacks, save="helped", auxiliary_weight=2.0, epochs=12))
    assert "auxiliary" in read_rows(tmp_path / "experiment/helped/loss.csv")[0]
    state = load(tmp_path / "experiment/helped/last.safetensors").state_dict()
    assert state.keys() == build("irp", backbone="light", **NARROW).state_dict().keys()
    task = train.PotentialTask(learning(stacks, auxiliary_weight=2.0))
    targets = task.training_set.features.auxiliary_targets - task.target_mean.numpy()
    targets /= task.target_deviation.numpy()
    assert np.nanmean(targets, 0) == pytest.approx(np.zeros(6), abs=1e-4)
    shutil.copytree(stacks, tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare/records")
    with pytest.raises(UserError, match="need records/ and sharp/"):
        train.PotentialTask(learning(tmp_path / "bare", auxiliary_weight=1.0))


def fresh_training(stacks, pictures, **changes):
    options = {
        "save": "fresh",
        "fresh_path": pictures,
        "fresh_fraction": 0.5,
        "auxiliary_weight": 1.0,
        "patch_size": 32,
        "epochs": 4,
    }
    return learning(stacks, **{**options, **changes})


def test_fresh_shots_get_pseudo_labels(stacks, pictures, tmp_path, monkeypatch):
    """They are near the labels where these are known; training goes on after a stop.

    No picture of a scene that validates or tests is shown.
    """
    monkeypatch.setattr(train, "ROOT", tmp_path)
    settings = fresh_training(stacks, pictures)
    task = train.PotentialTask(settings)
    labelled = task.training_set.main
    labels = [shot.label for shot in labelled.shots]
    pseudo_labels = task.pseudo_labeller(torch.from_numpy(labelled.features.label_features))
    assert np.corrcoef(pseudo_labels, labels)[0, 1] > 0.9
    monkeypatch.setattr("methods.irp.pseudo_labels.STEPS", 100)  # any labels do from here on
    partitions = find_stacks(stacks).partitions
    held_out = {source_of(stacks, scene) for scene in partitions["val"] + partitions["test"]}
    shown = {name for name, _ in task.training_set.other.pictures}
    assert shown and held_out and not shown & held_out
    items = [task.training_set[0, index] for index in range(len(task.training_set))]
    assert 0.2 < np.mean([np.isnan(item["label"]) for item in items]) < 0.8
    train.main(settings)
    train.main(replace(settings, save="parts", max_minutes=1e-9))
    train.main(replace(settings, save="parts", resume=True))
    assert_same_weights(tmp_path / "experiment", "fresh", "parts")
    bracketed = train.PotentialTask(replace(settings, bracket=2, within=1.0))
    losses = bracketed.step(next(iter(bracketed.loader(bracketed.schedule(0), 0))), [], 0)
    assert set(losses) == {"mse", "within", "auxiliary"}
    assert 0 < losses["within"] <= losses["mse"]  # a part of the error


def test_fresh_shots_that_cannot_be(stacks, pictures):
    settings = fresh_training(stacks, pictures)
    with pytest.raises(UserError, match="needs a --bracket of 2"):
        train.PotentialTask(replace(settings, within=1.0))
    with pytest.raises(UserError, match=r"no picture in .* that is 128 px wide"):
        train.PotentialTask(replace(settings, patch_size=64))
    with pytest.raises(UserError, match="needs a --patch_size"):
        train.PotentialTask(replace(settings, patch_size=0))


def test_imagenet_is_a_note_where_it_is_out_of_reach(monkeypatch, capsys, tmp_path):
    from torchvision.models import ResNet18_Weights, resnet18

    network = build("irp", backbone="resnet18", channels=16)

    def unreachable(self, **options):
        raise OSError("no network")

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", unreachable)
    train.load_imagenet(network, "auto")
    assert "not reachable (no network)" in capsys.readouterr().out
    state = resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "r.pth")
    train.load_imagenet(network, str(tmp_path / "r.pth"))
    assert torch.equal(network.blur_trunk[0].weight, state["conv1.weight"])


def scoring(stacks, weights, output, **changes):
    options = {"partition": "all", "workers": 0, "device": "cpu"}
    return TestConfig(stacks, weights=weights, output_dir=output, **{**options, **changes})


def test_scores_of_the_command(stacks, weights, tmp_path):
    scores = test.main(scoring(stacks, weights, tmp_path / "out"))
    written = json.loads((tmp_path / "out/scores.json").read_text())
    values = [row["irp"] for row in written["rows"]]
    labels = [row["label"] for row in written["rows"]]
    assert written["n"] == 12 and written["protocol"] == "irp" and written["sha256"]
    assert written["arithmetic"] == "float32 on cpu"
    assert scores.mean["srcc"] == written["mean"]["srcc"]
    assert scores.mean["srcc"] == pytest.approx(spearmanr(values, labels).statistic)
    laplacian = written["figures"]["variance of Laplacian"]
    measured = [row["variance of Laplacian"] for row in written["rows"]]
    assert laplacian["srcc"] == pytest.approx(spearmanr(measured, labels).statistic)
    assert "rmse" not in laplacian
    assert (tmp_path / "out/scatter.png").is_file() and "scene_srcc" in scores.table()


def test_the_label_ratio_makes_a_difference(stacks, weights):
    """The same picture, judged as one of another exposure ratio, has another value."""
    from methods.irp.predict import load as load_predictor

    predictor = load_predictor(weights, "cpu", "fp32")
    image = to_tensor(read_image(stacks / "scene1/5.png"))
    assert abs(predictor(image, 5.0) - predictor(image, 1.0)) > 1e-4


def judging(path, weights, tmp_path, task, **changes):
    return InferenceConfig(path, task, weights, output_dir=tmp_path / task, device="cpu", **changes)


def test_score_ranks_a_folder_and_knows_stacks(stacks, weights, tmp_path):
    inference.main(judging(stacks / "scene2", weights, tmp_path, "score", judge="network"))
    rows = read_rows(tmp_path / "score/scores.csv")
    by_name = sorted(rows, key=lambda row: natural_key(row["name"]))
    assert [float(row["ratio"]) for row in by_name] == [1, 5, 50]
    potentials = [float(row["potential"]) for row in rows]
    assert potentials == sorted(potentials, reverse=True)
    scores = test.main(scoring(stacks, weights, tmp_path / "t", baselines=False))
    found = {row["name"]: float(row["potential"]) for row in rows}
    expected = {}
    for row in scores.rows:
        if row["scene"] == "scene2":
            expected[row["name"].removeprefix("scene2/")] = row["irp"]
    assert found == pytest.approx(expected, abs=1e-4)
    for name in ("contact_sheet.jpg", "curve.png", "config.yaml"):
        assert (tmp_path / "score" / name).is_file()


def test_select_copies_the_best_and_restores_only_these(weights, tmp_path):
    for name in ("a/one.png", "a/two.jpg", "b/one.png", "three.png", "four.png"):
        write_image(tmp_path / "in" / name, pattern(sum(map(ord, name)), (64, 80)))
    torch.manual_seed(0)
    arguments = {"width": 4, "encoder": [1], "middle": 1, "decoder": [1]}
    restorer = tmp_path / "n.safetensors"
    save_weights(restorer, build("nafnet", **arguments), "nafnet", arguments, "image_deblur")
    config = judging(tmp_path / "in", weights, tmp_path, "select", keep="40%")
    inference.main(replace(config, restore=True, restorer=restorer))
    rows = read_rows(tmp_path / "select/scores.csv")
    chosen = [row["name"] for row in rows if row["selected"] == "1"]
    assert chosen == [row["name"] for row in rows][:2]
    selected = tmp_path / "select/selected"
    copies = [path.relative_to(selected) for path in selected.rglob("*.*")]
    assert {str(path.with_suffix("")) for path in copies} == set(chosen)
    for path in copies:
        assert (selected / path).read_bytes() == (tmp_path / "in" / path).read_bytes()
    for name in chosen:
        assert read_image(tmp_path / "select/restored" / f"{name}.png").shape == (64, 80, 3)
    inference.main(replace(config, keep="1"))  # what an earlier run selected is gone
    assert len(list(selected.rglob("*.*"))) == 1
    assert not (tmp_path / "select/restored").exists()


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
    rows = read_rows(tmp_path / "select/scores.csv")
    seconds = sorted(float(row["seconds"]) for row in rows)
    assert seconds == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    names = sorted(path.name for path in (tmp_path / "select/selected").iterdir())
    assert names == sorted(f"{row['name']}.png" for row in rows[:2])


def test_expose_recommends_the_highest(stacks, weights, tmp_path, capsys):
    inference.main(judging(stacks, weights, tmp_path, "expose"))
    said = capsys.readouterr().out
    rows = read_rows(tmp_path / "expose/exposures.csv")
    for scene in {row["scene"] for row in rows}:
        own = [row for row in rows if row["scene"] == scene]
        best = max(own, key=lambda row: float(row["potential"]))
        assert [row for row in own if row["recommended"] == "1"] == [best]
        assert f"{scene}: take ratio {best['ratio']} (exposure T/{best['ratio']})" in said
        assert sum(float(row["confidence"]) for row in own) == pytest.approx(1, abs=1e-3)


def test_confidence_by_hand():
    """Of two shots: the normal distribution of their difference, which errs by the root of two.

    Equal ones share.
    """
    from scipy.stats import norm

    one, other = exposure.confidence([0.6, 0.5], 0.05)
    assert one == pytest.approx(norm.cdf(0.1 / 0.05 / np.sqrt(2)), abs=1e-3)
    assert one + other == pytest.approx(1)
    assert exposure.confidence([0.4] * 5, 0.1) == pytest.approx([0.2] * 5)
    draws = np.random.default_rng(0).normal([0.6, 0.55, 0.3], 0.1, (200000, 3)).argmax(1)
    expected = np.bincount(draws) / len(draws)
    assert exposure.confidence([0.6, 0.55, 0.3], 0.1) == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [("20%", 10, 2), ("20%", 3, 1), ("5", 10, 5), ("50", 10, 10), ("100%", 7, 7)],
)
def test_how_many_are_kept(text, count, expected):
    assert inference.keep_count(text, count) == expected


def test_shots_that_cannot_be_judged(stacks, pictures, weights, tmp_path, small_network):
    (tmp_path / "text.png").write_text("no picture")
    write_image(tmp_path / "small/a.png", np.zeros((20, 40, 3), np.uint8))
    score = judging(pictures, weights, tmp_path, "score")
    select = judging(pictures, weights, tmp_path, "select")
    small = r"a\.png: an image of 40x20 px: IRP needs at least 32"
    cases = [
        (replace(score, data_path=tmp_path / "gone"), "no image, folder of images or video file"),
        (replace(score, data_path=tmp_path / "text.png"), r"text\.png"),
        (replace(score, data_path=tmp_path / "small"), small),
        (replace(score, task="expose"), "no shots at several exposures"),
        (replace(select, keep="0"), "--keep '0' must be"),
        (replace(select, keep="many"), "--keep 'many' must be"),
        (replace(select, keep="inf"), "--keep 'inf' must be"),
        (replace(score, ratio=0.5), "--ratio 0.5 must be at least 1"),
        (replace(score, weights=small_network()), "this command needs a IRP network"),
        (
            replace(score, data_path=stacks / "scene1", output_dir=stacks),
            "choose another --output_dir",
        ),
    ]
    for config, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            inference.main(config)


def test_stacks_that_cannot_be_made(stacks, pictures, tmp_path):
    output = tmp_path / "o"
    cases = [
        (making(pictures, output, kernel_size=32), "--kernel_size 32 must be odd"),
        (making(pictures, output, height=128), "all 4 pictures are too small"),
        (making(pictures, output, blur=[5.0]), "--blur is a range"),
        (making(pictures, stacks, photons=[5.0, 6.0]), "photons"),
    ]
    for config, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            generate.main(config)


def test_stacks_that_cannot_be_used(stacks, pictures, weights, tmp_path):
    with pytest.raises(UserError, match="no exposure stacks in"):
        test.main(TestConfig(pictures, weights=weights, workers=0))
    with pytest.raises(UserError, match="--batch_size must be at least 1"):
        train.PotentialTask(learning(stacks, batch_size=0))
    shutil.copytree(stacks, tmp_path / "broken")
    (tmp_path / "broken/scene1/5.png").write_bytes((stacks / "scene1/5.png").read_bytes()[:200])
    with pytest.raises(UserError, match=r"scene1/5\.png"):
        test.main(scoring(tmp_path / "broken", weights, tmp_path / "out", baselines=False))


def test_an_earlier_selection_that_is_none_stays(pictures, weights, tmp_path):
    (tmp_path / "select/selected").mkdir(parents=True)
    (tmp_path / "select/selected/mine.txt").write_text("kept")
    with pytest.raises(UserError, match="not from an earlier run"):
        inference.main(judging(pictures, weights, tmp_path, "select"))
    assert (tmp_path / "select/selected/mine.txt").read_text() == "kept"


def test_the_table_says_what_is_missing(capsys, tmp_path):
    assert test.main(TestConfig(table="all", output_dir=tmp_path)) is None
    said = capsys.readouterr().out
    assert "not run: needs dataset/IRPDataset and pretrain_models/IRP.pth" in said


def test_published_and_older_spellings():
    tested = parse(TestConfig, "irp", "test", ["--data_path", "D", "--weights_path", "W"])
    assert tested.data_path == Path("D") and tested.weights == Path("W")
    trained = parse(TrainConfig, "irp", "train", ["--data_path", "D", "--facts", "2"])
    assert trained.data_path == Path("D") and trained.auxiliary_weight == 2


def test_older_spellings_in_yaml(tmp_path):
    (tmp_path / "mine.yaml").write_text("facts: 0.5\n")
    config = parse(TrainConfig, "irp", "train", ["--config", str(tmp_path / "mine.yaml")])
    assert config.auxiliary_weight == 0.5
