"""What names of folders and files say of pictures: blurry or sharp, which pair, which partition.

Each rule holds for every data set of single pictures (data/photo_catalog.py lists them).
"""

import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from utils.errors import UserError

# They say what a picture is, not which; REDS puts train_ or val_ before.
BLURRY_FOLDERS = ("blur", "blur_gamma", "blur_jpeg", "blurry", "blurred", "input", "lq")
# They say how the blur was made: another one is never taken instead.
EXACT_FOLDERS = ("blur", "blur_gamma", "blur_jpeg")
SHARP_FOLDERS = ("sharp", "gt", "target", "hq")
# What data sets call the parts that nobody trains on, alone or before or behind another word.
_HELD_OUT = re.compile(
    r"(?:test|testing|val|valid|validation|eval)(?:_(?:blur|sharp|input|target|gt|lq|hq)\w*)?"
    r"|.+[_-](?:test|val)",
    re.IGNORECASE,
)


def kind_of(folder: str) -> str | None:
    """What the name of a folder says its pictures are (train_blur, blur_crops: blur), None if
    nothing.
    """
    plain = re.sub(r"^(?:train|val|test)_(?=blur|sharp)", "", folder.lower())
    plain = re.sub(r"_(?:crops|patches)$", "", plain)
    if plain in BLURRY_FOLDERS or plain in SHARP_FOLDERS:
        return plain
    return None


def is_sharp(path: str) -> bool:
    return any(kind_of(part) in SHARP_FOLDERS for part in Path(path).parts)


def of_training(paths: list[Path], root: Path) -> list[Path]:
    """The pictures below a data set's root without those of its validation and test.

    They lie in folders called test, val, ... (or test_blur, NAME_test, ...); where nothing else is
    there all are taken.
    """
    held_out = set(held_out_in(paths, root))
    return [path for path in paths if path not in held_out] or paths


def held_out_in(paths: Iterable[Path], root: Path) -> list[Path]:
    """Those of the pictures below a root that lie in folders of validation and test."""
    return [
        path for path in paths if any(map(_HELD_OUT.fullmatch, path.relative_to(root).parts[:-1]))
    ]


def pairs_line(blurry: Sequence[Path], sharp: Sequence[Path]) -> str:
    """What was taken for pairs: "1,234 pairs: input/ beside target/"."""
    kinds = []
    for paths in (blurry, sharp):
        names = dict.fromkeys(map(_kind_folder, paths))
        kinds.append(", ".join(itertools.islice(names, 3)))
    return f"{len(blurry):,} pairs: {' beside '.join(kinds)}"


def sharp_line(paths: Sequence[Path], root: Path) -> str:
    """What was taken for sharp pictures, by the folders that they lie in."""
    names = dict.fromkeys(f"{path.relative_to(root).parent}/" for path in paths)
    shown = ", ".join(itertools.islice(names, 3))
    more = ", ..." if len(names) > 3 else ""
    return (
        f"{len(paths):,} sharp pictures, which are blurred for training, in {root}: {shown}{more}; "
        "pairs would lie in folders like input/ beside target/"
    )


def _kind_folder(path: Path) -> str:
    """The folder that says what a picture is, or its parent."""
    telling = [part for part in path.parts[:-1] if kind_of(part)]
    return f"{(telling or [path.parent.name])[-1]}/"


def pair_key(path: Path, root: Path) -> str:
    """What the files of one picture have in common below their folders in every data set.

    The folders hold blurry, sharp or restored pictures. GoPro VIDEO/blur/F = VIDEO/sharp/F =
    VIDEO_F; RealBlur sceneN/blur/blur_M = sceneN/gt/gt_M = sceneN_blur_M (results of scene244
    belong to scene244_reflect); Koehler Blurry1_4 = GroundTruth1_4; else the relative path.
    """
    folders = [part for part in path.relative_to(root).parts[:-1] if kind_of(part) is None]
    name = re.sub(r"^(?:Blurry|GroundTruth)(?=\d+_\d+)", "", path.stem)
    key = "_".join([*folders, name])
    key = re.sub(r"(^|_)(?:blur|gt)_(?=\d+$)", r"\1", key)
    return re.sub(r"^scene244_reflect", "scene244", key)


def by_key(paths: Iterable[Path], root: Path) -> dict[str, Path]:
    """Files by their pair_key; raises UserError for two of one key."""
    found: dict[str, Path] = {}
    for path in paths:
        key = pair_key(path, root)
        if key in found:
            raise UserError(f"{found[key]} and {path} are the same picture {key} by their names")
        found[key] = path
    return found
