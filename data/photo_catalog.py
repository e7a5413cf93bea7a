"""Every data set of single pictures: which are blurry, which sharp, and which belong together.

A folder's name says what its pictures are (BLURRY_FOLDERS, SHARP_FOLDERS), `pair_key` which of them
are the same picture. So these are read as they are downloaded: GoPro
(VIDEO/{blur,blur_gamma,sharp}), REDS ({train,val}_{blur,blur_jpeg,sharp}/VIDEO), DVD
(VIDEO/{input,GT}), HIDE, RealBlur and GoPro as Restormer and NAFNet repackage them
({input,target}/NAME), RealBlur (sceneN/{blur,gt}, or a list file of two paths per line), Koehler,
pairs made by generate.py sbdd, and any {blurry,blur,input,lq}/... beside {sharp,gt,target,hq}/...,
also as blur_crops/ beside sharp_crops/. Links to folders are followed.
"""

import itertools
import re
from collections import Counter
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

from data.catalog import check_partners, existing_folder, images_in
from data.picture_names import (
    BLURRY_FOLDERS,
    EXACT_FOLDERS,
    SHARP_FOLDERS,
    by_key,
    is_sharp,
    kind_of,
    of_training,
    pair_key,
)
from utils.errors import UserError, reading
from utils.evaluation.scoring import Triple, check_paired
from utils.files import below, files_below, natural_key, read_regular
from utils.image import is_image, left_out
from utils.schema import SMALL_FILE
from utils.video import is_video

CONTACT_SHEET = "contact_sheet.jpg"  # what we write beside results is no picture
_CONTACT_SHEETS = (CONTACT_SHEET, "contact_sheet.png")  # the second of version 0.2
# The published sets of single pictures, recognised by their number of pairs.
PUBLISHED_PAIRS = (
    ("GoPro train", 2103),
    ("GoPro test", 1111),
    ("HIDE", 2025),
    ("RealBlur-J train", 3758),
    ("RealBlur-J test", 980),
    ("Koehler", 48),
)


@dataclass(frozen=True)
class Picture:
    """A picture to restore and its ground truth, if there is any.

    `sharp` is a picture, or (Koehler) a folder of pictures or a .mat file.
    """

    name: str
    blurry: Path
    sharp: Path | None = None


@dataclass(frozen=True)
class Pictures:
    """What was found.

    remark: for the user, about the published set with as many pairs and about the blurry folder.
    blur_folder: the folder that the blurry pictures come from: what was asked for, or input or
    blurry, whose names do not say how the blur was made; "" where no folder says what is blurry.
    """

    pictures: tuple[Picture, ...]
    remark: str = ""
    blur_folder: str = ""


def is_contact_sheet(path: Path) -> bool:
    """Whether a file has the name of what we write beside results."""
    return path.name in _CONTACT_SHEETS


def find_pictures(folder: Path) -> list[Path]:
    """All pictures below a folder, in natural order of their relative paths.

    A note tells of videos, and of pictures of kinds that are not read.
    """
    existing_folder(folder)
    files = list(files_below(folder))
    found = [path for path in files if is_image(path) and path.is_file()]
    others = left_out(files)
    if others and not found:
        raise UserError(f"no pictures in {folder} that are read here, only {others}")
    videos = sum(map(is_video, files))
    kinds = [others] if others else []
    if videos:
        kinds.append(f"{videos} video{'s' * (videos > 1)} (give each alone)")
    if kinds and found:
        print(f"note: {folder}: left out are {', '.join(kinds)}")
    if not found and any(map(is_video, folder.iterdir())):
        raise UserError(f"no pictures in {folder}, only videos: give one of them")
    if not found:
        raise UserError(f"no pictures in {folder}")
    return sorted(found, key=lambda path: natural_key(str(path.relative_to(folder))))


def pictures_by_name(folder: Path, leave_out: Path | None = None) -> dict[str, Path]:
    """find_pictures by their relative paths without ending, but those below `leave_out`.

    Pictures that differ in the ending alone keep it. Raises UserError where none is left.
    """
    found = find_pictures(folder)
    if leave_out:
        results = leave_out.resolve()
        found = [path for path in found if not path.resolve().is_relative_to(results)]
    if not found:
        raise UserError(f"no pictures in {folder} but earlier results")
    return _by_path(found, folder)


def find_sharp(folder: Path, training: bool = False) -> list[Path]:
    """The sharp pictures below a folder: of pairs the sharp ones, else all.

    For `training` those of a data set's validation and test are left out (see of_training). Raises
    UserError where all are blurry by their folders.
    """
    groups = _groups(folder, training=training)
    sharp = _sharp_of(groups)
    if sharp:
        return sharp
    if any(kind in BLURRY_FOLDERS for kind in groups):
        raise UserError(
            f"{folder} holds blurry pictures alone (by the names of its folders): sharp ones are "
            "needed"
        )
    return list(itertools.chain(*groups.values()))


def find_pairs(
    root: Path,
    blur_folder: str | None = None,
    need_sharp: bool = False,
    leave_out: Path | None = None,
    training: bool = False,
) -> Pictures:
    """The pictures below a folder (or in a list file, or one picture) with their ground truth.

    blur_folder: which to take where there are several; none: blur, or the only one. What lies below
    `leave_out` (earlier results) is not looked at, nor are contact sheets; for `training` neither
    is what a data set holds for validation and test (see of_training). Raises UserError, naming the
    picture, for an empty or missing folder, for two pictures of one name and for one without
    partner.
    """
    if root.suffix == ".txt":
        return _list_file(root)
    if root.is_file():
        blurry = {root.stem: root}
        sharp = {}
        kind = ""
    else:
        groups = _groups(root, leave_out, training)
        kind, blurry, sharp = _by_kind(root, groups, blur_folder)
    if need_sharp and not sharp:
        raise UserError(
            f"no ground truth in {root}: folders called {', '.join(BLURRY_FOLDERS)} and "
            f"{', '.join(SHARP_FOLDERS)} are looked for"
        )
    if not sharp:
        return Pictures(tuple(Picture(name, path) for name, path in blurry.items()))
    check_partners(root, blurry, sharp)
    pictures = tuple(Picture(name, path, sharp[name]) for name, path in blurry.items())
    remarks = [_pairs_remark(len(pictures))]
    if kind not in EXACT_FOLDERS and blur_folder in ("blur_gamma", "blur_jpeg"):
        remarks.append(f"blurry pictures from {kind}/, which need not be {blur_folder}")
    return Pictures(pictures, "; ".join(filter(None, remarks)), kind)


def matching(found: Pictures, pattern: str) -> Pictures:
    """The pictures whose blurry file has a name of a pattern, like *9.*; UserError for none."""
    chosen = [picture for picture in found.pictures if fnmatch(picture.blurry.name, pattern)]
    if not chosen:
        raise UserError(f"no file is called {pattern} (--file_pattern)")
    remark = f"{pattern}: {len(chosen)} of {len(found.pictures)}"
    return replace(found, pictures=tuple(chosen), remark=remark)


def find_results(
    restored_dir: Path,
    sharp_dir: Path,
    blurry_dir: Path | None,
    protocol: str,
    leave_out: Path | None = None,
) -> list[Triple]:
    """Restored pictures with their ground truth (and input), paired by pair_key.

    What lies below `leave_out` is no result. Raises UserError that names what is missing or left
    over.
    """
    sharp = truths_by_key(sharp_dir, protocol, leave_out)
    restored = results_by_key(restored_dir, leave_out)
    check_paired(restored_dir, restored, sharp, sharp, sharp_dir)
    blurry: dict[str, Path] = {}
    if blurry_dir:
        blurry = results_by_key(blurry_dir, leave_out)
        check_paired(blurry_dir, blurry, sharp, sharp, sharp_dir)
    return [Triple(name, restored[name], path, blurry.get(name)) for name, path in sharp.items()]


def results_by_key(folder: Path, leave_out: Path | None) -> dict[str, Path]:
    """The pictures below a folder by pair_key, but contact sheets and those below `leave_out`."""
    found = [path for path in find_pictures(folder) if not is_contact_sheet(path)]
    if leave_out:
        found = [path for path in found if not path.is_relative_to(leave_out)]
    return by_key(found, folder)


def truths_by_key(sharp_dir: Path, protocol: str, leave_out: Path | None) -> dict[str, Path]:
    """Ground truth by pair_key, of a protocol's kind."""
    if protocol == "kohler":
        return find_truths(sharp_dir)
    return results_by_key(sharp_dir, leave_out)


def find_truths(folder: Path) -> dict[str, Path]:
    """Koehler's ground truth by pair_key: a .mat file, a folder of pictures, or a picture each."""
    existing_folder(folder)
    found = [
        path
        for path in folder.iterdir()
        if path.suffix == ".mat" or is_image(path) or (path.is_dir() and images_in(path))
    ]
    if not found:
        raise UserError(f"no ground truth (.mat files, folders of pictures, pictures) in {folder}")
    return by_key(sorted(found, key=lambda path: natural_key(path.name)), folder)


def _groups(
    root: Path, leave_out: Path | None = None, training: bool = False
) -> dict[str | None, list[Path]]:
    """The pictures below a folder by what their innermost telling folder says they are."""
    if leave_out == root:
        leave_out = None
    groups: dict[str | None, list[Path]] = {}
    paths = find_pictures(root)
    for path in of_training(paths, root) if training else paths:
        if is_contact_sheet(path):
            continue
        if leave_out and path.is_relative_to(leave_out):
            continue
        group = None
        for folder in path.relative_to(root).parts[:-1]:
            group = kind_of(folder) or group
        groups.setdefault(group, []).append(path)
    if not groups:
        raise UserError(f"no pictures in {root} but earlier results")
    return groups


def _sharp_of(groups: dict[str | None, list[Path]]) -> list[Path]:
    sharp = []
    for kind in SHARP_FOLDERS:
        sharp += groups.get(kind, [])
    return sharp


def _by_kind(
    root: Path, groups: dict[str | None, list[Path]], blur_folder: str | None
) -> tuple[str, dict[str, Path], dict[str, Path]]:
    """(the blurry folder, blurry and sharp pictures by their keys).

    All are blurry where no folders tell them apart.
    """
    blurs = [kind for kind in groups if kind in BLURRY_FOLDERS]
    if not blurs:
        return "", _by_path(list(itertools.chain(*groups.values())), root), {}
    chosen = _choose_blur(root, blurs, blur_folder)
    blurry = by_key(groups[chosen], root)
    for kind in SHARP_FOLDERS:
        if _holds_trajectories(root / kind):
            return chosen, blurry, find_truths(root / kind)
    return chosen, blurry, by_key(_sharp_of(groups), root)


def _choose_blur(root: Path, blurs: list[str], blur_folder: str | None) -> str:
    """The one of the blurry folders that are there to take, see find_pairs."""
    if len(blurs) == 1 and blurs[0] not in EXACT_FOLDERS:
        return blurs[0]
    if not blur_folder and len(blurs) == 1:
        return blurs[0]
    wanted = blur_folder or "blur"
    if wanted not in blurs:
        raise UserError(
            f"{root} holds the blurry folders {', '.join(blurs)}: choose one with --blur_folder"
        )
    return wanted


def _by_path(paths: list[Path], root: Path) -> dict[str, Path]:
    """Pictures by their relative paths, without ending where that tells them apart."""
    relative = [path.relative_to(root) for path in paths]
    counts = Counter(path.with_suffix("") for path in relative)
    found = {}
    for path, name in zip(paths, relative):
        if counts[name.with_suffix("")] == 1:
            name = name.with_suffix("")
        found[str(name)] = path
    if len(found) < len(paths):
        raise UserError(
            f"{root} holds pictures whose results would have one name, like a.jpg, a.png and "
            "a.jpg.png: rename some"
        )
    return found


def _holds_trajectories(folder: Path) -> bool:
    """Whether a folder holds Koehler's ground truth: GroundTruth1_4/ or GroundTruth1_4.mat."""
    return folder.is_dir() and any(
        re.match(r"GroundTruth\d+_\d+$", path.stem) and not is_image(path)
        for path in folder.iterdir()
    )


def _list_file(path: Path) -> Pictures:
    """Pairs of a text file with two paths per line, relative to its folder.

    The sharp one is the one below a folder of SHARP_FOLDERS.
    """
    if not path.is_file():
        raise UserError(f"no list file at {path}")
    with reading(path, "a list of files"):
        lines = read_regular(path, SMALL_FILE).decode("utf-8-sig").splitlines()
    pictures = [
        _listed_pair(path.parent, _listed_words(line), f"{path}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not pictures:
        raise UserError(f"{path} lists no pictures")
    return Pictures(tuple(pictures), _pairs_remark(len(pictures)))


def _listed_words(line: str) -> list[str]:
    """The paths of a line, apart by blanks, or by tabs where it has some; quoted, or with the
    backslashes of Windows.
    """
    if "\t" in line:
        words = [word.strip().strip('"') for word in line.split("\t") if word.strip()]
    else:
        words = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', line)]
    return [word.replace("\\", "/") for word in words]


def _listed_pair(folder: Path, paths: list[str], where: str) -> Picture:
    blurry = [path for path in paths if not is_sharp(path)]
    sharp = [path for path in paths if is_sharp(path)]
    if len(blurry) != 1 or len(sharp) != 1:
        raise UserError(
            f"{where}: two paths are expected, one of them below a folder "
            f"{', '.join(SHARP_FOLDERS)}"
        )
    blurry_file = below(folder, blurry[0], where)
    sharp_file = below(folder, sharp[0], where)
    for file in (blurry_file, sharp_file):
        if not file.is_file():
            raise UserError(f"{where}: there is no {file}")
    return Picture(pair_key(blurry_file, folder), blurry_file, sharp_file)


def _pairs_remark(count: int) -> str:
    for name, pairs in PUBLISHED_PAIRS:
        if pairs == count:
            return f"as many as {name} has"
    return ""
