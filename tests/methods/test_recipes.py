"""train.py --explain: the figures of every published recipe, and what they mean for data."""

import re
from importlib import import_module

import pytest
import yaml

from methods.explain import WIDTH, documented
from models import build, load
from tests.commands import pattern
from utils.config import ROOT, parse
from utils.image import write_image

# Figures of the papers and the authors' programs.
FIGURES = {
    "image_deblur --model SRN": [
        "6,881,251 parameters", "1*MSE, each term summed", "epsilon 1e-08",
        "lr (1 - step / steps)^0.3", "131 steps per epoch of 2,103 samples",
        "524,000 steps of 16", "4,000 epochs", "256 px [",
    ],
    "image_deblur --model DeepDeblur": [
        "11,721,321 parameters", "blur_gamma", "131,000 steps of 16", "5e-05 at 65,500",
        "2.5e-05 at 98,250", "1.25e-05 at 130,999", "U(0.5, 1.5)", "|N(0, 2)|",
    ],
    "image_deblur --model NoBlur": [
        "8,600,067 parameters", "epsilon 1e-07", "constant", "40 epochs", "1*MSE", "of 64,",
    ],
    "image_deblur --model Restormer": [
        "26,126,644 parameters", "weight decay 0.0001", "clipped to 0.01", "300,000 steps",
        "after 92,000 steps at the full rate", "random crop of 384 px", "1e-06 at 299,999",
        "128 px x 64 for 92,000, 160 px x 40 for 64,000, 192 px x 32 for 48,000, 256 px x 16 for "
        "36,000, 320 px x 8 for 36,000, 384 px x 8 for 24,000",
    ],
    "image_deblur --model MIMO-UNet+": [
        "16,107,651 parameters", "1*L1+0.1*FFT", "526 steps per epoch", "1,578,000 steps of 4",
        "3,000 epochs", "times 0.5 at epochs [500, 1000, 1500, 2000, 2500]", "left-right flip (p",
    ],
    "image_deblur --model NAFNet-32": [
        "17,111,907 parameters", "200,000 steps of 32", "betas 0.9 and 0.9,", "weight decay 0.001",
        "1e-07 at 199,999", "MSE + 1e-08", "tiles of 512 px every 256 px", "16,824 samples",
    ],
    "image_deblur --model NAFNet-64": ["67,888,835 parameters", "400,000 steps of 64"],
    "video_deblur": [
        "16,187,045 parameters", "1*L1+2*HEM", "flow network 1e-06", "5e-05 at 170,750",
        "2.5e-05 at 341,499", "8 clips", "the first 100 frames", "at most 683 steps (DVD's)",
    ],
    "video_deblur --model Shift-Net+": [
        "12,994,742 parameters", "betas 0.9 and 0.99,", "300,000 in all", "1e-07 at 299,999",
        "windows of 23 frames of GOPRO train", "clipped to 0.01",
    ],
    "irp": [
        "3,850 shots", "241 steps per epoch", "7,230 steps of 16", "1e-05 at 3,615",
        "1e-06 at 5,422", "fresh optimiser", "IMAGENET1K_V1", "share batch norm",
    ],
    "hypercut": [
        "2,315,552 parameters", "adamax, betas 0.9 and 0.999", "0.9 every 3 epochs", "100 epochs",
        "1,125 steps per epoch of 9,000 samples", "validation every 5 epochs", "random order",
    ],
    "blur2vid --backbone Jin": ["18,213,376 parameters", "patch of 240 px", "0.2 sum over"],
    "blur2vid --backbone Purohit": ["4,553,708 parameters", "0.02 mean length", "four scales"],
}  # fmt: skip


@pytest.mark.parametrize("words", FIGURES)
def test_figures_of_the_recipes(words):
    text = documented(words)
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert len(text.splitlines()) <= 40  # one screen
    said = re.sub(r"\s+", " ", text)
    missing = [figure for figure in FIGURES[words] if figure not in said]
    assert not missing, said
    assert "[yours]" not in said
    assert all(source in said for source in ("[paper]", "[program]", "[ours]"))


def test_options_that_differ_are_the_users():
    assert "8,056,609 parameters" in documented("image_deblur --model SRN --variant lstm")
    said = documented("image_deblur --model SRN --batch_size 8 --lr 1e-3")
    marked = [line.split()[0] for line in said.splitlines() if line.endswith("[yours]")]
    assert "262 steps per epoch" in said
    assert "batch" in marked and "optimiser" not in marked
    assert re.search(r"learning rate (.|\n)*?\[yours\]", said)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("image_deblur", ["--model", "NAFNet-32", "--network", "{width: 4, middle: 1}"]),
        ("image_deblur", ["--model", "Restormer", "--network", "{width: 8, blocks: [1, 1, 1, 1]}"]),
    ],
)
def test_given_data_are_counted_and_timed(method, words, tmp_path):
    for kind in ("blurry", "sharp"):
        for number in range(3):
            write_image(tmp_path / f"pairs/{kind}/{number}.png", pattern((160, 180), number))
    data = ["--data_path", str(tmp_path / "pairs"), "--device", "cpu", "--tile_size", "0"]
    if "Restormer" in words:
        words = [*words, "--phases", "32x4:10", "64x2:10", "--steps", "20", "--crop_size", "64"]
    else:
        words = [*words, "--patch_size", "32", "--batch_size", "2", "--steps", "20"]
    module = import_module(f"methods.{method}.recipe")
    config_class = import_module(f"methods.{method}.config").TrainConfig
    config = parse(config_class, method, "train", [*words, *data])
    plan = module.plan(config)
    # 10 steps of 4 patches and 10 of 2 that are four times as large; 20 steps of 2
    assert plan.work == (10 * 4 + 10 * 2 * 4 if "Restormer" in words else 40)
    assert (plan.samples, plan.steps) == (3, 20) and plan.sample > 0


def test_the_command_explains_and_trains_nothing(run_command, monkeypatch, capsys, tmp_path):
    from methods import run

    monkeypatch.setattr(
        "sys.argv", ["train.py", "hypercut", "--explain", "--data_path", str(tmp_path / "none")]
    )
    assert run("train") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("hypercut network") and "is not there: nothing was counted" in said
    code, error = run_command("test.py hypercut --explain")
    assert code == 2 and "unknown option --explain" in error


def test_the_video_recipe_starts_from_the_weights_that_it_names():
    path = ROOT / "methods/video_deblur/configs/default.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    named = values["train"]
    network = build("cdvd_tsp", **values["network"])
    network.start_from(load(ROOT / named["weights"]), start_blocks=named["start_blocks"])
    assert network.reconstruction.encoders[0][0].beta.any(), "a trained block"
