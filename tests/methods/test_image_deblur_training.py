"""train.py image_deblur: every published recipe on small networks and pictures."""

import numpy as np
import pytest
import torch

from data.pairs import FolderPairs, NoBlurPairs, Variation
from data.photo_catalog import find_pairs
from losses.pixel import fft_l1
from methods.image_deblur import inference, train
from methods.image_deblur.config import InferenceConfig, TrainConfig
from methods.image_deblur.names import MODELS, chosen_model
from methods.image_deblur.training_data import source_of
from models import build, load
from utils.checkpoint import save_weights
from utils.config import parse
from utils.errors import UserError
from utils.image import read_image, write_image
from utils.log import RunLog
from utils.scenes import CutDetector

SMALL = {
    "SRN": "{width: 4}",
    "DeepDeblur": "{width: 8, blocks: 1}",
    "NoBlur": "{width: 4}",
    "LightDehaze": "{width: 8}",
    "Restormer": "{width: 8, blocks: [1, 1, 1, 1], refinement: 1}",
    "MIMO-UNet+": "{width: 8, blocks: 1}",
    "NAFNet-32": "{width: 8, encoder: [1], middle: 1, decoder: [1]}",
}


@pytest.fixture
def experiments(monkeypatch, tmp_path):
    monkeypatch.setattr(train, "ROOT", tmp_path)
    return tmp_path / "experiment"


@pytest.fixture
def pairs(make_videos):
    """Four pairs of 72x88 px; a defect that few steps can mend: the blurry ones are too dark."""
    root = make_videos("gopro_flat", {"a": 2, "b": 2}, size=(72, 88))
    for path in (root / "input").iterdir():
        write_image(path, (read_image(root / "target" / path.name) * 0.7).astype(np.uint8))
    return root


def config_of(*words):
    return parse(
        TrainConfig, "image_deblur", "train", [*words, "--device", "cpu", "--workers", "0"]
    )


@pytest.fixture
def losses(monkeypatch):
    """Every step's loss."""
    seen, method = [], RunLog.losses
    monkeypatch.setattr(
        RunLog,
        "losses",
        lambda self, step, values, rate: (
            seen.append(sum(values.values())),
            method(self, step, values, rate),
        ),
    )
    return seen


@pytest.mark.parametrize("model", SMALL)
def test_a_few_steps_of_every_recipe_lower_its_loss(experiments, pairs, losses, model):
    words = [
        "--data_path",
        str(pairs),
        "--val_path",
        str(pairs),
        "--network",
        SMALL[model],
        "--save",
        "run",
        "--seed",
        "3",
    ]
    words += ["--epochs", "0", "--steps", "30", "--val_every", "15", "--lr", "2e-3"]
    words += (
        ["--phases", "32x2:20", "48x2:10"]
        if model == "Restormer"
        else ["--batch_size", "2", "--patch_size", "32"]
    )
    config = config_of("--model", model, *words)
    published = config_of("--model", model)
    assert (config.loss, config.optimizer, config.augment) == (
        published.loss,
        published.optimizer,
        published.augment,
    )
    metrics = train.main(config)
    assert metrics.keys() == {"psnr", "psnr_input", "worst_gain"} and metrics["psnr_input"] < 20
    first, last = np.mean(losses[:5]), np.mean(losses[-5:])
    assert len(losses) == 30 and last < first - 0.1 * abs(first), losses
    network = load(experiments / "run" / "last.safetensors")
    assert type(network).__name__ == type(train.DeblurTask(config).restorer).__name__
    assert (experiments / "run" / "validation.jpg").is_file()


def test_sizes_that_a_recipe_would_not_use_are_refused():
    """Restormer's come from its phases."""
    for words in (["--batch_size", "4"], ["--patch_size=64"]):
        with pytest.raises(
            UserError,
            match="says nothing beside the recipe's phases .*128x64:92000.*: give --phases instead",
        ):
            config_of("--model", "Restormer", *words)
    assert config_of(
        "--model", "Restormer", "--batch_size", "4", "--phases", "64x4:100"
    ).phases == ["64x4:100"]


def test_sbdds_pairs_are_trained_on_by_every_recipe():
    """train.py sbdd: data, light and kernels of SBDD over the recipe of --model."""

    def of(*words):
        return parse(TrainConfig, "image_deblur", "train", list(words), "sbdd", "sbdd")

    for model in ("SRN", "DeepDeblur", "MIMO-UNet+", "NAFNet-32"):
        published, found = config_of("--model", model), of("--model", model)
        for name in (
            "loss",
            "optimizer",
            "lr",
            "schedule",
            "patch_size",
            "batch_size",
            "epochs",
            "steps",
        ):
            assert getattr(found, name) == getattr(published, name), (model, name)
        assert (found.source, found.augment_illumination, found.kernel_size, found.val_path) == (
            "pictures",
            True,
            65,
            None,
        )
        assert found.augment == published.augment
    assert of().augment == ["mirror"] and of().model == "SRN"


def test_recipes_are_the_published_ones():
    restormer = train.parse_phases(config_of("--model", "Restormer"))
    assert [(size, batch // 8) for size, batch, _ in restormer] == [
        (128, 8),
        (160, 5),
        (192, 4),
        (256, 2),
        (320, 1),
        (384, 1),
    ]
    assert (
        sum(steps for _, _, steps in restormer)
        == config_of("--model", "Restormer").steps
        == 300_000
    )
    config = config_of("--model", "Restormer")
    rates = [train.rate(config, step, 300_000, 1) for step in (0, 92_000, 196_000, 300_000)]
    assert rates == pytest.approx([3e-4, 3e-4, (3e-4 + 1e-6) / 2, 1e-6])
    config = config_of("--model", "SRN")
    assert train.rate(config, 750, 1000, 1) == pytest.approx(1e-4 * 0.25**0.3)
    config = config_of("--model", "DeepDeblur")
    assert [train.rate(config, epoch * 10, 10_000, 10) for epoch in (499, 500, 749, 750, 900)] == [
        1e-4,
        5e-5,
        5e-5,
        2.5e-5,
        1.25e-5,
    ]
    config = config_of("--model", "NAFNet-64")
    assert (config.steps, config.batch_size, train.rate(config, 400_000, 400_000, 1)) == (
        400_000,
        64,
        pytest.approx(1e-7),
    )


def test_stopping_and_resuming_across_a_phase_changes_nothing(experiments, pairs):
    words = [
        "--config",
        "tiny",
        "--data_path",
        str(pairs),
        "--phases",
        "32x2:3",
        "48x1:9",
        "--average",
        "0.9",
    ]
    train.main(config_of(*words, "--steps", "6", "--save", "whole"))
    train.main(config_of(*words, "--steps", "2", "--save", "parts", "--schedule", "constant"))
    train.main(config_of(*words, "--steps", "6", "--save", "constant", "--schedule", "constant"))
    for steps in ("4", "6"):
        train.main(
            config_of(
                *words, "--steps", steps, "--save", "parts", "--schedule", "constant", "--resume"
            )
        )
    first, second = (
        torch.load(experiments / name / "last.pt", weights_only=True)["network"]
        for name in ("constant", "parts")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_adversarial_term_teaches_both_sides(pairs):
    config = config_of(
        "--model",
        "DeepDeblur",
        "--network",
        SMALL["DeepDeblur"],
        "--data_path",
        str(pairs),
        "--val_path",
        "null",
    )
    task = train.DeblurTask(parse_like(config, loss="1*L1+0.5*ADV"))
    batch = {"blurry": torch.rand(1, 3, 256, 256), "sharp": torch.rand(1, 3, 256, 256)}
    losses = task.step(batch, [], 0)
    assert losses.keys() == {"L1", "ADV", "discriminator"}
    restorer, discriminator = (
        list(task.restorer.parameters()),
        list(task.network.discriminator.parameters()),
    )
    grads = torch.autograd.grad(
        losses["ADV"], [*restorer, *discriminator], retain_graph=True, allow_unused=True
    )
    assert all(grad is not None for grad in grads[: len(restorer)][:3]) and all(
        grad is None for grad in grads[len(restorer) :]
    )
    grads = torch.autograd.grad(
        losses["discriminator"], [*restorer, *discriminator], allow_unused=True
    )
    assert all(grad is None for grad in grads[: len(restorer)]) and all(
        grad is not None for grad in grads[len(restorer) :]
    )
    with pytest.raises(UserError, match="needs --patch_size 256, not 64"):
        task.step({key: image[..., :64, :64] for key, image in batch.items()}, [], 0)


def parse_like(config, **changes):
    from dataclasses import replace

    return replace(config, **changes)


def test_gray_networks_learn_luminance(pairs):
    task = train.DeblurTask(
        config_of(
            "--model",
            "lstm",
            "--network",
            "{width: 4}",
            "--data_path",
            str(pairs),
            "--val_path",
            "null",
        )
    )
    assert task.name == "srn" and task.restorer.lstm is not None
    image = torch.rand(1, 3, 16, 16)
    seen = []
    task.forward = lambda blurry: seen.append(blurry) or task.restorer.scales_of(blurry)
    assert task.step({"blurry": image, "sharp": image}, [], 0)["MSE"] == 0
    torch.testing.assert_close(
        seen[0][:, 0], 0.2989 * image[:, 0] + 0.587 * image[:, 1] + 0.114 * image[:, 2]
    )


def test_fourier_loss_by_hand():
    assert fft_l1(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)) == 0
    flat = torch.full((1, 1, 4, 4), 0.5)  # one coefficient, 16 * 0.5, of 2 * 16 numbers
    assert fft_l1(flat, torch.zeros(1, 1, 4, 4)) == 8 / 32


def test_sources_are_told_apart(tmp_path, pairs):
    assert source_of(pairs) == "pairs"
    write_image(
        tmp_path / "sharp_only/a.png",
        np.random.default_rng(0).integers(0, 256, (200, 220, 3), dtype=np.uint8),
    )
    assert source_of(tmp_path / "sharp_only") == "pictures"
    (tmp_path / "sharp_only" / "0.tar").touch()
    assert source_of(tmp_path / "sharp_only") == "shards"
    words = [
        "--config",
        "sbdd",
        "--data_path",
        str(tmp_path / "sharp_only"),
        "--kernel_size",
        "33",
        "--patch_size",
        "64",
    ]
    item = train.DeblurTask(config_of(*words, "--network", "{width: 4}")).sets[64][0, 0]
    assert item["blurry"].shape == item["sharp"].shape == (3, 64, 64) and not torch.equal(
        item["blurry"], item["sharp"]
    )


def test_a_share_of_the_pairs_are_exposures_over_videos(
    experiments, pairs, make_videos, tmp_path, monkeypatch
):
    monkeypatch.setattr(CutDetector, "__call__", lambda *_: False)  # random frames seem to be cuts
    videos = make_videos("frames", {"walk": 8, "drive": 8}, size=(72, 88))
    words = [
        "--config",
        "tiny",
        "--data_path",
        str(pairs),
        "--video_path",
        str(videos),
        "--cache_path",
        str(tmp_path / "cache"),
    ]
    task = train.DeblurTask(config_of(*words, "--patch_size", "32", "--video_fraction", "0.5"))
    names = [
        task.sets[32][epoch, index]["name"].split("/")[0]
        for epoch in range(10)
        for index in range(4)
    ]
    assert {"walk", "drive"} < set(names) and 10 < sum(
        name in ("walk", "drive") for name in names
    ) < 30


def test_blurry_pictures_are_never_taken_for_sharp(tmp_path, pairs):
    write_image(tmp_path / "mine/blurry/a.png", np.zeros((200, 200, 3), np.uint8))
    with pytest.raises(UserError, match="holds blurry pictures alone"):
        source_of(tmp_path / "mine")
    assert {path.parent.name for path in NoBlurPairs(pairs, 128, 1, Variation()).pictures} == {
        "target"
    }


def test_no_blur_rule(tmp_path):
    write_image(
        tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    )
    data = NoBlurPairs(tmp_path, 128, 1, Variation())
    assert len(data) == 12
    first, again = data[2, 7], data[2, 7]
    assert torch.equal(first["blurry"], again["blurry"]) and first["blurry"].shape == (3, 128, 128)
    assert first["blurry"].std() < first["sharp"].std()


def test_tiles_of_the_published_recipe(tmp_path):
    """A GoPro picture of 1280x720 gives 8 tiles of 512 px: 16,824 of 2,103 pictures, as the authors
    of NAFNet count.
    """
    rng = np.random.default_rng(0)
    for kind in ("blur", "sharp"):
        write_image(tmp_path / f"v/{kind}/1.png", cv2_noise(rng))
    pictures = find_pairs(tmp_path, need_sharp=True).pictures
    data = FolderPairs(pictures, 256, 1, Variation(turn=True), 512, 256)
    assert len(data) * 2103 == 16_824
    assert [corner for _, corner in data.items][:5] == [
        (0, 0),
        (0, 256),
        (0, 512),
        (0, 768),
        (208, 0),
    ]
    assert len(FolderPairs(pictures, 256, 1, Variation())) == 1


def cv2_noise(rng):
    return np.repeat(np.repeat(rng.integers(0, 256, (72, 128, 3), dtype=np.uint8), 10, 0), 10, 1)


def test_variation_changes_both_images_alike():
    rng = np.random.default_rng(0)
    image = torch.rand(3, 40, 50)
    blurry, sharp = Variation(turn=True, colour=True)([image, image], 32, rng)
    assert torch.equal(blurry, sharp) and blurry.shape == (3, 32, 32)
    mirrored = {
        tuple(
            Variation(mirror=True)([image, image], 40, np.random.default_rng(seed))[0][
                0, :, 0
            ].tolist()
        )
        for seed in range(30)
    }
    columns = {tuple(image[0, :, column].tolist()) for column in range(50)}
    assert mirrored <= columns and len(mirrored) > 5  # never upside down, never turned
    deviations = [
        float((pair[0] - pair[1]).std() * 255)
        for seed in range(200)
        if (
            pair := Variation(noise=True)(
                [torch.full((3, 40, 40), 0.5)] * 2, 32, np.random.default_rng(seed)
            )
        )
    ]
    assert np.mean(deviations) == pytest.approx(
        2 * (2 / np.pi) ** 0.5, rel=0.15
    )  # the mean of |N(0, 2)|


def test_models_have_forgiving_names():
    assert chosen_model("mimo-unet+") == ("mimo_unet", {"blocks": 20})
    assert chosen_model("nafnet")[1] == {"width": 32}
    assert chosen_model("lstm") == ("srn", {"variant": "lstm"})
    with pytest.raises(UserError, match="unknown model 'Restromer', did you mean Restormer"):
        chosen_model("Restromer")
    with pytest.raises(UserError, match="--variant lstm belongs to SRN, not to Restormer"):
        chosen_model("Restormer", "lstm")
    assert all(config_of("--model", name).model for name in MODELS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--phases", "128:64"], "can't read the phase '128:64'"),
        (["--loss", "1*SSIM"], "can't read '1\\*SSIM' in the loss"),
        (["--network", "{depth: 3}"], "NAFNet has no argument 'depth'"),
        (["--network", "{width: -3}"], "makes no NAFNet-32"),
        (["--network", "{encoder: 3}"], "makes no NAFNet-32"),
        (["--betas", "0.9"], "--betas and --zoom two numbers"),
        (["--batch_size", "0"], "--batch_size 0: a number from 1 on is needed"),
        (["--phases", "64x0:5"], "patches and batches must be at least 1"),
        (
            ["--model", "MIMO-UNet", "--network", "{width: 8}", "--patch_size", "50"],
            "sides are multiples of 4",
        ),
        (["--patch_size", "64", "--tile_size", "48"], "in tiles is 48x48: lower --patch_size 64"),
        (["--patch_size", "100", "--tile_size", "0"], "is 88x72: lower --patch_size 100"),
    ],
)
def test_mistakes_are_one_sentence(experiments, pairs, words, message):
    with pytest.raises(UserError, match=message):
        train.main(config_of("--config", "tiny", "--data_path", str(pairs), *words))


def test_a_guided_network_trains_and_restores(experiments, pairs, losses, tmp_path):
    """The judge stays as it is and comes along in the weights; the commands ask for it; a plain
    network starts a guided one.
    """
    torch.manual_seed(0)
    judge = build("irp", backbone="light", channels=16, widths=[4, 8, 8, 16, 16])
    save_weights(
        tmp_path / "irp.safetensors", judge, "irp", judge.arguments, "irp", dtype=torch.float32
    )
    words = [
        "--data_path",
        str(pairs),
        "--val_path",
        str(pairs),
        "--network",
        SMALL["NAFNet-32"],
        "--epochs",
        "0",
        "--steps",
        "30",
        "--val_every",
        "30",
    ]
    words += [
        "--irp_weights",
        str(tmp_path / "irp.safetensors"),
        "--batch_size",
        "2",
        "--patch_size",
        "32",
        "--lr",
        "2e-3",
    ]
    train.main(config_of("--condition", "irp", *words, "--save", "guided"))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 1
    network = load(experiments / "guided/last.safetensors")
    assert network.guide[-1].weight.abs().max() > 0
    assert all(
        torch.allclose(value, network.judge.state_dict()[key], atol=1e-3)
        for key, value in judge.state_dict().items()
    )
    guided = {
        "weights": experiments / "guided/last.safetensors",
        "condition": "irp",
        "device": "cpu",
    }
    inference.main(InferenceConfig(pairs / "input", output_dir=tmp_path / "out", **guided))
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
    train.main(config_of(*words, "--save", "plain", "--steps", "1"))
    plain = experiments / "plain/last.safetensors"
    task = train.DeblurTask(config_of("--condition", "irp", *words, "--weights", str(plain)))
    assert torch.equal(task.restorer.intro.weight, load(plain).intro.weight)
    with pytest.raises(UserError, match="holds a NAFNet without --condition irp"):
        inference.load(InferenceConfig(weights=plain, condition="irp", device="cpu"))
    with pytest.raises(UserError, match="--condition irp guides a NAFNet, not SRN"):
        train.DeblurTask(
            config_of("--condition", "irp", "--model", "SRN", "--data_path", str(pairs))
        )
