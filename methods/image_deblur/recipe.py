"""What a training of image_deblur does, for --explain and docs/recipes.md."""

import contextlib
import dataclasses
import io
import itertools

import torch

from methods.common.recipe import (
    OURS,
    PAPER,
    PROGRAM,
    UNNAMED,
    Line,
    Plan,
    Recipe,
    length_text,
    machine_lines,
    optimizer_line,
    rate_line,
    seconds_per_sample,
    with_batches_of_one,
)
from methods.image_deblur.config import TrainConfig
from methods.image_deblur.names import canonical_model, chosen_model
from methods.image_deblur.train import DeblurTask, parse_phases, rate
from models import build
from models.contracts import ImageNetwork
from utils.config import parse
from utils.evaluation.tables import count_parameters
from utils.sampling import StepSampler

GOPRO_PAIRS = 2103  # of 1280x720
GOPRO_TILES = 8  # of 512 px every 256 px in such a picture
# network -> (how its weights start, paper, program)
_ABOUT = {
    "srn": (
        "Xavier uniform, biases 0; lstm's gates: normal of deviation 0.001, cut at two",
        "Tao et al., CVPR 2018, arXiv 1802.01770",
        "github.com/jiangsutx/SRN-Deblur (TensorFlow 1)",
    ),
    "deep_deblur": (
        "PyTorch's default",
        "Nah et al., CVPR 2017, arXiv 1612.02177",
        "github.com/SeungjunNah/DeepDeblur-PyTorch",
    ),
    "no_blur": ("Xavier uniform, biases 0, as Keras", "survey slides", "the slides' Keras program"),
    "light_dehaze": ("PyTorch's default", "", ""),
    "restormer": (
        "PyTorch's default",
        "Zamir et al., CVPR 2022, arXiv 2111.09881",
        "github.com/swz30/Restormer",
    ),
    "mimo_unet": (
        "PyTorch's default",
        "Cho et al., ICCV 2021, arXiv 2108.05054",
        "github.com/chosj95/MIMO-UNet",
    ),
    "nafnet": (
        "PyTorch's default, the blocks' factors beta and gamma 0",
        "Chen et al., ECCV 2022, arXiv 2204.04676",
        "github.com/megvii-research/NAFNet",
    ),
}
_CHANGES = {
    "mirror": ["left-right flip (p 0.5)"],
    "turn": ["left-right flip", "up-down flip", "transposition (each p 0.5)"],
    "colour": [
        "random order of the channels",
        "saturation of HSV times U(0.5, 1.5), clipped as RGB",
    ],
    "noise": ["on the blurry one noise of deviation |N(0, 2)| of 255 levels, clipped"],
}
_RATES = {
    "cosine": "cosine to {lr_min:g} after {lr_hold:,} steps at the full rate",
    "step": "times {lr_gamma:g} at epochs {milestones}",
    "power": "lr (1 - step / steps)^{lr_power:g}",
    "constant": "constant",
}


def recipe(config: TrainConfig) -> Recipe:
    """The lines of a configuration; steps of an epoch are those of GoPro where no --steps holds."""
    name, arguments = chosen_model(config.model, config.variant)
    with torch.device("meta"):
        network = build(name, **(arguments | (config.network or {})))
    start, paper, program = _ABOUT.get(name, (UNNAMED, UNNAMED, UNNAMED))
    per_epoch = _gopro_steps(config)
    steps = config.epochs * per_epoch or config.steps
    parameters = count_parameters(network)
    variant = getattr(network, "variant", None)
    shown = f"{canonical_model(config.model)}{f' ({variant})' if variant else ''}"
    lines = [
        Line("network", f"{shown}, {parameters:,} parameters", PAPER, ("network", "variant")),
        Line("initialisation", f"{config.weights or start}", PROGRAM, ("weights",)),
        Line("data", _data(config), PROGRAM, _DATA_OPTIONS),
        Line("augmentation", _augmentation(config), PROGRAM, ("augment", "patch_size", "phases")),
        Line("loss", _loss(config, network), PAPER, ("loss", "psnr_floor")),
        optimizer_line(config, config.optimizer, config.betas, config.epsilon),
        rate_line(_rate_words(config), lambda step: rate(config, step, steps, per_epoch), steps,
                  "schedule", "lr_min", "lr_hold", "lr_gamma", "lr_power", "milestones"),
        Line("batch", _batch(config), PROGRAM, ("batch_size", "phases", "accumulate", "drop_last")),
        Line("length", _length(config, per_epoch, steps), PROGRAM, ("epochs", "steps")),
        *machine_lines(config, "validation PSNR (protocol image)", _validation(config)),
    ]  # fmt: skip
    sources = {PAPER: paper, PROGRAM: program, OURS: "this repository"}
    if name == "light_dehaze":
        sources = {OURS: "this repository, within the survey slides' number of parameters"}
    lines = [
        dataclasses.replace(line, source=OURS) if _is_ours(name, line) else line for line in lines
    ]
    return Recipe(f"image_deblur --model {config.model}", lines, sources, parameters)


def published(config: TrainConfig) -> TrainConfig:
    """The published recipe of the configuration's network."""
    return parse(TrainConfig, "image_deblur", "train", ["--model", config.model])


def plan(config: TrainConfig) -> Plan:
    """What the training means for its data; one sample is timed."""
    task = DeblurTask(dataclasses.replace(config, val_path=None))
    size, batch, _ = task.phases[0]
    small = dataclasses.replace(config, phases=None, patch_size=size)
    with contextlib.redirect_stdout(io.StringIO()):  # the data were named already
        timed = DeblurTask(with_batches_of_one(small))
    sample = seconds_per_sample(timed)
    samples = len(next(iter(task.sets.values())))
    return Plan(samples, task.epoch, task.steps, _work(config, task.steps, size), sample)


def _work(config: TrainConfig, steps: int, first: int) -> float:
    """All patches of a training, in patches of the first size."""
    phases = parse_phases(config)
    starts = [0, *itertools.accumulate(length for _, _, length in phases[:-1]), steps]
    return sum(
        (end - start) * batch * (size / first) ** 2
        for (size, batch, _), start, end in zip(phases, starts, starts[1:])
    )


_DATA_OPTIONS = ("source", "tile_size", "tile_step", "crop_size", "blur_folder", "video_path")


def _is_ours(network: str, line: Line) -> bool:
    """Whether a line is of nobody's paper or program."""
    if network == "no_blur":
        return line.topic == "data"  # its slides' pictures are blurred by Gaussians
    return network == "light_dehaze"


def _gopro_steps(config: TrainConfig) -> int:
    """Steps of an epoch of GoPro's training pairs."""
    samples = _gopro_samples(config)
    return StepSampler(samples, config.batch_size, 1, drop_last=config.drop_last).steps_per_epoch


def _gopro_samples(config: TrainConfig) -> int:
    return GOPRO_PAIRS * (GOPRO_TILES if config.tile_size == 512 else 1)


def _data(config: TrainConfig) -> str:
    text = f"{config.data_path.name if config.data_path else 'sample'} ({config.source})"
    if config.data_path and config.data_path.parts[-2:] == ("GOPRO", "train"):
        text = f"GoPro train, folder {config.blur_folder or 'blur'}, {GOPRO_PAIRS:,} pairs"
    if config.tile_size:
        text += f", cut into tiles of {config.tile_size} px every {config.tile_step} px (an index)"
    if config.crop_size:
        text += f", of each a random crop of {config.crop_size} px"
    return text


def _augmentation(config: TrainConfig) -> str:
    sizes = ", ".join(str(size) for size, _, _ in parse_phases(config))
    changes = [f"random patch of {sizes} px"]
    for name, steps in _CHANGES.items():
        if name in config.augment and not (name == "mirror" and "turn" in config.augment):
            changes += steps
    return "; then ".join(changes)


def _loss(config: TrainConfig, network: ImageNetwork) -> str:
    text = config.loss
    if "PSNR" in config.loss:
        text += f" (mean over the images of 10 log10(MSE + {config.psnr_floor:g}), values 0..1)"
    if type(network).forward_scales is not ImageNetwork.forward_scales:
        text += ", each term summed over the network's scales"
    return text


def _rate_words(config: TrainConfig) -> str:
    values = dataclasses.asdict(config)
    return f"{config.lr:g}, {_RATES[config.schedule].format(**values)}"


def _batch(config: TrainConfig) -> str:
    if not config.phases:
        text = f"{config.batch_size} patches over all processes"
        last = "left out" if config.drop_last else "kept"
        return f"{text}; an epoch's last, smaller one is {last}"
    phases = ", ".join(f"{size} px x {batch} for {steps:,}" for size, batch, steps in
                       parse_phases(config))  # fmt: skip
    return f"patch x batch over all processes, steps: {phases}"


def _length(config: TrainConfig, per_epoch: int, steps: int) -> str:
    if config.phases:
        return f"{steps:,} steps"
    text = length_text(_gopro_samples(config), config.batch_size, per_epoch, steps)
    return f"{text} (GoPro)" + (f", {config.epochs:,} epochs" if config.epochs else "")


def _validation(config: TrainConfig) -> str:
    every = f"every {config.val_every:,} steps" if config.val_every else "once per epoch"
    return f"validation {every}"
