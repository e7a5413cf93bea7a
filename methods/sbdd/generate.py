"""Make blurry/sharp pairs, clips, sequences of seven sharp frames, or kernels.

Resumable; torchrun splits the work.
"""

import dataclasses

import numpy as np
from scipy.io import savemat

from data.catalog import holds_videos
from data.sample import pictures_or_sample
from data.synthesis.kernels import kernel_sheet, random_kernel
from methods.sbdd.clips import make_clips, make_sequences
from methods.sbdd.config import GenerateConfig
from methods.sbdd.pairs import make_pairs
from methods.sbdd.shared import Rows, print_summary, progress
from utils import distributed
from utils.config import keep_config
from utils.contact_sheet import contact_sheet_of_rows
from utils.errors import UserError
from utils.files import atomic_path, keep_apart
from utils.image import write_image

# Options that may change from run to run into one folder.
FREE_OPTIONS = ("output_dir", "n_images", "kernels", "only", "detector_weights")
USUAL_EXPOSURE = {"pictures": 0.8, "videos": 3.0}  # frame intervals
MOVING = ("clips", "sequences")  # what shows motion, so that videos may be their source
MAX_SHEET_KERNELS = 60


def main(config: GenerateConfig) -> None:
    """Write what is not there yet, contact_sheet.jpg and the configuration."""
    config = _resolved(config)
    _check(config)
    make = {
        "pairs": make_pairs,
        "clips": make_clips,
        "sequences": make_sequences,
        "kernels": make_kernels,
    }[config.what]
    with distributed.only_run(config.output_dir):
        if distributed.is_main() and not config.only:
            keep_config(config.output_dir, config, FREE_OPTIONS)
        rows = make(config)
        if distributed.is_main():
            _write_sheet(config, rows)


def make_kernels(config: GenerateConfig) -> Rows:
    """Write OUTPUT_DIR/kernelNNNNN.mat with an array K, as published, and their contact sheet."""
    made = existing = 0
    for index in progress(config, list(range(config.kernels))):
        path = config.output_dir / f"kernel{index:05d}.mat"
        if path.exists():
            existing += 1
            continue
        with atomic_path(path) as temporary:
            savemat(temporary, {"K": _kernel(config, index)})
        made += 1
    print_summary(config, made, "kernel", existing)
    if distributed.is_main():
        count = min(config.kernels, MAX_SHEET_KERNELS)
        shown = [_kernel(config, index) for index in range(count)]
        write_image(config.output_dir / "contact_sheet.jpg", kernel_sheet(shown))
    return iter(())


def _kernel(config: GenerateConfig, index: int) -> np.ndarray:
    rng = np.random.default_rng((config.seed, index))
    return random_kernel(rng, config.kernel_size, length=config.kernel_length)


def _write_sheet(config: GenerateConfig, rows: Rows) -> None:
    shown = dict(rows)
    if shown:
        path = config.output_dir / "contact_sheet.jpg"
        contact_sheet_of_rows(path, shown)
        print(f"look at {path}")


def _resolved(config: GenerateConfig) -> GenerateConfig:
    """With the data, the source that they show and its usual exposure."""
    data_path = config.data_path
    if config.what != "kernels":
        data_path = pictures_or_sample(data_path)
    source = config.source
    if source == "auto":
        videos = config.what in MOVING and holds_videos(data_path)
        source = "videos" if videos else "pictures"
    exposure = config.exposure
    if exposure is None:
        exposure = USUAL_EXPOSURE[source]
    return dataclasses.replace(config, data_path=data_path, source=source, exposure=exposure)


def _check(config: GenerateConfig) -> None:
    """Raise UserError for options that are out of range or contradict each other."""
    if config.what != "kernels":
        keep_apart(config.output_dir, config.data_path)
    _check_exposure(config)
    _check_kernels(config)
    _check_lengths(config.blur)
    _check_lengths(config.object_blur)
    if config.gaussian_noise and config.poisson_noise:
        raise UserError("choose --gaussian_noise or --poisson_noise, not both")


def _check_exposure(config: GenerateConfig) -> None:
    exposure = config.exposure
    moving = config.what in MOVING
    whole_frames = moving and config.source == "videos" and not config.interpolate
    if whole_frames and (exposure < 3 or exposure % 2 != 1):
        raise UserError(
            f"--exposure {exposure:g}: --no_interpolate averages 3, 5, 7, ... whole frames, so "
            "that one is in the middle"
        )
    if exposure <= 0 or config.stride < 0:
        raise UserError(
            f"the exposure must be positive and the stride not negative, got {exposure:g} and "
            f"{config.stride}"
        )
    if moving and config.source == "pictures" and exposure > 1:
        raise UserError(
            f"from pictures the exposure is at most 1 frame interval, got {exposure:g} "
            "(--config pictures has 0.8)"
        )


def _check_kernels(config: GenerateConfig) -> None:
    size = config.kernel_size
    if size % 2 == 0 or size < 5:
        raise UserError(f"--kernel_size {size}: kernels have an odd side of at least 5 px")
    length = config.kernel_length
    if length is not None and not 0 < length <= size - 3:
        raise UserError(
            f"--kernel_length {length:g} must be above 0 and at most --kernel_size {size} less 3"
        )


def _check_lengths(lengths: list[float]) -> None:
    """One length that is not negative, or a positive minimum and a maximum."""
    single = len(lengths) == 1 and lengths[0] >= 0
    ranged = len(lengths) == 2 and 0 < lengths[0] <= lengths[1]
    if not single and not ranged:
        raise UserError(
            "a blur is one length in px or a range MINIMUM MAXIMUM, got "
            f"{' '.join(map(str, lengths))}"
        )
