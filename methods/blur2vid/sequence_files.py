"""Files of seven frames each: results of blur to video, and their ground truth."""

from pathlib import Path

import torch
from torch import Tensor

from data.sequences import FRAMES
from utils.errors import UserError
from utils.files import natural_key
from utils.image import is_image, read_image, to_tensor


def sequence_folders(root: Path) -> dict[str, Path]:
    """{ID: folder of its seven pictures}, ROOT/ID or ROOT/ID/sharp."""
    if not root.is_dir():
        raise UserError(f"there is no folder {root}")
    folders = {}
    for path in sorted(root.iterdir()):
        if path.is_dir():
            inner = path / "sharp"
            folders[path.name] = inner if inner.is_dir() else path
    if not folders:
        raise UserError(f"{root} has no folders of seven pictures each")
    return folders


def read_frames(folder: Path) -> Tensor:
    """The frames [7,3,H,W] of a folder; raises UserError for another number or other sizes."""
    found = [path for path in folder.iterdir() if is_image(path)]
    pictures = [path for path in found if path.stem not in ("strip", "contact_sheet")]
    paths = sorted(pictures, key=lambda path: natural_key(path.name))
    if len(paths) != FRAMES:
        raise UserError(f"{folder} has {len(paths)} pictures, a sequence has {FRAMES}")
    pictures = [read_image(path) for path in paths]
    if len({picture.shape for picture in pictures}) > 1:
        raise UserError(f"{folder} has pictures of different sizes")
    return torch.stack([to_tensor(picture) for picture in pictures])


def read_predicted(folder: Path, truth: Tensor) -> Tensor:
    """The frames [7,3,H,W] of a folder of results; raises UserError for another size."""
    predicted = read_frames(folder)
    if predicted.shape != truth.shape:
        sizes = [f"{images.shape[-1]}x{images.shape[-2]}" for images in (predicted, truth)]
        raise UserError(f"{folder} has pictures of {sizes[0]}, the ground truth of {sizes[1]}")
    return predicted


def read_blurry(root: Path, name: str, truth: Tensor) -> Tensor:
    """The blurry picture [3,H,W] of a sequence.

    ROOT/ID.png (any extension) or the first of ROOT/ID/blur.
    """
    beside = [path for path in root.iterdir() if path.stem == name]
    inside = (root / name / "blur").glob("*")
    found = sorted(filter(is_image, (*beside, *inside)))
    if not found:
        raise UserError(
            f"{root} has no blurry picture of {name}: {name}.png or {name}/blur/0000.png"
        )
    blurry = to_tensor(read_image(found[0]))
    if blurry.shape != truth.shape[1:]:
        raise UserError(
            f"{found[0]} is {blurry.shape[-1]}x{blurry.shape[-2]}, the true frames "
            f"{truth.shape[-1]}x{truth.shape[-2]}"
        )
    return blurry
