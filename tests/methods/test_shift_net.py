"""Shift-Net through the commands of video_deblur: windows as published, streams, training."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from methods.video_deblur import inference, test, train
from methods.video_deblur.config import InferenceConfig
from methods.video_deblur.config import TestConfig as ScoreConfig
from methods.video_deblur.config import TrainConfig as VideoConfig
from restoration.video import VideoRestorer
from restoration.videos import window_frames
from tests.models.shift_nets import NARROW, narrow
from tests.utils.test_video import make_file
from utils.checkpoint import save_weights
from utils.config import parse
from utils.errors import UserError
from utils.evaluation.metrics import psnr
from utils.evaluation.tables import read_tables
from utils.image import read_image, to_tensor
from utils.video import VideoFile

NARROW_WORDS = ("--network", json.dumps(NARROW["plus"]))


def config_of(*words: str) -> VideoConfig:
    return parse(VideoConfig, "video_deblur", "train", list(words))


@pytest.fixture
def weights(tmp_path):
    """A function that writes a narrow network with a small correction; returns the file's path."""

    def make(variant: str):
        network = narrow(variant)
        torch.nn.init.normal_(network.ending.weight, std=0.003)
        path = tmp_path / f"{variant}.safetensors"
        save_weights(path, network, "shift_net", NARROW[variant], "video_deblur", torch.float32)
        return path

    return make


def test_the_published_numbers_of_frames():
    """GoPro: nine videos of 100 frames, one of 134, one of 77; DVD: ten of 100."""
    gopro = [100] * 9 + [134, 77]
    assert sum(len(window_frames(count, 48, 2)) for count in gopro) == 1008
    assert sum(len(window_frames(count, 96, 2)) for count in gopro) == 960
    assert sum(len(window_frames(count, 96, 2)) for count in [100] * 10) == 960
    assert window_frames(100, 48, 2) == range(2, 98)
    assert not window_frames(51, 48, 2)
    assert not window_frames(3, 48, 2)
    for row in read_tables(test.TABLES):
        if row.protocol == "shift_net" and row.dataset == "GOPRO":
            window = row.options["window"]
            assert row.images == sum(len(window_frames(count, window, 2)) for count in gopro)
            assert row.source == "picture"


@pytest.mark.parametrize("variant", NARROW)
def test_windows_are_scored_as_published(variant, weights, make_videos, tmp_path, capsys):
    """Every window is a clip of its own; figures are of values that were not rounded."""
    root = make_videos("clips", {"a": 11, "b": 6}, size=(24, 32))
    config = ScoreConfig(
        data_path=root,
        weights=weights(variant),
        output_dir=tmp_path / "out",
        protocol="shift_net",
        window=3,
        device="cpu",
    )
    scores = test.main(config)
    assert (
        "b: left out, as its 6 frames are fewer than the 7 of a window" in capsys.readouterr().out
    )
    network = VideoRestorer.load(config.weights, "cpu").network
    expected = []
    frames = [to_tensor(read_image(path)) for path in sorted((root / "blur" / "a").iterdir())]
    sharp = [read_image(path) for path in sorted((root / "gt" / "a").iterdir())]
    for start in (0, 3):
        with torch.inference_mode():
            restored = network.restore_clip(torch.stack(frames[start : start + 7])[None])[0, 2:-2]
        for index, frame in enumerate(restored, start + 2):
            values = 255 * frame.clamp(0, 1).permute(1, 2, 0).numpy().astype(np.float64)
            expected.append(psnr(values, sharp[index]))
    names = [row["name"] for row in scores.rows]
    assert names == [f"a/{index:05d}" for index in range(2, 8)]
    found = [row["psnr"] for row in scores.rows]
    assert found == pytest.approx(expected, abs=1e-3)
    assert read_image(tmp_path / "out" / "a" / "00002.png").dtype == np.uint16


def test_a_window_that_fits_no_video_is_one_sentence(weights, make_videos, tmp_path):
    config = ScoreConfig(
        data_path=make_videos("clips", {"a": 6}),
        weights=weights("plus"),
        output_dir=tmp_path / "out",
        protocol="shift_net",
        device="cpu",
    )
    with pytest.raises(UserError, match="no video has the 52 frames of a window: give a smaller"):
        test.main(config)


def test_a_stream_of_small_says_once_how_it_ends(weights, make_videos, tmp_path, capsys):
    root = make_videos("frames", {"a": 2, "b": 1})
    options = {"weights": weights("small"), "output_dir": tmp_path / "out", "device": "cpu"}
    inference.main(InferenceConfig(data_path=root, **options))
    printed = capsys.readouterr()
    assert printed.out.count("wraps round the ends of a clip") == 1
    assert "b: a single frame, restored as a still" in printed.out
    assert len(list((tmp_path / "out").rglob("0.png"))) == 2


def test_a_video_file_keeps_its_times(weights, tmp_path):
    """Results come 24 frames after their frames, with the times of their own."""
    times = [33 * index + index % 3 for index in range(27)]
    path = make_file(tmp_path / "clip.mp4", times, size=(16, 24))
    output = tmp_path / "out"
    inference.main(
        InferenceConfig(data_path=path, weights=weights("small"), output_dir=output, device="cpu")
    )
    before, after = (VideoFile(file) for file in (path, output / "clip.mp4"))
    assert after.count == before.count == 27
    stamps = [[key for key, *_ in file.timed()] for file in (before, after)]
    scale = after.time_base / before.time_base
    assert [round(key * scale) for key in stamps[1]] == stamps[0]


def test_the_published_recipes():
    plus = config_of("--model", "Shift-Net", "--precision", "fp32")
    small = config_of("--model", "Shift-Net-s", "--precision", "fp32")
    assert (plus.clip_frames, small.clip_frames) == (23, 13)
    for config in (plus, small):
        assert config.epochs * config.max_batches == 300_000
        assert (config.batch_size, config.patch_size, config.gradient_norm) == (8, 256, 0.01)
    task = SimpleNamespace(config=plus, base_rates=[plus.lr], steps_per_epoch=600)
    rates = [train.VideoTask.schedule(task, step).rates[0] for step in (0, 150_000, 300_000)]
    assert rates == pytest.approx([4e-4, (4e-4 + 1e-7) / 2, 1e-7])


def test_the_tiny_configuration_trains_it_and_a_resumed_run_equals_an_unstopped_one(
    monkeypatch, tmp_path
):
    monkeypatch.setattr("methods.video_deblur.train.ROOT", tmp_path)

    def run(*words: str) -> None:
        train.main(config_of("--config", "tiny", "--model", "Shift-Net", *NARROW_WORDS, *words))

    same = ("--max_batches", "1", "--clip_frames", "4", "--patch_size", "32")
    run("--epochs", "2", "--save", "whole", *same)
    run("--save", "parts", *same)
    run("--epochs", "2", "--save", "parts", "--resume", *same)
    states = []
    for name in ("whole", "parts"):
        path = tmp_path / "experiment" / name / "last.pt"
        states.append(torch.load(path, weights_only=True)["network"])
    whole, parts = states
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    fresh = narrow("plus").state_dict()
    assert any(not torch.equal(whole[key], fresh[key]) for key in whole if "first" in key)
    assert math.isfinite(sum(value.sum() for value in whole.values()))
