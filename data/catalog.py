"""Every video data set's folder layout, counts and name rules.

Layouts (ROOT is what the user gives as data_path):
  clips  ROOT/blur/VIDEO/FRAME and ROOT/gt/VIDEO/FRAME            CDVD-TSP's own
  gopro  ROOT/VIDEO/{blur|blur_gamma,sharp}/FRAME, as downloaded; or the flat repackaging
         ROOT/{input,target}/VIDEO_FRAME
  dvd    ROOT/VIDEO/{input,GT}/FRAME                              DVD's quantitative_datasets
  reds   ROOT/{train,val}_blur/VIDEO/FRAME and ROOT/{train,val}_sharp/VIDEO/FRAME
  frames ROOT/FRAME, ROOT/VIDEO/FRAME or ROOT/VIDEO.mp4           the user's own, nothing sharp
Blurry and sharp frames are paired by name, never by position; extensions may differ.
Single pictures: data/photo_catalog.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UserError
from utils.files import natural_key
from utils.image import EXTENSIONS, image_size, is_image
from utils.video import EXTENSIONS as VIDEO_EXTENSIONS
from utils.video import FrameFolder, VideoFile, is_video

GOPRO_BLURS = ("blur", "blur_gamma")  # averages of frames in sRGB space and in linear light

# (data set, videos, frames) of the published splits, recognised by the number of their videos.
PUBLISHED_SPLITS = {
    "gopro": (("GoPro train", 22, 2103), ("GoPro test", 11, 1111)),
    "dvd": (("DVD test", 10, 1000),),
    "reds": (("REDS train", 240, 24000), ("REDS val", 30, 3000)),
}
DVD_TEST_VIDEOS = (
    "720p_240fps_2", "IMG_0003", "IMG_0021", "IMG_0030", "IMG_0031",
    "IMG_0032", "IMG_0033", "IMG_0037", "IMG_0039", "IMG_0049",
)  # fmt: skip


@dataclass(frozen=True)
class Video:
    """The frames of one video in temporal order; `sharp` is empty where there is no ground truth.

    Of a video file only `file` is set.
    """

    name: str
    blurry: tuple[Path, ...] = ()
    sharp: tuple[Path, ...] = ()
    file: Path | None = None

    @property
    def frames(self) -> list[str]:
        return [path.stem for path in self.blurry]

    def open(self) -> VideoFile | FrameFolder:
        """Its (blurry) frames as pixels of common colours, one after the other."""
        return VideoFile(self.file, as_bt709=True) if self.file else FrameFolder(self.blurry)


@dataclass(frozen=True)
class Videos:
    """What was found: the layout, the videos, and a remark for the user.

    The remark compares the counts with those of the published split.
    """

    layout: str
    videos: tuple[Video, ...]
    remark: str = ""


def find_videos(
    root: Path, layout: str = "auto", gopro_blur: str = "blur", need_sharp: bool = False
) -> Videos:
    """All videos below a folder (or one video file, or one picture), in natural order.

    They come with their ground truth where there is one. Raises UserError, naming video and frame,
    for an empty or missing folder, unpaired frames, or frames of different sizes.
    """
    if root.is_file():
        video = _single_file(root)
        _check(video, need_sharp)
        return Videos("frames", (video,))
    existing_folder(root)
    if layout == "auto":
        layout = detect_layout(root)
    found = _FINDERS[layout](root, gopro_blur)
    videos = tuple(sorted(found, key=lambda video: natural_key(video.name)))
    if not videos:
        raise UserError(
            f"no frames in {root} in the layout {layout!r}; see docs/conventions.md for the layouts"
        )
    for video in videos:
        _check(video, need_sharp)
    return Videos(layout, videos, _count_remark(layout, videos))


def detect_layout(root: Path) -> str:
    """The layout that the sub-folders of a folder show."""
    if (root / "blur").is_dir() and _folders(root / "blur"):
        return "clips"
    if any((root / f"{split}_blur").is_dir() for split in ("train", "val")):
        return "reds"
    if (root / "input").is_dir() and (root / "target").is_dir():
        return "gopro"
    for video in _folders(root):
        if (video / "sharp").is_dir() or any((video / blur).is_dir() for blur in GOPRO_BLURS):
            return "gopro"
        if (video / "input").is_dir():
            return "dvd"
    return "frames"


def holds_videos(path: Path) -> bool:
    """Whether a path is a video file or a folder of videos.

    A folder's videos are video files, or folders whose pictures are numbered in a row.
    """
    if is_video(path):
        return True
    if not path.is_dir() or images_in(path):
        return False
    if any(is_video(file) for file in path.iterdir()):
        return True
    return any(_numbered_in_a_row(images_in(folder)) for folder in _folders(path))


def pair_by_name(
    blurry: list[Path], sharp: list[Path], where: str
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The two lists in the natural order of their common stems.

    Raises UserError, which begins with `where`, for files without a partner.
    """
    blurry_by_name = _by_stem(blurry, where)
    sharp_by_name = _by_stem(sharp, where)
    check_partners(where, blurry_by_name, sharp_by_name)
    names = sorted(blurry_by_name, key=natural_key)
    return (
        tuple(blurry_by_name[name] for name in names),
        tuple(sharp_by_name[name] for name in names),
    )


def check_partners(
    where: Path | str, blurry: Mapping[str, Path], sharp: Mapping[str, Path]
) -> None:
    """Raises UserError, naming the first files without a partner, where the keys differ."""
    unpaired = []
    for names, partner in (
        (blurry.keys() - sharp.keys(), "ground truth"),
        (sharp.keys() - blurry.keys(), "a blurry frame"),
    ):
        if names:
            unpaired.append(f"{len(names)} without {partner}: {', '.join(sorted(names)[:3])}")
    if unpaired:
        pairs = len(blurry.keys() & sharp.keys())
        raise UserError(f"{where}: found {pairs} pairs, {'; '.join(unpaired)}")


def existing_folder(folder: Path) -> None:
    """Raises UserError unless there is such a folder."""
    if folder.is_dir():
        return
    if folder.exists():
        raise UserError(f"no folder at {folder}: it is a file")
    from utils.download.table import how_to_get

    raise UserError(f"no folder at {folder}: {how_to_get(folder) or 'check the path'}")


def images_in(folder: Path) -> list[Path]:
    """The pictures directly in a folder, in natural order."""
    if not folder.is_dir():
        return []
    return sorted(
        (path for path in folder.iterdir() if is_image(path)),
        key=lambda path: natural_key(path.stem),
    )


def _by_stem(paths: list[Path], where: str) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        if path.stem in named:
            raise UserError(f"{where}: two frames are called {path.stem}")
        named[path.stem] = path
    return named


def _numbered_in_a_row(paths: list[Path]) -> bool:
    """Whether files in natural order are at least three with consecutive numbers for names."""
    stems = [path.stem for path in paths]
    if len(stems) < 3 or not all(stem.isdecimal() for stem in stems):
        return False
    return int(stems[-1]) - int(stems[0]) == len(stems) - 1


def _two_trees(blurry: Path, sharp: Path) -> list[Video]:
    """blurry/VIDEO/FRAME with sharp/VIDEO/FRAME, the second tree missing altogether or complete."""
    names = {folder.name for folder in _folders(blurry)}
    if not sharp.is_dir():
        return [_video(name, blurry / name, None) for name in names]
    sharp_names = {folder.name for folder in _folders(sharp)}
    unpaired = sorted(names ^ sharp_names)
    if unpaired and unpaired[0] in names:
        raise UserError(f"video {unpaired[0]} is in {blurry} but not in {sharp}")
    if unpaired:
        raise UserError(f"video {unpaired[0]} is in {sharp} but not in {blurry}")
    return [_video(name, blurry / name, sharp / name) for name in names]


def _find_clips(root: Path, gopro_blur: str) -> list[Video]:
    return _two_trees(root / "blur", root / "gt")


def _find_gopro(root: Path, gopro_blur: str) -> list[Video]:
    if (root / "input").is_dir():
        return _flat_gopro(root)
    found = []
    for folder in _folders(root):
        if not (folder / gopro_blur).is_dir():
            others = [blur for blur in GOPRO_BLURS if (folder / blur).is_dir()]
            hint = f", only {others[0]}: choose it with --gopro_blur" if others else ""
            raise UserError(f"video {folder.name} has no folder {gopro_blur}{hint}")
        found.append(_video(folder.name, folder / gopro_blur, folder / "sharp"))
    return found


def _flat_gopro(root: Path) -> list[Video]:
    """Videos of files VIDEO_FRAME.png (or VIDEO-FRAME.png) in one folder."""
    blurry, sharp = pair_by_name(images_in(root / "input"), images_in(root / "target"), str(root))
    groups: dict[str, list[int]] = {}
    for index, path in enumerate(blurry):
        parts = re.fullmatch(r"(.+)[-_](\d+)", path.stem)
        if parts is None:
            raise UserError(f"{path} is not named VIDEO_FRAME")
        groups.setdefault(parts[1], []).append(index)
    videos = []
    for name, group in groups.items():
        blurry_frames = tuple(blurry[index] for index in group)
        sharp_frames = tuple(sharp[index] for index in group)
        videos.append(Video(name, blurry_frames, sharp_frames))
    return videos


def _find_dvd(root: Path, gopro_blur: str) -> list[Video]:
    return [
        _video(folder.name, folder / "input", folder / "GT")
        for folder in _folders(root)
        if (folder / "input").is_dir()
    ]


def _find_reds(root: Path, gopro_blur: str) -> list[Video]:
    splits = [split for split in ("train", "val") if (root / f"{split}_blur").is_dir()]
    if len(splits) != 1:
        raise UserError(
            f"{root} holds {' and '.join(splits) or 'neither train_blur nor val_blur'}: give a "
            "folder with one of them"
        )
    return _two_trees(root / f"{splits[0]}_blur", root / f"{splits[0]}_sharp")


def _find_frames(root: Path, gopro_blur: str) -> list[Video]:
    images = images_in(root)
    files = sorted(path for path in root.iterdir() if is_video(path) and path.is_file())
    if images and files:
        raise UserError(
            f"{root} holds both pictures ({images[0].name}, ...) and videos ({files[0].name}, "
            "...): give one of them"
        )
    if images:
        return [Video(root.resolve().name, tuple(images))]
    videos = []
    stems = [path.stem for path in files]
    for path in files:
        name = path.stem
        if stems.count(name) > 1:  # two files that differ in their ending alone keep it
            name = path.name
        videos.append(Video(name, file=path))
    for folder in _folders(root):
        images = images_in(folder)
        if images:
            videos.append(Video(folder.name, tuple(images)))
    return videos


_FINDERS = {
    "clips": _find_clips,
    "gopro": _find_gopro,
    "dvd": _find_dvd,
    "reds": _find_reds,
    "frames": _find_frames,
}


def _video(name: str, blurry: Path, sharp: Path | None) -> Video:
    frames = images_in(blurry)
    if not frames:
        raise UserError(f"video {name} has no frames in {blurry}")
    if sharp is None or not sharp.is_dir():
        return Video(name, tuple(frames))
    return Video(name, *pair_by_name(frames, images_in(sharp), f"video {name}"))


def _single_file(path: Path) -> Video:
    if is_video(path):
        return Video(path.stem, file=path)
    if is_image(path):
        return Video(path.stem, (path,))
    raise UserError(
        f"{path} is neither a folder, nor a video ({', '.join(VIDEO_EXTENSIONS)}), nor a picture "
        f"({', '.join(EXTENSIONS)})"
    )


def _check(video: Video, need_sharp: bool) -> None:
    if need_sharp and not video.sharp:
        raise UserError(f"video {video.name} has no ground truth, which this command needs")
    if video.file:
        return
    _by_stem(list(video.blurry), f"video {video.name}")  # results of one name would be one file
    height, width = image_size(video.blurry[0])
    for path in (*video.blurry, *video.sharp):
        size = image_size(path)
        if size != (height, width):
            raise UserError(
                f"video {video.name}: {path} is {size[1]}x{size[0]}, but its first frame "
                f"{width}x{height}"
            )


def _count_remark(layout: str, videos: tuple[Video, ...]) -> str:
    names = {video.name for video in videos}
    missing = sorted(set(DVD_TEST_VIDEOS) - names)
    if names <= set(DVD_TEST_VIDEOS) and missing:
        return f"found {len(names)} of the 10 videos of DVD test, missing {', '.join(missing)}"
    if names == set(DVD_TEST_VIDEOS):
        layout = "dvd"  # also in the layout of the authors of CDVD-TSP
    frames = sum(len(video.blurry) for video in videos)
    for name, expected_videos, expected_frames in PUBLISHED_SPLITS.get(layout, ()):
        if len(videos) != expected_videos:
            continue
        if frames == expected_frames:
            return f"the whole of {name}"
        return f"found {frames} of the {expected_frames} frames of {name}"
    return ""


def _folders(root: Path) -> list[Path]:
    return sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
