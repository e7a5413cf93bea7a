"""Of judged shots: which are kept, which tie, what a person sees in them, and ratings for photo
managers.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from methods.irp.sources import JudgedShot
from restoration.blur import measure
from utils.errors import UserError
from utils.evaluation.sharpness import noise_deviation
from utils.files import write_text
from utils.image import resize_to, to_tensor
from utils.templates import rendered

# What the scores of a judge err by: smaller differences are none (docs/findings/irp.md).
ERRORS = {"mixed": 0.03, "network": 0.09}
LONGEST = 2048  # px; the blur of larger pictures is measured on shrunken ones
SHARP = 2.5  # px of blur
PARTLY_BLURRED = 4.0  # px: flat places and soft backgrounds look up to so blurred
NOISY = 6.0  # grey levels
DARK = 45  # mean grey level
BRIGHT = 215
STARS_OF_KEPT = 5
STARS_OF_OTHERS = 4  # at most, by their score


def reason(picture: np.ndarray) -> str:
    """What a person sees in a shot [H,W,3] uint8: sharp, blurred some 12 px; dark, noisy.

    Edges along a motion stay crisp, as does what a shaken camera caught in a flash of light. They
    are measured with more certainty than the rest, so the median of all places counts, too.
    """
    shrunk = resize_to(picture, LONGEST)
    scale = max(picture.shape) / max(shrunk.shape)
    blur = measure(to_tensor(shrunk))
    middle = float(blur.lengths.median())
    words = ["sharp"]
    if blur.typical >= SHARP:
        words = [f"blurred some {blur.typical * scale:.0f} px"]
    elif middle >= PARTLY_BLURRED:
        words = [f"partly blurred, some {middle * scale:.0f} px"]
    level = float(picture.mean())
    if level < DARK:
        words.append("dark")
    elif level > BRIGHT:
        words.append("very bright")
    if noise_deviation(shrunk) > NOISY:
        words.append("noisy")
    return ", ".join(words)


def tied_with_best(ranked: Sequence[JudgedShot], error: float) -> list[JudgedShot]:
    """The shots, the best among them, whose scores differ from its by less than they err."""
    return [shot for shot in ranked if ranked[0].potential - shot.potential < error]


def kept_shots(
    judged: Sequence[JudgedShot], ranked: Sequence[JudgedShot], count: int, spread: float | None
) -> list[JudgedShot]:
    """The best shots, so that no two are closer than `spread`.

    judged: all in their order. spread: seconds of a video, else places in the order; None: of a
    video a quarter of what would be even, else 0.
    """
    positions = {}
    for index, shot in enumerate(judged):
        positions[shot.name] = float(index) if shot.time is None else shot.time
    distance = spread or 0.0
    if spread is None and judged[0].time is not None:
        distance = (max(positions.values()) - min(positions.values())) / (4 * count)
    kept: list[JudgedShot] = []
    for shot in ranked:
        near = [abs(positions[shot.name] - positions[other.name]) < distance for other in kept]
        if len(kept) < count and not any(near):
            kept.append(shot)
    if spread is None:
        kept += [shot for shot in ranked if shot not in kept][: count - len(kept)]
    elif len(kept) < count:
        print(f"note: only {len(kept)} of {count} shots are {spread:g} or more apart (--spread)")
    return sorted(kept, key=ranked.index)


def check_ratings(judged: Sequence[JudgedShot]) -> None:
    """Raises UserError where shots are no files that ratings could lie beside."""
    if judged[0].path is None:
        raise UserError("--write_ratings rates picture files; frames of a video have none")


def write_ratings(ranked: Sequence[JudgedShot], kept: Sequence[JudgedShot]) -> None:
    """Write PICTURE.EXT.xmp beside each picture: five stars for those kept, else by the score.

    Pictures stay as they are, and so do sidecars that are there.
    """
    written = 0
    for shot in ranked:
        target = sidecar(shot.path)
        if target.exists():
            print(f"note: {target} is there and stays as it is")
            continue
        stars = STARS_OF_KEPT
        if shot not in kept:
            stars = 1 + min(int(shot.potential * STARS_OF_OTHERS), STARS_OF_OTHERS - 1)
        write_text(target, rendered("rating.xmp", stars=stars))
        written += 1
    print(f"ratings: {written} XMP files beside the pictures")


def sidecar(picture: Path) -> Path:
    """Where photo managers (darktable, digiKam) look for a picture's XMP."""
    return picture.with_name(f"{picture.name}.xmp")
