"""At which sizes a picture is restored, and how the results become one.

A network undoes blur of the lengths that it was trained on. Longer blur becomes one of these when
the picture is shrunk, and a blurred picture holds nothing at the frequencies that go. At scale s

    residual_s = enlarge(network(shrink(x)) - shrink(x)),   restored = x + residual_s

so that the full-size input keeps its detail where nothing was blurred. `mean` takes the mean of the
residuals of three scales. `auto` goes from the finest scale to coarser ones, each of which only
replaces what it can hold, with a weight that differs from place to place:

    total = total + weight * enlarge(residual_s - shrink(total))

so that the detail of the finest scale stays.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from restoration.blur import BlurMap
from utils.errors import UserError

MIN_SIDE = 32  # px of a shrunken picture
MAX_STRENGTH = 1.5
MEAN_SCALES = (1.0, 0.71, 0.5)
# auto, our network: lengths in px at the scale that is best alone, and at the finest of several
SINGLE = 22.0
FINEST = 26.0  # shorter blur is not shrunk at all
RATIO = 0.6  # of one scale to the next finer one
LARGEST_SHRUNKEN = 0.82  # a scale between it and 1 would cost as much as 1
MIX_FROM, MIX_TO = 12.0, 20.0  # px: from here on a coarser scale takes part
LOCAL = 0.4  # of the deviation of a place from the whole picture
MIX = 0.35  # position of the mean between two scales
WIDTH = 1.25  # of the weights over positions of scales
SHARP = (1.3, 2.6)  # px: below it MIN_AMOUNT of the change is applied, above all of it
MIN_AMOUNT = 0.6
MIN_BLURRED = 0.1  # of a picture; one with less blur is left as it is
NOISY = (0.018, 0.15)  # colour noise that hides blur; less hides none, more is no camera's
LOW = 0.2  # quantile of the lengths that decides on the finest scale
# auto, other networks
PUBLISHED_REACH = 40.0  # px, GoPro's longest blur
PUBLISHED_AIM = 25.0  # px, that longer blur is shrunk to
# --only_blurry
BLURRY = (2.5, 3.5)  # px: below a place passes through, above it is restored
BLURRY_FRAME = 3.0  # px: a frame of a video with less passes through as a whole


@dataclass(frozen=True, eq=False)
class Part:
    """The residual of one scale, and its weight: a map [1,1,h,w] over the picture, or a number.

    replaces: it takes the place of what finer scales gave; else it is added.
    """

    scale: float
    weight: Tensor | float = 1.0
    replaces: bool = False


@dataclass(frozen=True, eq=False)
class Plan:
    """How a picture is restored: parts, the finest first, and how much of their sum is applied.

    amount: a map [1,1,h,w] in 0..1, or a number.
    """

    parts: Sequence[Part]
    amount: Tensor | float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether the network sees the picture as it is and its result is taken as it is."""
        if len(self.parts) != 1 or isinstance(self.amount, Tensor):
            return False
        return self.parts[0].scale == 1 and self.amount == 1

    def needed(self, part: Part, size: Sequence[int]) -> Tensor | None:
        """Above 0 where a part must be restored [1,1,H,W]; None where that is everywhere."""
        weight = weight_at(part.weight, size) * weight_at(self.amount, size)
        return weight if isinstance(weight, Tensor) and bool((weight == 0).any()) else None


def parse_scale(scale: str | float) -> str | float:
    """`auto`, `mean`, or a number in (0, 1]; raises UserError for anything else."""
    if scale in ("auto", "mean"):
        return scale
    try:
        value = float(scale)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise UserError(f"--scale {scale} must be auto, mean, or a number above 0 and at most 1")
    return value


def check_strength(strength: float) -> None:
    """Raises UserError for a strength out of range."""
    if not 0 <= strength <= MAX_STRENGTH:
        raise UserError(f"--strength {strength:g} must be at least 0 and at most {MAX_STRENGTH:g}")


def check_size(scale: str | float, size: tuple[int, int], name: object = "a picture") -> None:
    """Raises UserError for a fixed scale that shrinks a picture of a size (height, width) too far.

    name: of the picture. auto and mean leave out what would.
    """
    if isinstance(scale, float) and scale < 1 and min(size) * scale < MIN_SIDE:
        smallest = math.ceil(100 * MIN_SIDE / min(size)) / 100
        advice = f"at least {smallest:g}" if smallest <= 1 else "1"
        raise UserError(
            f"--scale {scale:g} leaves less than {MIN_SIDE} px of {name} with {size[1]}x{size[0]} "
            f"px: choose {advice}"
        )


def fixed_plan(scale: str | float, size: tuple[int, int]) -> Plan:
    """The plan of `mean` or of one scale for a picture of a size (height, width)."""
    check_size(scale, size)
    if scale != "mean":
        return Plan([Part(float(scale))])
    scales = [scale for scale in MEAN_SCALES if scale == 1 or min(size) * scale >= MIN_SIDE]
    return Plan([Part(scale, 1 / len(scales)) for scale in scales])


def shrinking(typical: float, low: float, size: tuple[int, int], tuned: bool) -> float:
    """The finest scale for a picture whose blur is typically, and in its sharper parts, so long.

    tuned: for our network; others were trained on blur of up to 40 px.
    """
    if not tuned:
        finest = 1.0 if typical <= PUBLISHED_REACH else PUBLISHED_AIM / typical
    elif low < FINEST:
        finest = 1.0
    else:
        finest = min(LARGEST_SHRUNKEN, FINEST / low)
    return min(max(finest, MIN_SIDE / min(size)), 1.0)


def auto_plan(blur: BlurMap, noise: float, size: tuple[int, int], tuned: bool) -> Plan:
    """What `auto` does with a picture of a size (height, width); no parts where all is sharp.

    noise: of its colours, see restoration/blur.py. Another network than ours (not tuned) gets the
    whole picture at one scale.
    """
    if not tuned:
        return Plan([Part(shrinking(blur.typical, 0, size, False))])
    amount: Tensor | float = 1.0
    if not NOISY[0] <= noise <= NOISY[1]:
        if (blur.lengths > SHARP[1]).float().mean() < MIN_BLURRED:
            return Plan([])
        amount = MIN_AMOUNT + (1 - MIN_AMOUNT) * ramp(blur.lengths[None, None], *SHARP)
    # a place alone tells less than the whole picture
    lengths = (blur.lengths / blur.typical)[None, None] ** LOCAL * blur.typical
    blurred = lengths[lengths > SHARP[1]]
    low = float(blurred.quantile(LOW)) if len(blurred) else 0.0
    finest = shrinking(blur.typical, low, size, True)
    position = (lengths * finest / SINGLE).log() / -math.log(RATIO)
    position = torch.maximum(position, MIX * ramp(lengths, MIX_FROM, MIX_TO))
    scales = [finest]
    while scales[-1] * RATIO * min(size) >= MIN_SIDE and len(scales) <= float(position.max()) + 1:
        scales.append(scales[-1] * RATIO)
    # the coarsest there is stands for those that would be still coarser
    position = position.clamp(max=len(scales) - 1)
    parts = []
    total = torch.zeros_like(position)
    for index, scale in enumerate(scales):
        weight = (1 - (position - index).abs() / WIDTH).clamp(min=0)
        total = total + weight
        blend = weight / total.clamp(min=1e-6) if index else (2 * weight).clamp(max=1)
        if blend.any():
            parts.append(Part(scale, blend, replaces=index > 0))
    return Plan(parts, amount)


def only_blurry(plan: Plan, blur: BlurMap) -> Plan:
    """The plan with an amount of 0 where the blur is shorter than about 3 px."""
    amount = ramp(blur.lengths[None, None], *BLURRY)
    return Plan(plan.parts if amount.any() else [], amount * plan.amount)


def ramp(values: Tensor, low: float, high: float) -> Tensor:
    """0 below low, 1 above high, linear between."""
    return ((values - low) / (high - low)).clamp(0, 1)


def shrunk(image: Tensor, scale: float) -> Tensor:
    """An image [B,C,H,W] at a scale, antialiased; sides are rounded.

    Halved by averaging as often as possible, then bicubic; sides must be multiples of
    2^halvings(scale).
    """
    size = [max(round(side * scale), 1) for side in image.shape[-2:]]
    times = halvings(scale)
    if times:
        image = F.avg_pool2d(image, 2**times)
    if list(image.shape[-2:]) == size:
        return image
    return F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False)


def enlarged(image: Tensor, size: Sequence[int]) -> Tensor:
    """An image [B,C,h,w] at a larger size (height, width), bicubic."""
    if image.shape[-2:] == tuple(size):
        return image
    return F.interpolate(image, size=tuple(size), mode="bicubic", align_corners=False)


def halvings(scale: float) -> int:
    """How often a picture is halved on the way to a scale."""
    return max(math.floor(-math.log2(scale) + 1e-6), 0)


def weight_at(weight: Tensor | float, size: Sequence[int]) -> Tensor | float:
    """A part's weight for every pixel [1,1,H,W] of a size (height, width)."""
    if not isinstance(weight, Tensor):
        return weight
    return F.interpolate(weight, size=tuple(size), mode="bilinear", align_corners=False)
