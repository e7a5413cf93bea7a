"""Every published recipe for twenty steps, and a plain loop that knows only its specification.

The loop below has its own losses, learning rates, clipping and optimiser (the formulas of the
papers). It sees the same samples and starts from the same weights; after every step loss and rate
agree, and in the end every weight. Sizes are tiny, and epochs are so short that twenty steps pass
every change of the learning rate; the figures at full length are held by test_recipes.py.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.blur2vid.config import TrainConfig as UnfoldConfig
from methods.blur2vid.train import UnfoldTask
from methods.hypercut.config import TrainConfig as OrderConfig
from methods.hypercut.train import OrderingTask
from methods.image_deblur.config import TrainConfig as PhotoConfig
from methods.image_deblur.train import DeblurTask
from methods.irp.config import TrainConfig as PotentialConfig
from methods.irp.train import PotentialTask
from methods.video_deblur.config import TrainConfig as VideoConfig
from methods.video_deblur.train import VideoTask
from models import build
from utils.checkpoint import save_weights
from utils.config import parse
from utils.image import write_image
from utils.training import Limits, train

STEPS = 20
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


@dataclass
class Recorded:
    """What a run of ours did: samples, generators' states, losses and rates, step by step."""

    start: nn.Module | None = None
    batches: list[dict] = field(default_factory=list)
    states: list[list[Tensor]] = field(default_factory=list)
    weights: list[list[Tensor]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    rates: list[tuple[float, ...]] = field(default_factory=list)


def run_ours(task, config, folder, steps: int) -> Recorded:
    """Train a task of ours and record it; its network ends with the trained weights."""
    seen = Recorded()
    own_step = task.step

    def step(batch: dict, generators: list[torch.Generator], number: int) -> dict[str, Tensor]:
        if seen.start is None:
            seen.start = copy.deepcopy(task.network)
        seen.batches.append(
            {key: value.clone() for key, value in batch.items() if isinstance(value, Tensor)}
        )
        seen.weights.append([value.detach().clone() for value in task.network.parameters()])
        seen.states.append([generator.get_state() for generator in generators])
        losses = own_step(batch, generators, number)
        seen.losses.append(float(sum(losses.values())))
        seen.rates.append(task.schedule(number).rates)
        return losses

    task.step = step
    train(task, folder, Limits.of(config, steps, task.device, task.dtype), resume=False)
    seen.weights.append([value.detach().clone() for value in task.network.parameters()])
    assert len(seen.losses) == steps
    return seen


@dataclass
class Plain:
    """A recipe as its specification has it.

    loss: of (network, batch, generators). rate: of the step. kind: adam, adamw or adamax. fresh:
    whether the optimiser forgets at a step (IRP). followed: every step starts from our weights, for
    losses whose kinks make two runs part after few steps; the optimiser's moments stay its own.
    """

    loss: Callable[[nn.Module, dict, list[torch.Generator]], Tensor]
    rate: Callable[[int], float]
    kind: str = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    decay: float = 0.0
    clip: float = 0.0
    fresh: Callable[[int], bool] = lambda step: False
    followed: bool = False
    steps: int = STEPS


def run_plain(recipe: Plain, seen: Recorded) -> tuple[list[float], nn.Module]:
    """The losses and the trained network of the plain loop."""
    network = copy.deepcopy(seen.start)
    parameters = [value for value in network.parameters() if value.requires_grad]
    losses = []
    age = 0
    for step, (batch, states) in enumerate(zip(seen.batches, seen.states)):
        if age == 0 or recipe.fresh(step):
            age = 0
            first = [torch.zeros_like(value) for value in parameters]
            second = [torch.zeros_like(value) for value in parameters]
        age += 1
        if recipe.followed:
            for value, ours in zip(network.parameters(), seen.weights[step]):
                value.data.copy_(ours)
        generators = [torch.Generator() for _ in states]
        for generator, state in zip(generators, states):
            generator.set_state(state)
        loss = recipe.loss(network, batch, generators)
        losses.append(float(loss))
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        gradients = [
            torch.zeros_like(value) if gradient is None else gradient
            for value, gradient in zip(parameters, gradients)
        ]
        if recipe.clip:
            norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))
            gradients = [gradient * min(1, recipe.clip / norm) for gradient in gradients]
        for value, gradient, mean, size in zip(parameters, gradients, first, second):
            _update(recipe, value.data, gradient, mean, size, recipe.rate(step), age)
    return losses, network


def _update(
    recipe: Plain,
    value: Tensor,
    gradient: Tensor,
    mean: Tensor,
    size: Tensor,
    rate: float,
    age: int,
) -> None:
    """Adam and Adamax (Kingma and Ba, algorithms 1 and 2), AdamW (Loshchilov and Hutter)."""
    beta1, beta2 = recipe.betas
    mean.copy_(beta1 * mean + (1 - beta1) * gradient)
    if recipe.kind == "adamax":
        size.copy_(torch.maximum(beta2 * size, gradient.abs() + recipe.epsilon))
        value -= rate / (1 - beta1**age) * mean / size
        return
    size.copy_(beta2 * size + (1 - beta2) * gradient**2)
    if recipe.kind == "adamw":
        value *= 1 - rate * recipe.decay
    corrected = mean / (1 - beta1**age)
    value -= rate * corrected / ((size / (1 - beta2**age)).sqrt() + recipe.epsilon)


def compare(task, config, recipe: Plain, folder, unmoved: str = "") -> None:
    """Losses to 2e-5, rates to the last digits, weights to a thousandth of what they moved.

    unmoved: ending of parameters whose exact gradient is 0, which Adam moves by rounding noise.
    """
    seen = run_ours(task, config, folder, recipe.steps)
    losses, network = run_plain(recipe, seen)
    assert losses == pytest.approx(seen.losses, rel=2e-5, abs=1e-7)
    assert len({rates[0] for rates in seen.rates}) > 1 or recipe.rate(0) == recipe.rate(
        recipe.steps
    )
    for step, rates in enumerate(seen.rates):
        assert rates[0] == pytest.approx(recipe.rate(step), rel=1e-9)
    before = seen.weights[-2] if recipe.followed else seen.weights[0]
    named = zip(network.named_parameters(), before, seen.weights[-1])
    for (name, value), start, ours in named:
        if unmoved and name.endswith(unmoved):
            continue
        moved = (ours - start).double().norm()
        apart = (ours - value.detach()).double().norm()
        assert apart <= 1e-3 * moved + 1e-7, name


# --- single-image networks -------------------------------------------------------------------


def shown(network: nn.Module, batch: dict) -> list[Tensor]:
    return network.forward_scales(batch["blurry"])


def srn_loss(network: nn.Module, batch: dict, generators: list) -> Tensor:
    """Sum over the scales of the mean squared error; a scale takes every 4th, 2nd, 1st pixel."""
    targets = [batch["sharp"][..., ::step, ::step] for step in (4, 2, 1)]
    return sum(((a - b) ** 2).mean() for a, b in zip(shown(network, batch), targets))


def deep_deblur_loss(network: nn.Module, batch: dict, generators: list) -> Tensor:
    """L1 summed over three scales; their pyramid agrees with the authors' (test_image_networks)."""
    targets = network.scales_of(batch["sharp"])
    return sum((a - b).abs().mean() for a, b in zip(shown(network, batch), targets, strict=True))


def mse_loss(network: nn.Module, batch: dict, generators: list) -> Tensor:
    return ((network(batch["blurry"]) - batch["sharp"]) ** 2).mean()


def l1_loss(network: nn.Module, batch: dict, generators: list) -> Tensor:
    return (network(batch["blurry"]) - batch["sharp"]).abs().mean()


def nafnet_loss(network: nn.Module, batch: dict, generators: list) -> Tensor:
    """Mean over the images of (10 / ln 10) ln(mean squared error + 1e-8)."""
    errors = ((network(batch["blurry"]) - batch["sharp"]) ** 2).mean((1, 2, 3))
    return (10 / math.log(10) * torch.log(errors + 1e-8)).mean()


def mimo_loss(network: nn.Module, batch: dict, generators: list) -> Tensor:
    """L1 + 0.1 L1 of the 2-D FFT, both summed over three scales, targets reduced bilinearly.

    With half-pixel centres half the size is the mean of 2x2, a quarter that of the inner 2x2 of
    4x4.
    """
    sharp = batch["sharp"]
    half = sum(sharp[..., i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    quarter = sum(sharp[..., i::4, j::4] for i in (1, 2) for j in (1, 2)) / 4
    total = 0
    for restored, target in zip(shown(network, batch), (quarter, half, sharp), strict=True):
        spectra = torch.fft.fft2(restored), torch.fft.fft2(target)
        parts = (spectra[0] - spectra[1]).real.abs().mean() / 2
        parts = parts + (spectra[0] - spectra[1]).imag.abs().mean() / 2
        total = total + (restored - target).abs().mean() + 0.1 * parts
    return total


def cosine(top: float, bottom: float, hold: int = 0) -> Callable[[int], float]:
    def rate(step: int) -> float:
        progress = max(step - hold, 0) / (STEPS - hold)
        return bottom + (top - bottom) * (1 + math.cos(math.pi * progress)) / 2

    return rate


def halved(top: float, epochs: tuple[int, ...], per_epoch: int) -> Callable[[int], float]:
    return lambda step: top * 0.5 ** sum(step >= epoch * per_epoch for epoch in epochs)


# Of four pairs two steps of two make an epoch.
PHOTO_EPOCHS = ["--epochs", "10"]
PHOTO_STEPS = ["--steps", str(STEPS)]
PHOTOS = {
    "SRN": (
        ["--network", "{width: 4}", "--patch_size", "32", *PHOTO_EPOCHS],
        Plain(srn_loss, lambda step: 1e-4 * (1 - step / STEPS) ** 0.3),
    ),
    "DeepDeblur": (
        ["--network", "{width: 4, blocks: 1}", *PHOTO_EPOCHS, "--milestones", "4", "7", "9"],
        Plain(deep_deblur_loss, halved(1e-4, (4, 7, 9), 2)),
    ),
    "NoBlur": (
        ["--network", "{width: 4}", "--patch_size", "32", *PHOTO_EPOCHS],
        Plain(mse_loss, lambda step: 1e-4, epsilon=1e-7),
    ),
    "Restormer": (
        ["--network", "{width: 4, blocks: [1, 1, 1, 1], refinement: 1}", *PHOTO_STEPS]
        + ["--phases", "16x3:12", "32x2:8", "--lr_hold", "6"],
        Plain(l1_loss, cosine(3e-4, 1e-6, 6), "adamw", decay=1e-4, clip=0.01),
    ),
    "MIMO-UNet+": (
        ["--network", "{width: 4, blocks: 1, dropout: 0.0}", *PHOTO_EPOCHS]
        + ["--milestones", "2", "4", "6", "8"],
        Plain(mimo_loss, halved(1e-4, (2, 4, 6, 8), 2)),
    ),
    "NAFNet-32": (
        ["--network", "{width: 4, encoder: [1], middle: 1, decoder: [1]}", *PHOTO_STEPS],
        Plain(nafnet_loss, cosine(1e-3, 1e-7), "adamw", (0.9, 0.9), decay=1e-3, clip=0.01),
    ),
}


@pytest.fixture
def pairs(make_videos):
    return make_videos("gopro_flat", {"a": 2, "b": 2}, size=(40, 48))


@pytest.mark.parametrize("model", PHOTOS)
def test_photo_recipes(model, pairs, tmp_path):
    words, recipe = PHOTOS[model]
    words = [*words, "--data_path", str(pairs), "--val_path", "null", "--blur_folder", "blur"]
    if model != "Restormer":
        words += ["--batch_size", "2"]
        if "--patch_size" not in words:
            words += ["--patch_size", "16"]
    config = parse(
        PhotoConfig, "image_deblur", "train", ["--model", model, *words, *_small_machine()]
    )
    # a bias before batch normalisation
    unmoved = "convolution.bias" if model == "NoBlur" else ""
    compare(DeblurTask(config), config, recipe, tmp_path / "run", unmoved)


def _small_machine() -> list[str]:
    return ["--device", "cpu", "--workers", "0"]


# --- CDVD-TSP --------------------------------------------------------------------------------


def cdvd_loss(network: nn.Module, batch: dict, generators: list) -> Tensor:
    """L1 + 2 HEM on the three first-stage results and the final one, as 12 channels.

    HEM: the half of the pixels with the largest error summed over the channels (strictly above the
    value at index floor(N/2) of the descending sort) and a random tenth; a mean over all elements.
    """
    first, final = network.training_outputs(batch["blurry"])
    restored = torch.cat([first[0].flatten(1, 2), final[0].flatten(1, 2)], 1)
    truth = batch["sharp"]
    target = torch.cat([truth[:, 1], truth[:, 2], truth[:, 3], truth[:, 2]], 1)
    error = (restored - target).abs()
    total = error.detach().sum(1).flatten(1)
    pixels = total.shape[1]
    masks = []
    for row, generator in zip(total, generators, strict=True):
        threshold = sorted(row.tolist(), reverse=True)[pixels // 2]
        mask = row > threshold
        mask[torch.randperm(pixels, generator=generator)[: int(0.1 * pixels)]] = True
        masks.append(mask.view(1, *error.shape[-2:]))
    return error.mean() + 2 * (error * torch.stack(masks)).mean()


def test_cdvd_tsps_recipe(make_videos, tmp_path):
    """Windows of 5 of two videos of 6; 4 windows in batches of 2 are repeated up to 1000 batches,
    of which max_batches leaves 2.
    """
    videos = make_videos("clips", {"a": 6, "b": 6}, size=(40, 48))
    words = ["--network", "{width: 4, blocks: 1, kernel_size: 3, flow: dis}", "--batch_size", "2"]
    words += ["--data_path", str(videos), "--val_path", "null", "--patch_size", "32"]
    words += ["--epochs", "10", "--max_batches", "2", "--lr_decay", "4"]
    config = parse(VideoConfig, "video_deblur", "train", [*words, *_small_machine()])
    recipe = Plain(cdvd_loss, lambda step: 1e-4 * 0.5 ** (step // 2 // 4))
    task = VideoTask(config)
    assert task.repeats == 500
    compare(task, config, recipe, tmp_path / "run")


# --- IRP -------------------------------------------------------------------------------------


def irp_loss(network: nn.Module, batch: dict, generators: list) -> Tensor:
    """Mean squared error against ten times the label; the second input is brightened by rule."""
    images = batch["image"][:, 0]
    ratios = batch["ratio"].view(-1, 1, 1, 1)
    brightened = (images**2.2 * ratios) ** (1 / 2.2)
    mean = torch.tensor(MEAN).view(3, 1, 1)
    deviation = torch.tensor(DEVIATION).view(3, 1, 1)
    values = network(images, (brightened - mean) / deviation)
    return ((values - 10 * batch["label"][:, 0]) ** 2).mean()


def test_irps_recipe(tmp_path):
    """30 epochs of 20 scenes' shots become 5 of 4 steps, the two tenfold drops included."""
    root = tmp_path / "IRPDataset"
    rng = np.random.default_rng(0)
    for scene in range(10):
        for ratio in ("1", "5"):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            write_image(root / f"scene{scene}/{ratio}.png", pixels)
    (root / "IRP_label").mkdir()
    for ratio in ("1", "5"):
        lines = "".join(f"{value}\n" for value in rng.random(10))
        (root / f"IRP_label/{ratio}_metric.txt").write_text(lines)
    words = ["--backbone", "light", "--network", "{channels: 16, widths: [4, 8, 8, 16, 16]}"]
    words += ["--data_path", str(root), "--val_every", "0", "--batch_size", "4"]
    words += ["--milestones", "2", "4"]
    config = parse(PotentialConfig, "irp", "train", [*words, *_small_machine()])
    task = PotentialTask(config)
    per_epoch = task.epoch
    recipe = Plain(
        irp_loss,
        lambda step: 1e-4 * 0.1 ** sum(step >= epoch * per_epoch for epoch in (2, 4)),
        fresh=lambda step: step in (2 * per_epoch, 4 * per_epoch),
    )
    compare(task, config, recipe, tmp_path / "run")


# --- HyperCUT and blur to video ---------------------------------------------------------------

PAIRS = ((0, 6), (1, 5), (2, 4))


def normalised(images: Tensor) -> Tensor:
    """ImageNet's normalisation in the order in which its channels are read: BGR."""
    mean = torch.tensor(MEAN).view(3, 1, 1)
    deviation = torch.tensor(DEVIATION).view(3, 1, 1)
    return (images.flip(-3) - mean) / deviation


def sides(network: nn.Module, frames: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """h of the three pairs and of the reversed ones: d . w + b sum(d)."""
    plane = network.hyperplane
    forth, back = [], []
    for first, last in PAIRS:
        for order, found in (([first, last], forth), ([last, first], back)):
            vector = network.vectors(frames[:, order].flatten(1, 2))
            found.append(vector @ plane[:-1] + plane[-1] * vector.sum(1))
    return forth, back


def hypercut_loss(network: nn.Module, batch: dict, generators: list) -> Tensor:
    forth, back = sides(network, normalised(batch["frames"]))
    apart = sum(F.softplus(h * r).mean() for h, r in zip(forth, back)) / 3
    couples = ((0, 1), (0, 2), (1, 2))
    together = sum(F.softplus(-forth[p] * forth[q]).mean() for p, q in couples) / 3
    return apart / 2 + together / 2


SEQUENCE_WORDS = ["--batch_size", "1", "--epochs", "10", "--val_every", "0", "--val_sequences", "1"]
# two training sequences, one a step: x0.9 every 3 epochs
EXPONENTIAL = {"rate": lambda step: 5e-4 * 0.9 ** (step // 2 // 3), "kind": "adamax"}


def test_hypercuts_recipe(make_sequences, tmp_path):
    root = make_sequences((48, 56), 4.0)
    words = ["--data_path", str(root), "--network", "{width: 4, blocks: 1}", "--image_size", "40"]
    config = parse(OrderConfig, "hypercut", "train", [*words, *SEQUENCE_WORDS, *_small_machine()])
    compare(OrderingTask(config), config, Plain(hypercut_loss, **EXPONENTIAL), tmp_path / "run")


def order_free(predicted: Tensor, truth: Tensor) -> Tensor:
    """Sum over the pairs of MSE(|x1+x2|, |y1+y2|) + MSE(|x1-x2|, |y1-y2|)."""
    total = 0
    for first, last in PAIRS:
        for sign in (1, -1):
            ours = (predicted[:, first] + sign * predicted[:, last]).abs()
            theirs = (truth[:, first] + sign * truth[:, last]).abs()
            total = total + ((ours - theirs) ** 2).mean()
    return total


@pytest.mark.parametrize("backbone", ["Jin", "Purohit"])
def test_blur_to_videos_recipes(backbone, make_sequences, tmp_path):
    """order_inv + 0.2 sum of softplus(h); Purohit on four scales and with 0.02 of its flows."""
    torch.manual_seed(0)
    judge = build("hypercut", width=4, blocks=1)
    file = tmp_path / "hypercut.safetensors"
    save_weights(file, judge, "hypercut", {"width": 4, "blocks": 1}, "hypercut", torch.float32)
    root = make_sequences((48, 56), 4.0)
    sizes = {
        "Jin": ["--network", "{width: 2}", "--image_size", "40"],
        "Purohit": ["--network", "{width: 2, flow_channels: [2, 2, 4]}", "--image_size", "40"],
    }
    words = ["--backbone", backbone, *sizes[backbone], "--data_path", str(root)]
    words += ["--loss_type", "hypercut", "--hypercut_path", str(file)]
    config = parse(UnfoldConfig, "blur2vid", "train", [*words, *SEQUENCE_WORDS, *_small_machine()])

    def loss(network: nn.Module, batch: dict, generators: list) -> Tensor:
        blurry = normalised(batch["blurry"])
        truth = normalised(batch["frames"])
        if backbone == "Jin":
            predicted = network(blurry)
            total = order_free(predicted, truth) / 7
        else:
            scales, flows = network.forward_scales(blurry, truth[:, 3])
            predicted = scales[0]
            total = 0
            for level, frames in enumerate(scales):
                step = 2**level
                total = total + order_free(frames, truth[..., ::step, ::step]) / 4
            total = total + 0.02 * sum(flow.abs().mean() for flow in flows) / 4
        forth, _ = sides(judge, predicted)
        return total + 0.2 * sum(F.softplus(h) for h in forth).mean()

    recipe = Plain(loss, **EXPONENTIAL)
    if (
        backbone == "Jin"
    ):  # four networks, twelve passes: eight steps see the first drop of the rate
        recipe = replace(recipe, followed=True, steps=8)
    compare(UnfoldTask(config), config, recipe, tmp_path / "run")
