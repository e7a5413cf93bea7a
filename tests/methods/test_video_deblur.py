"""The commands of cdvd_tsp, end to end on small data sets in the true folder shapes."""

import json
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from losses import weighted_sum
from methods.video_deblur import inference, test, train
from methods.video_deblur.config import InferenceConfig, TrainConfig
from methods.video_deblur.config import (
    TestConfig as ScoreConfig,
)  # pytest would collect a class called Test...
from models import build
from models.published import load_published
from utils import config as config_module
from utils.config import ROOT, parse
from utils.errors import UserError
from utils.image import read_image, to_8bit, to_tensor, write_image


@pytest.fixture
def restore(small_network, tmp_path):
    def run(data_path, **options):
        main = inference.main
        return main(
            InferenceConfig(
                **{
                    "data_path": data_path,
                    "weights": small_network(),
                    "output_dir": tmp_path / "out",
                }
                | options
            )
        )

    return run


def outputs(folder):
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*.png") if path.parent != folder
    )


def test_without_ground_truth_every_frame_comes_back(make_videos, restore, tmp_path, capsys):
    root = make_videos("frames", {"a": 6, "b": 5}, size=(23, 37))  # odd sizes
    assert restore(root) is None
    assert outputs(tmp_path / "out") == [
        f"{video}/{frame}.png" for video, count in (("a", 6), ("b", 5)) for frame in range(count)
    ]
    assert read_image(tmp_path / "out/a/0.png").shape == (23, 37, 3)
    assert "no ground truth, so no metrics were computed" in capsys.readouterr().out


def test_with_ground_truth_the_ends_are_left_out_as_published(make_videos, restore, tmp_path):
    root = make_videos("clips", {"a": 7})
    scores = restore(root)
    assert outputs(tmp_path / "out") == [f"a/0000{frame}.png" for frame in (2, 3, 4)]
    assert [row["name"] for row in scores.rows] == ["a/00002", "a/00003", "a/00004"]
    assert json.loads((tmp_path / "out/scores.json").read_text())["arithmetic"] == "float32 on cpu"
    assert (tmp_path / "out/contact_sheet.jpg").is_file()
    assert restore(root, border=True).protocol == "cdvd" and len(outputs(tmp_path / "out")) == 7


@pytest.mark.parametrize(
    ("protocol", "scored"), [("cdvd", ["a/00002", "a/00003", "b/00000"]), ("image", None)]
)
def test_what_is_scored_does_not_depend_on_the_stages(
    make_videos, small_network, tmp_path, protocol, scored
):
    """One stage restores all but one frame at each end; the protocol says which count, for
    restoring and for files from elsewhere.
    """
    root, out = make_videos("clips", {"a": 6, "b": 1}), tmp_path / "out"
    scores = test.main(
        ScoreConfig(
            data_path=root, weights=small_network(stages=1), output_dir=out, protocol=protocol
        )
    )
    names = [row["name"] for row in scores.rows]
    assert names == (scored or [*(f"a/0000{frame}" for frame in range(6)), "b/00000"])
    again = test.main(
        ScoreConfig(
            restored_dir=out, sharp_dir=root / "gt", blurry_dir=root / "blur", protocol=protocol
        )
    )
    assert (
        [row["name"] for row in again.rows] == names
        and again.mean == scores.mean
        and again.input_mean == scores.input_mean
    )


def test_borders_are_filled_as_published(make_videos, restore, small_network, tmp_path):
    """Frames 0, 1 are put before the first and the last two after the last: checked against the
    windowed network.
    """
    root = make_videos("frames", {"a": 4}, size=(24, 32))
    restore(root)
    frames = [to_tensor(read_image(root / f"a/{index}.png")) for index in (0, 1, 0, 1, 2, 3, 2, 3)]
    network = inference.load(InferenceConfig(weights=small_network())).network
    for index in range(4):
        with torch.inference_mode():
            expected = network(torch.stack(frames[index : index + 5])[None])[0]
        assert np.array_equal(read_image(tmp_path / f"out/a/{index}.png"), to_8bit(expected))


def test_one_frame_is_a_still(make_videos, restore, tmp_path, capsys):
    restore(make_videos("frames", {"a": 1}, size=(9, 11)))
    assert outputs(tmp_path / "out") == ["a/0.png"]
    assert "a single frame" in capsys.readouterr().out


def test_existing_results_are_skipped_on_request(make_videos, restore, tmp_path, capsys):
    root = make_videos("frames", {"a": 5, "b": 5})
    restore(root)
    stamp = (tmp_path / "out/a/0.png").stat().st_mtime_ns
    (tmp_path / "out/b/3.png").unlink()
    restore(root, skip_existing=True)
    assert "a: all 5 results exist, skipped" in capsys.readouterr().out
    assert (tmp_path / "out/a/0.png").stat().st_mtime_ns == stamp and (
        tmp_path / "out/b/3.png"
    ).is_file()


def test_own_frames_are_never_overwritten(make_videos, restore):
    root = make_videos("frames", {"a": 5})
    with pytest.raises(UserError, match="would overwrite its own frames"):
        restore(root, output_dir=root)


def test_a_truncated_frame_is_named_and_earlier_results_stay(make_videos, restore, tmp_path):
    root = make_videos("frames", {"a": 5, "b": 5})
    path = root / "b" / "3.png"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(UserError, match="b/3.png can't be read"):
        restore(root)
    assert len([name for name in outputs(tmp_path / "out") if name.startswith("a/")]) == 5


def test_weights_of_another_network_are_refused(golden, make_videos, restore, tmp_path):
    torch.save(golden("pwc").state(), tmp_path / "pwc.pytorch")
    with pytest.raises(UserError, match="holds a PWCNet, this command needs a network for videos"):
        restore(make_videos("frames"), weights=tmp_path / "pwc.pytorch")


def test_frames_too_large_for_the_memory_get_a_sentence(make_videos, restore, monkeypatch):
    monkeypatch.setattr("restoration.video.available_memory", lambda device: 500_000)
    # 24x32 frames at 500 + 60*4 bytes per pixel need 568,320 bytes
    with pytest.raises(
        UserError,
        match="a: frames of 32x24 need about .* the largest size of this shape that fits is "
        "about 30x22",
    ):
        restore(make_videos("frames"))


def test_default_data_means_the_published_folders(monkeypatch, tmp_path, make_videos, golden):
    monkeypatch.setattr(inference, "ROOT", tmp_path)
    monkeypatch.setattr("models.WEIGHTS_FOLDER", tmp_path / "pretrain_models")
    with pytest.raises(UserError, match="no folder at .*dataset/DVD/test"):
        inference.main(InferenceConfig(default_data="DVD"))
    make_videos("clips", {"IMG_0003": 5}, size=(64, 64), root=tmp_path / "dataset/GOPRO/test")
    with pytest.raises(UserError, match="no weights at CDVD_TSP_GOPRO.pt"):
        inference.main(InferenceConfig(default_data="GOPRO"))
    (tmp_path / "pretrain_models").mkdir()
    torch.save(golden("cdvd_tsp").state(), tmp_path / "pretrain_models/CDVD_TSP_GOPRO.pt")
    inference.main(InferenceConfig(default_data="GOPRO"))
    assert outputs(tmp_path / "infer_results/GOPRO") == ["IMG_0003/00002.png"]


def test_published_size_scores_equal_an_independent_recomputation(golden, make_videos, tmp_path):
    """Everything once more the slow way: windows by hand, rounding by numpy, SSIM by
    scikit-image.
    """
    from skimage.metrics import structural_similarity

    root = make_videos("clips", {"a": 6}, size=(36, 44))
    torch.save(golden("cdvd_tsp").state(), tmp_path / "w.pt")
    scores = test.main(
        ScoreConfig(data_path=root, weights=tmp_path / "w.pt", output_dir=tmp_path / "out")
    )
    network = load_published("cdvd_tsp", golden("cdvd_tsp").state())
    frames = [
        np.float32(cv2.imread(str(path))[..., ::-1]) / 255
        for path in sorted((root / "blur/a").iterdir())
    ]
    for row, middle in zip(scores.rows, (2, 3), strict=True):
        clip = np.stack(frames[middle - 2 : middle + 3]).transpose(0, 3, 1, 2)
        with torch.inference_mode():
            output = (
                network(torch.from_numpy(clip)[None])[0]
                .numpy()
                .transpose(1, 2, 0)
                .astype(np.float64)
            )
        restored = np.rint(np.clip(output, 0, 1) * 255)[4:-4, 4:-4]
        sharp = cv2.imread(str(root / f"gt/a/0000{middle}.png"))[4:-4, 4:-4, ::-1].astype(
            np.float64
        )
        assert row["psnr"] == pytest.approx(
            10 * np.log10(255**2 / np.mean((restored - sharp) ** 2)), abs=2e-3
        )
        settings = {
            "gaussian_weights": True,
            "sigma": 1.5,
            "use_sample_covariance": False,
            "data_range": 255,
            "channel_axis": -1,
        }
        assert row["ssim"] == pytest.approx(
            structural_similarity(restored, sharp, **settings), abs=1e-4
        )
    assert json.loads((tmp_path / "out/scores.json").read_text())["mean"]["psnr"] == np.mean(
        [row["psnr"] for row in scores.rows]
    )


def test_scoring_files_needs_no_network(make_videos, restore, tmp_path):
    root = make_videos("clips", {"a": 6, "b": 8})
    restored = restore(root)
    folders = {
        "blurry_dir": root / "blur",
        "sharp_dir": root / "gt",
        "restored_dir": tmp_path / "out",
    }
    again = test.main(ScoreConfig(**folders, output_dir=tmp_path / "again"))
    assert again.mean == restored.mean and again.input_mean == restored.input_mean
    (tmp_path / "out/b/00004.png").unlink()
    with pytest.raises(UserError, match="lacks 1 of the 6 images to score, the first is b/00004"):
        test.main(ScoreConfig(**folders))
    write_image(tmp_path / "out/b/00004.png", np.zeros((24, 32, 3), np.uint8))
    write_image(tmp_path / "out/c/00001.png", np.zeros((24, 32, 3), np.uint8))
    with pytest.raises(UserError, match="holds 1 images without ground truth.*c/00001"):
        test.main(ScoreConfig(**folders))
    with pytest.raises(UserError, match="give --restored_dir"):
        test.main(ScoreConfig(sharp_dir=root))


def test_table_says_what_is_missing(capsys, tmp_path):
    test.main(ScoreConfig(table="DVD", output_dir=tmp_path))
    text = capsys.readouterr().out
    assert "32.13" in text and ("not run: needs" in text or "difference" in text)
    assert not re.search("^GOPRO", text, re.MULTILINE)  # of CDVD-TSP, whose name holds "DVD"
    test.main(ScoreConfig(table="dvd", output_dir=tmp_path))
    assert capsys.readouterr().out == text
    with pytest.raises(UserError, match="no data set or network 'KITTI': choose from DVD; GOPRO"):
        test.main(ScoreConfig(table="KITTI"))


def test_shipped_network_improves_the_sample(tmp_path):
    """The main job: the sample gets clearly better, no frame gets worse."""
    scores = inference.main(InferenceConfig(output_dir=tmp_path))
    assert scores.mean["psnr"] > scores.input_mean["psnr"] + 0.3
    assert all(row["psnr"] > row["input_psnr"] - 0.1 for row in scores.rows)
    sheet = tmp_path / "contact_sheet.jpg"
    assert read_image(sheet).shape[1] > 3 * 200 and sheet.stat().st_size <= 2_000_000


@pytest.fixture
def experiments(monkeypatch, tmp_path):
    monkeypatch.setattr(train, "ROOT", tmp_path)
    return tmp_path / "experiment"


def tiny(*words):
    return parse(TrainConfig, "video_deblur", "train", ["--config", "tiny", *words])


def test_training_runs_resumes_and_its_weights_restore(experiments, restore, make_videos, tmp_path):
    train.main(tiny("--epochs", "2"))
    train.main(tiny("--save", "parts"))
    train.main(tiny("--save", "parts", "--epochs", "2", "--resume"))
    whole, parts = (
        torch.load(experiments / name / "last.pt", weights_only=True)
        for name in ("cdvd_tsp_tiny", "parts")
    )
    assert whole["step"] == parts["step"] == 8
    assert all(
        torch.equal(whole["network"][key], parts["network"][key]) for key in whole["network"]
    )
    restore(make_videos("frames"), weights=experiments / "parts" / "last.safetensors")
    assert len(outputs(tmp_path / "out")) == 13
    assert "save: parts" in (experiments / "parts" / "config.yaml").read_text()


def test_a_few_steps_lower_the_published_loss(experiments, make_videos):
    root = make_videos("clips", {"a": 5, "b": 5}, size=(40, 48))
    for path in (root / "blur").rglob(
        "*.png"
    ):  # a defect that few steps can mend: everything is too dark
        write_image(
            path, (read_image(root / "gt" / path.relative_to(root / "blur")) * 0.8).astype(np.uint8)
        )
    config = tiny(
        "--data_path",
        str(root),
        "--val_path",
        str(root),
        "--patch_size",
        "32",
        "--loss",
        "1*L1+2*HEM",
        "--max_batches",
        "40",
    )
    before = train.VideoTask(config).evaluate().metrics["psnr"]
    metrics = train.main(config)
    assert metrics["psnr"] > before + 1
    assert metrics["psnr_input"] == before  # the network starts at its input


def test_published_loss_is_on_all_stages_side_by_side():
    from losses.pixel import hard_pixels, l1

    task = train.VideoTask(tiny("--loss", "1*L1+2*HEM"))
    torch.manual_seed(0)
    torch.nn.init.normal_(task.network.reconstruction.outward[-1].weight, std=0.05)
    batch = {"blurry": torch.rand(2, 5, 3, 16, 24), "sharp": torch.rand(2, 5, 3, 16, 24)}
    losses = task.step(batch, [torch.Generator().manual_seed(seed) for seed in (0, 1)], step=0)
    first, second = task.network.forward_stages(batch["blurry"])
    restored = torch.cat([first[:, 0], first[:, 1], first[:, 2], second[:, 0]], 1)
    sharp = batch["sharp"]
    truth = torch.cat([sharp[:, 1], sharp[:, 2], sharp[:, 3], sharp[:, 2]], 1)
    torch.testing.assert_close(losses["L1"], l1(restored, truth))
    error = (restored - truth).abs()
    hard = (error * hard_pixels(error, 0.5)).mean()
    assert 2 * hard < losses["HEM"] < 2 * hard + 0.2 * error.mean() * 1.5


def test_published_rates():
    config = parse(TrainConfig, "video_deblur", "train", ["--config", "paper"])
    assert (config.lr, config.flow_lr, config.epochs, config.batch_size, config.patch_size) == (
        1e-4,
        1e-6,
        500,
        8,
        256,
    )
    task = train.VideoTask.__new__(train.VideoTask)
    task.config, task.steps_per_epoch, task.base_rates = config, 683, [config.lr, config.flow_lr]
    assert task.schedule(200 * 683 - 1).rates == (1e-4, 1e-6)
    assert task.schedule(200 * 683).rates == (5e-5, 5e-7)  # from epoch 201
    assert task.schedule(400 * 683).rates == (2.5e-5, 2.5e-7)


def test_warm_start_trains_on_single_frames(experiments, monkeypatch):
    """The first steps neither estimate flow nor look at neighbours, and teach what a stage does
    with a still.
    """
    task = train.VideoTask(
        tiny("--warm_start", "2", "--warm_batch_size", "3", "--gate", "--loss", "1*PSNR")
    )
    phase = task.schedule(1)
    batch = next(iter(task.loader(phase, 1)))
    assert batch["blurry"].shape == (3, 1, 3, 64, 64)
    torch.nn.init.normal_(task.network.reconstruction.outward[-1].weight, std=0.05)
    monkeypatch.setattr(task.network.flow, "flow_between", None)
    losses = task.step(batch, [torch.Generator()] * 3, step=1)
    still = task.network.warm_up(batch["blurry"][:, 0])
    expected = torch.stack(
        [
            10 * torch.log10(((a - b) ** 2).mean() + 1e-3)
            for a, b in zip(still, batch["sharp"][:, 0])
        ]
    ).mean()
    torch.testing.assert_close(losses["PSNR"], expected)
    assert next(iter(task.loader(task.schedule(2), 2)))["blurry"].shape == (2, 5, 3, 64, 64)
    train.main(tiny("--warm_start", "2", "--epochs", "1"))  # and the loop changes over
    assert torch.load(experiments / "cdvd_tsp_tiny/last.pt", weights_only=True)["step"] == 4


def test_validation_looks_at_the_worst_video_and_at_sharp_ones(experiments, make_videos):
    root = make_videos("clips", {"a": 6, "b": 7, "same": 5}, size=(30, 42))  # no multiples of 8
    for path in (root / "blur/same").iterdir():
        shutil.copy(root / "gt/same" / path.name, path)
    task = train.VideoTask(tiny("--val_path", str(root), "--best_by", "worst_gain"))
    torch.nn.init.normal_(task.network.reconstruction.outward[-1].bias, std=0.05)
    validation = task.evaluate()
    metrics = validation.metrics
    assert next(iter(metrics)) == "worst_gain" and set(validation.examples) == {"a", "b", "same"}
    rows, inner_stage1 = {}, {}
    for video in ("a", "b", "same"):
        frames = [
            [to_tensor(read_image(path)) for path in sorted((root / kind / video).iterdir())]
            for kind in ("blur", "gt")
        ]
        padded = [
            torch.nn.functional.pad(frame, (0, 6, 0, 2), mode="reflect") for frame in frames[0]
        ]
        seen = {}

        def observe(stage, index, frame, seen=seen):
            seen.setdefault(stage, []).append(frame[0, :, :30, :42])

        with torch.inference_mode():
            restored = [
                frame[0, :, :30, :42]
                for frame in task.network.stream((frame[None] for frame in padded), observe)
            ]

        def psnr(one, two):
            return 10 * np.log10(1 / ((one - two)[:, 4:-4, 4:-4] ** 2).mean().item())

        inner = list(zip(restored, frames[0][2:-2], frames[1][2:-2], strict=True))
        rows[video] = [
            (psnr(ours, sharp), psnr(blurry, sharp) if video != "same" else 100, psnr(ours, blurry))
            for ours, blurry, sharp in inner
        ]
        inner_stage1[video] = [
            psnr(ours, sharp) for ours, sharp in zip(seen[1][1:-1], frames[1][2:-2], strict=True)
        ]
    assert metrics["psnr_stage1"] == pytest.approx(
        np.mean(sum(inner_stage1.values(), [])), abs=1e-3
    )
    gains = [np.mean([ours - before for ours, before, _ in rows[video]]) for video in ("a", "b")]
    assert metrics["worst_gain"] == pytest.approx(min(gains), abs=1e-3)
    assert metrics["mean_gain"] == pytest.approx(
        np.mean([ours - before for video in ("a", "b") for ours, before, _ in rows[video]]),
        abs=1e-3,
    )
    assert metrics["psnr"] == pytest.approx(
        np.mean([ours for video in rows.values() for ours, _, _ in video]), abs=1e-3
    )
    assert metrics["min_fidelity"] == pytest.approx(
        np.mean([fidelity for _, _, fidelity in rows["same"]]), abs=1e-3
    )


def test_validation_takes_the_same_kind_of_blur(make_videos):
    root = make_videos("gopro", {"a": 6})
    for path in root.glob("*/blur"):
        shutil.move(path, path.with_name("blur_gamma"))
    (video,) = train.VideoTask(
        tiny("--val_path", str(root), "--gopro_blur", "blur_gamma")
    ).validation_set
    assert video.blurry[0].parent.name == "blur_gamma"


def test_two_processes_train_as_one(make_videos, run_command, tmp_path):
    """torchrun with the same total batch: losses, validation and weights of one process. Batches of
    3 are shared 2 + 1.
    """
    root = make_videos("clips", {"a": 6, "b": 6}, size=(40, 48))
    words = ["train.py", "cdvd_tsp", "--config", "tiny", "--data_path", root, "--val_path", root]
    words += ["--patch_size", 32, "--loss", "1*L1+2*HEM", "--batch_size", 3, "--max_batches", 5]
    words = [*map(str, words), "--average", "0.9", "--save"]
    assert run_command(" ".join(words), tmp_path / "one") == (0, "")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *launcher, *words, tmp_path / "two"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    for table in ("loss.csv", "metrics.csv"):
        one, two = (
            np.loadtxt(tmp_path / name / table, delimiter=",", skiprows=1)
            for name in ("one", "two")
        )
        assert np.allclose(one, two, rtol=1e-5)
    one, two = (
        torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("one", "two")
    )
    for part in ("network", "average"):
        for key, value in one[part].items():
            assert torch.allclose(value.float(), two[part][key].float(), rtol=1e-4, atol=1e-6), key


@pytest.mark.parametrize("text", ["", "L1", "1*L2", "1*L1+", "1*L1-2*HEM"])
def test_unreadable_losses_are_named(text):
    with pytest.raises(UserError, match="can't read"):
        weighted_sum(text, train.LOSSES)
    assert weighted_sum("1*L1 + 2*HEM", train.LOSSES) == {"L1": 1, "HEM": 2}


def test_blurry_clips_are_not_taken_for_sharp_videos(make_videos):
    path = str(make_videos("clips"))
    with pytest.raises(UserError, match="holds blurry and sharp clips, .* give --source clips"):
        train.VideoTask(tiny("--source", "videos", "--data_path", path))


def test_training_without_flow_weights_is_loud(make_videos, capsys):
    root = make_videos("clips")
    words = [
        "--data_path",
        str(root),
        "--patch_size",
        "16",
        "--val_path",
        str(root),
        "--width",
        "4",
        "--device",
        "cpu",
    ]
    train.VideoTask(parse(TrainConfig, "video_deblur", "train", words))
    assert "flow network starts from random values" in capsys.readouterr().err


def test_the_sample_is_made_once_and_whole(monkeypatch, tmp_path):
    from data import sample

    monkeypatch.setattr(sample, "ROOT", tmp_path)
    folder = sample.sample_folder()
    files = sorted(path for path in folder.rglob("*.png"))
    assert len(files) == 2 * 2 * sample.FRAMES
    stamps = [path.stat().st_mtime_ns for path in files]
    assert (
        sample.sample_folder() == folder and [path.stat().st_mtime_ns for path in files] == stamps
    )
    shutil.rmtree(folder)
    monkeypatch.setattr(
        sample, "write_clip", lambda *arguments: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        sample.sample_folder()
    assert not folder.exists() and list((tmp_path / "dataset").iterdir()) == []
    assert config_module.ROOT == ROOT


def test_a_sample_that_two_processes_make_at_once_is_there(monkeypatch, tmp_path):
    from data import sample

    def write_clip(root, name, frames):
        """The other process is done first."""
        root.mkdir(exist_ok=True)
        (root / "mine.png").touch()
        (tmp_path / "dataset/sample").mkdir(exist_ok=True)
        (tmp_path / "dataset/sample/theirs.png").touch()

    monkeypatch.setattr(sample, "ROOT", tmp_path)
    monkeypatch.setattr(sample, "picture_clip", lambda *arguments: ([], []))
    monkeypatch.setattr(sample, "write_clip", write_clip)
    assert [path.name for path in sample.sample_folder().iterdir()] == ["theirs.png"]
    assert [path.name for path in (tmp_path / "dataset").iterdir()] == ["sample"]


def test_frames_beyond_the_budget_are_restored_in_tiles(make_videos, restore, monkeypatch, capsys):
    """One stage of finite reach gives the same frame to a grey level, one with channel attention on
    average; an error where not even the flow fits.
    """
    root = make_videos("frames", {"a": 3}, size=(400, 496))
    restorer = inference.load(InferenceConfig())
    network = restorer.network
    torch.manual_seed(0)
    residual = build(
        "cdvd_tsp",
        stages=1,
        width=8,
        blocks=1,
        kernel_size=3,
        downscale=2,
        global_skip=True,
        flow="dis",
    ).eval()
    flow = network.stream_bytes_per_pixel * 400 * 496
    free = (flow + network.reconstruction_bytes_per_pixel * 401 * 401) / 0.7
    monkeypatch.setattr("restoration.video.available_memory", lambda device: free)
    triplet = [to_tensor(read_image(root / f"a/{index}.png"))[None] for index in range(3)]
    with torch.inference_mode():
        whole = network.restore_triplet(*triplet)
        assert "frames of 496x400 are restored in tiles of 400 px" in restorer.plan_memory(
            (400, 496)
        )
        assert network.tile == 400
        tiled = network.restore_triplet(*triplet)
        residual_whole, residual.tile = residual.restore_triplet(*triplet), 400
        residual_tiled = residual.restore_triplet(*triplet)
    assert not torch.equal(whole, tiled) and (whole - tiled).abs().mean() <= 1 / 255
    assert (
        not torch.equal(residual_whole, residual_tiled)
        and (residual_whole - residual_tiled).abs().max() <= 1 / 255
    )
    monkeypatch.setattr("restoration.video.available_memory", lambda device: flow)
    with pytest.raises(
        UserError,
        match=r"a: frames of 496x400 need about 0.1 GB for the flow alone, .* that fits is about "
        r"414x334",
    ):
        restore(root)
