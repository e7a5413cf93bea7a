"""Options of test.py for comparing folders of results, and which pictures they mean."""

from dataclasses import dataclass
from typing import Literal

from utils.config import option

Metric = Literal["psnr", "ssim", "lpips"]


@dataclass(frozen=True, kw_only=True)  # the own options of a command stay first
class ComparisonOptions:
    """What every command has that compares results."""

    compare: list[str] | None = option(
        None,
        "compare folders of results, named as you like, with the ground truth: means, paired "
        "differences, sign tests, and a page with a slider between any two",
        value="NAME=FOLDER ...",
    )
    metrics: list[Metric] | None = option(
        None, "--compare: the metrics; the first one chooses the images shown; default: psnr ssim"
    )
