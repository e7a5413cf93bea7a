"""The objects of a picture as masks, and what their files have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.errors import UserError

MAX_BYTES = 2**31  # of all masks of a picture


class Objects(NamedTuple):
    """masks [N,H,W] bool and how sure the segmentation is of each, 0..1."""

    masks: np.ndarray
    scores: np.ndarray

    def chosen(
        self, min_score: float = 0.9, min_area: int = 4000, max_objects: int = 5
    ) -> "Objects":
        """Those above a score and an area in px, the best scores first, at most `max_objects`."""
        suitable = (self.masks.sum((1, 2)) > min_area) & (self.scores > min_score)
        order = np.argsort(-self.scores, kind="stable")
        order = order[suitable[order]][:max_objects]
        return Objects(self.masks[order], self.scores[order])


MaskSource = Callable[[str, np.ndarray], Objects]  # (name, picture [H,W,3]) -> its objects


def checked(objects: Objects, picture: np.ndarray, path: Path) -> Objects:
    """The objects; raises UserError for shapes that do not fit each other or the picture."""
    if objects.masks.ndim != 3 or objects.scores.ndim != 1:
        raise UserError(
            f"{path} has masks of shape {objects.masks.shape} and scores of shape "
            f"{objects.scores.shape}: [N,H,W] and [N] are needed"
        )
    check_size(objects.masks.shape[1:], picture, path)
    if len(objects.scores) != len(objects.masks):
        raise UserError(f"{path} has {len(objects.masks)} masks but {len(objects.scores)} scores")
    return objects


def check_size(size: tuple[int, ...], picture: np.ndarray, path: Path) -> None:
    """Raises UserError for masks of another size (height, width) than their picture [H,W,3]."""
    height, width = size
    if size != picture.shape[:2]:
        raise UserError(
            f"the masks of {path} are {width}x{height}, their picture is "
            f"{picture.shape[1]}x{picture.shape[0]}"
        )


def check_count(count: int, picture: np.ndarray, path: Path) -> None:
    """Raises UserError for more masks of a picture [H,W,...] than fit into MAX_BYTES."""
    height, width = picture.shape[:2]
    if count * height * width > MAX_BYTES:
        raise UserError(
            f"{path} has {count:,} masks of {width}x{height}: they take more than "
            f"{MAX_BYTES / 2**30:g} GB. Is it a photo in place of labels?"
        )


def certain(masks: list[np.ndarray], picture: np.ndarray) -> Objects:
    """Objects of a picture [H,W,...] that all have the score 1."""
    stacked = np.array(masks, bool).reshape(-1, *picture.shape[:2])
    return Objects(stacked, np.ones(len(masks), np.float32))


def no_masks(name: str, picture: np.ndarray) -> Objects:
    """The MaskSource of pictures without objects."""
    return certain([], picture)


def stem_of(name: str) -> str:
    """The last part of a picture's name, without its folders."""
    return name.rpartition("/")[2]


def stored_values(path: Path) -> np.ndarray:
    """Values of a mask picture [H,W] or [H,W,C] as stored: palette indices, labels or channels."""
    # Pillow; OpenCV gives a palette's colours, not its indices
    from utils.open_picture import damage_as_sentence, open_picture

    with damage_as_sentence(path), open_picture(path) as image:
        return np.asarray(image)


def label_map(values: np.ndarray) -> np.ndarray:
    """Labels [H,W] of grey values, or of colours as COCO writes them: R + 256 G + 256^2 B."""
    if values.ndim == 2:
        return values
    if values.shape[2] == 2:  # grey, and transparency
        return values[..., 0]
    red, green, blue = np.moveaxis(values[..., :3].astype(np.int64), -1, 0)
    return red + 256 * green + 65536 * blue
