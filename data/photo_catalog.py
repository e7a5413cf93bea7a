"""Every data set of single pictures: which of a folder's pictures are blurry, which sharp, and
which belong together.

A folder's name says what its pictures are (BLURRY_FOLDERS, SHARP_FOLDERS), `pair_key` which of them
are the same picture. So these are read as they are downloaded: GoPro
(VIDEO/{blur,blur_gamma,sharp}), REDS ({train,val}_{blur,blur_jpeg,sharp}/VIDEO), DVD
(VIDEO/{input,GT}), HIDE, RealBlur and GoPro as Restormer and NAFNet repackage them
({input,target}/NAME), RealBlur (sceneN/{blur,gt}, or a list file of two paths per line), Koehler,
pairs made by generate.py sbdd, and any {blurry,blur,input}/... beside {sharp,gt,target}/...
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data.catalog import complain_unpaired, existing_folder, images_in
from utils.errors import UserError, reading
from utils.evaluation.scoring import Triple, check_paired
from utils.files import below, natural_key
from utils.image import is_image
from utils.video import is_video

CONTACT_SHEET = "contact_sheet.png"  # what we write beside results is no picture
BLURRY_FOLDERS = (
    "blur",
    "blur_gamma",
    "blur_jpeg",
    "blurry",
    "input",
)  # say what a picture is, not which; REDS puts train_ or val_ before
EXACT_FOLDERS = (
    "blur",
    "blur_gamma",
    "blur_jpeg",
)  # say how the blur was made: another one is never taken instead
SHARP_FOLDERS = ("sharp", "gt", "target")
# (data set, pairs) of the published sets of single pictures, recognised by their number
PUBLISHED_PAIRS = (
    ("GoPro train", 2103), ("GoPro test", 1111), ("HIDE", 2025), ("RealBlur-J train", 3758), ("RealBlur-J test", 980), ("Koehler", 48),
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture to restore; `sharp` is its ground truth: a picture, or (Koehler) a folder of
    pictures or a .mat file.
    """

    name: str
    blurry: Path
    sharp: Path | None = None


@dataclass(frozen=True)
class Pictures:
    """What was found, and a remark for the user about the published set that it is, or nearly
    is.
    """

    pictures: tuple[Picture, ...]
    remark: str = ""


def find_pictures(folder: Path) -> list[Path]:
    """All pictures below a folder, in natural order of their relative paths."""
    existing_folder(folder)
    found = [path for path in folder.rglob("*") if is_image(path) and path.is_file()]
    if not found:
        videos = ", only videos: give one of them" if any(map(is_video, folder.iterdir())) else ""
        raise UserError(f"no pictures in {folder}{videos}")
    return sorted(found, key=lambda path: natural_key(str(path.relative_to(folder))))


def pictures_by_name(folder: Path, leave_out: Path | None = None) -> dict[str, Path]:
    """find_pictures by their relative paths without ending (with it where several differ in it
    alone), but those below `leave_out`.

    Raises UserError where none is left.
    """
    outside = [
        path
        for path in find_pictures(folder)
        if not (leave_out and path.resolve().is_relative_to(leave_out.resolve()))
    ]
    if not outside:
        raise UserError(f"no pictures in {folder} but earlier results")
    return _by_path(outside, folder)


def find_sharp(folder: Path) -> list[Path]:
    """The sharp pictures below a folder: of pairs the sharp ones, else all. Raises UserError where
    all are blurry by their folders.
    """
    groups = _groups(folder)
    if any(kind in BLURRY_FOLDERS for kind in groups) and not any(
        kind in SHARP_FOLDERS for kind in groups
    ):
        raise UserError(
            f"{folder} holds blurry pictures alone (by the names of its folders): sharp ones are "
            "needed"
        )
    if any(kind in SHARP_FOLDERS for kind in groups):
        return [path for kind in SHARP_FOLDERS for path in groups.get(kind, [])]
    return find_pictures(folder)


def find_pairs(
    root: Path,
    blur_folder: str | None = None,
    need_sharp: bool = False,
    leave_out: Path | None = None,
) -> Pictures:
    """The pictures below a folder (or in a list file, or one picture) with their ground truth, if
    there is any.

    blur_folder: which to take where there are several; none: blur, or the only one. What lies below
    `leave_out` (earlier results) is not looked at, nor are contact sheets. Raises UserError, naming
    the picture, for an empty or missing folder, for two pictures of one name and for one without
    partner.
    """
    if root.suffix == ".txt":
        return _list_file(root)
    if root.is_file():
        blurry, sharp = {root.stem: root}, {}
    else:
        blurry, sharp = _by_kind(root, blur_folder, leave_out)
    if need_sharp and not sharp:
        blurry, sharp = (", ".join(kinds) for kinds in (BLURRY_FOLDERS, SHARP_FOLDERS))
        raise UserError(
            f"no ground truth in {root}: folders called {blurry} and {sharp} are looked for"
        )
    if sharp and blurry.keys() != sharp.keys():
        complain_unpaired(root, blurry, sharp)
    pictures = tuple(Picture(name, path, sharp.get(name)) for name, path in blurry.items())
    return Pictures(pictures, _pairs_remark(len(pictures)) if sharp else "")


def find_results(
    restored_dir: Path,
    sharp_dir: Path,
    blurry_dir: Path | None,
    protocol: str,
    leave_out: Path | None = None,
) -> list[Triple]:
    """Restored pictures with their ground truth (and input), paired by pair_key; what lies below
    `leave_out` is no result.

    Raises UserError that names what is missing or left over.
    """

    def pictures(folder: Path) -> dict[str, Path]:
        found = (path for path in find_pictures(folder) if path.name != CONTACT_SHEET)
        return by_key(
            (path for path in found if not (leave_out and path.is_relative_to(leave_out))), folder
        )

    sharp = find_truths(sharp_dir) if protocol == "kohler" else pictures(sharp_dir)
    restored, blurry = pictures(restored_dir), pictures(blurry_dir) if blurry_dir else None
    for folder, files in ((restored_dir, restored), (blurry_dir, blurry)):
        if files is not None:
            check_paired(folder, files, sharp, sharp, sharp_dir)
    return [
        Triple(name, restored[name], path, blurry and blurry[name]) for name, path in sharp.items()
    ]


def pair_key(path: Path, root: Path) -> str:
    """What the files of one picture have in common in every data set, below its folder of blurry,
    sharp or restored pictures.

    GoPro VIDEO/blur/F = VIDEO/sharp/F = VIDEO_F; RealBlur sceneN/blur/blur_M = sceneN/gt/gt_M =
    sceneN_blur_M (results of scene244 belong to scene244_reflect); Koehler Blurry1_4 =
    GroundTruth1_4; else the relative path.
    """
    folders = [part for part in path.relative_to(root).parts[:-1] if _kind(part) is None]
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


def find_truths(folder: Path) -> dict[str, Path]:
    """Koehler's ground truth by pair_key: a .mat file or a folder of pictures per blurry picture;
    single pictures too.
    """
    existing_folder(folder)
    found = [
        path
        for path in folder.iterdir()
        if path.suffix == ".mat" or is_image(path) or (path.is_dir() and images_in(path))
    ]
    if not found:
        raise UserError(f"no ground truth (.mat files, folders of pictures, pictures) in {folder}")
    return by_key(sorted(found, key=lambda path: natural_key(path.name)), folder)


def _kind(folder: str) -> str | None:
    """blur, sharp, ... of a folder that says what its pictures are (train_blur: blur), None of any
    other.
    """
    plain = re.sub(r"^(?:train|val|test)_(?=blur|sharp)", "", folder.lower())
    return plain if plain in (*BLURRY_FOLDERS, *SHARP_FOLDERS) else None


def _groups(root: Path, leave_out: Path | None = None) -> dict[str | None, list[Path]]:
    """The pictures below a folder by what their folders say they are."""
    groups: dict[str | None, list[Path]] = {}
    for path in find_pictures(root):
        if path.name == CONTACT_SHEET or (
            leave_out and leave_out != root and path.is_relative_to(leave_out)
        ):
            continue
        kinds = [kind for part in path.relative_to(root).parts[:-1] if (kind := _kind(part))]
        groups.setdefault(kinds[-1] if kinds else None, []).append(path)
    if not groups:
        raise UserError(f"no pictures in {root} but earlier results")
    return groups


def _by_kind(
    root: Path, blur_folder: str | None, leave_out: Path | None
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Blurry and sharp pictures by their keys; without folders that tell them apart all are
    blurry.
    """
    groups = _groups(root, leave_out)
    blurs = [kind for kind in groups if kind in BLURRY_FOLDERS]
    if not blurs:
        return _by_path([path for paths in groups.values() for path in paths], root), {}
    chosen = blur_folder or ("blur" if "blur" in blurs else blurs[0])
    if len(blurs) == 1 and blurs[0] not in EXACT_FOLDERS:
        chosen = blurs[0]
    if chosen not in blurs or not blur_folder and "blur" not in blurs and len(blurs) > 1:
        raise UserError(
            f"{root} holds the blurry folders {', '.join(blurs)}: choose one with --blur_folder"
        )
    blurry = by_key(groups[chosen], root)
    trajectories = [folder for kind in SHARP_FOLDERS if _holds_trajectories(folder := root / kind)]
    if trajectories:
        return blurry, find_truths(trajectories[0])
    return blurry, by_key((path for kind in SHARP_FOLDERS for path in groups.get(kind, [])), root)


def _by_path(paths: list[Path], root: Path) -> dict[str, Path]:
    """Pictures by their relative paths without ending; of several that differ in the ending alone,
    with it.
    """
    stems = [str(path.relative_to(root).with_suffix("")) for path in paths]
    counts = Counter(stems)
    found = {
        stem if counts[stem] == 1 else str(path.relative_to(root)): path
        for stem, path in zip(stems, paths)
    }
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
    """Pairs of a text file, two paths per line relative to its folder; which is the sharp one is
    told by `gt` or `blur` in the path.
    """
    if not path.is_file():
        raise UserError(f"no list file at {path}")
    pictures = []
    with reading(path, "a list of files"):
        lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        kinds = [{_kind(part) for part in Path(word).parts} for word in words]
        sharp = [kind & set(SHARP_FOLDERS) != set() for kind in kinds]
        if len(words) != 2 or sharp[0] == sharp[1]:
            raise UserError(
                f"{path}, line {number}: two paths are expected, one of them below a folder "
                f"{', '.join(SHARP_FOLDERS)}"
            )
        blurry, truth = (
            below(path.parent, word, f"{path}, line {number}")
            for word in (words if sharp[1] else words[::-1])
        )
        for file in (blurry, truth):
            if not file.is_file():
                raise UserError(f"{path}, line {number}: there is no {file}")
        pictures.append(Picture(pair_key(blurry, path.parent), blurry, truth))
    if not pictures:
        raise UserError(f"{path} lists no pictures")
    return Pictures(tuple(pictures), _pairs_remark(len(pictures)))


def _pairs_remark(count: int) -> str:
    return next((f"as many as {name} has" for name, pairs in PUBLISHED_PAIRS if pairs == count), "")
