"""What no restored picture is: without numbers, or of one colour where the blurry one is not."""

from pathlib import Path

from torch import Tensor

from utils.errors import UserError

_VISIBLE = 0.1  # a range of values, of 1
_ROUNDED_AWAY = 1 / 510  # half a level of 8 bits


def checked(restored: Tensor, blurry_range: float, weights: Path | None) -> Tensor:
    """The restored image [...,3,H,W] in [0,1] of a blurry one with a range of values.

    Raises UserError, which names the weights, for values that are not finite and for one colour:
    damaged weights give them, and arithmetic in half precision may.
    """
    if not restored.isfinite().all():
        raise _unusable("holds values that are no finite numbers", weights)
    if blurry_range > _VISIBLE and range_of(restored.clamp(0, 1)) < _ROUNDED_AWAY:
        raise _unusable("is of one colour", weights)
    return restored


def range_of(image: Tensor) -> float:
    """The largest range of values in [0,1] of any colour of an image [...,H,W]."""
    colours = image.flatten(-2)
    return float((colours.amax(-1) - colours.amin(-1)).max())


def _unusable(what: str, weights: Path | None) -> UserError:
    return UserError(
        f"the network's result {what}: its weights ({weights}) may be damaged, or need "
        "--precision fp32"
    )
