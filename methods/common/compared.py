"""test.py --compare of pictures: which results belong to which ground truth."""

from collections.abc import Mapping
from pathlib import Path

from data.photo_catalog import Pictures, results_by_key, truths_by_key
from utils.errors import UserError
from utils.evaluation.compared_files import Material


def material_of_pairs(found: Pictures, folders: Mapping[str, Path]) -> Material:
    """Results beside the pictures of a data set."""
    sharp = {picture.name: picture.sharp for picture in found.pictures}
    blurry = {picture.name: picture.blurry for picture in found.pictures}
    return Material(sharp, blurry, _by_key(folders, None))


def material_of_folders(
    sharp_dir: Path | None,
    blurry_dir: Path | None,
    folders: Mapping[str, Path],
    protocol: str,
    leave_out: Path | None,
) -> Material:
    """Results beside folders of sharp and blurry pictures, paired by their names.

    leave_out: a folder of earlier results inside the others.
    """
    if sharp_dir is None:
        raise UserError("to compare folders give --sharp_dir (-s), the folder of sharp pictures")
    sharp = truths_by_key(sharp_dir, protocol, leave_out)
    blurry = results_by_key(blurry_dir, leave_out) if blurry_dir else {}
    return Material(sharp, blurry, _by_key(folders, leave_out))


def _by_key(folders: Mapping[str, Path], leave_out: Path | None) -> dict[str, dict[str, Path]]:
    return {label: results_by_key(folder, leave_out) for label, folder in folders.items()}
