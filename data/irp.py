"""Exposure stacks with labels, in the layout of the IRP data set (Zhang et al., CVPR 2022).

ROOT/SCENE/{1,1.5,...,75}.png, stored as dark as they were exposed;
ROOT/IRP_label/{ratio}_metric.txt, line i = scene i, scenes sorted AS STRINGS (scene1, scene10,
scene100, ...); ROOT/list_index.txt, one line, a permutation of the scenes separated by commas: the
first 70 % train, 10 % validate, 20 % test (published: 350, 50, 100 of 500). generate.py irp also
writes splits.json, {partition: scenes}, which keeps scenes from one source together and then
counts; sharp/SCENE.png; labels.csv and records/SCENE.json, every part of each label.
"""

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from data.augment import crop_and_turn
from data.catalog import existing_folder
from data.synthesis.stack import RATIOS
from utils.errors import UserError
from utils.files import natural_key, write_text
from utils.image import image_size, is_image, read_image, to_tensor

PARTITIONS = ("train", "val", "test")
SHARES = (0.7, 0.1, 0.2)
LABELS, INDEX, SPLITS = "IRP_label", "list_index.txt", "splits.json"
_LABEL_END = "_metric.txt"
FACTS = 6  # known of a shot, see facts_of
CACHE_BYTES = 2**30  # of decoded shots in each loader process
SEED = 19920318  # of the published training; orders the scenes where no list_index.txt does


@dataclass(frozen=True)
class Shot:
    """One exposure of a scene: file, exposure ratio, and its label in 0..1 (None where there are no
    labels).
    """

    scene: str
    ratio: float
    path: Path
    label: float | None = None

    @property
    def name(self) -> str:
        return f"{self.scene}/{self.path.stem}"


@dataclass(frozen=True)
class Stacks:
    """All shots of a data set by scene, the scenes of its partitions, and a remark about the
    split.
    """

    root: Path
    scenes: dict[str, tuple[Shot, ...]]
    partitions: dict[str, tuple[str, ...]]
    remark: str = ""

    def of(self, partition: str) -> tuple[Shot, ...]:
        """The shots of a partition (or `all`), scene by scene; raises UserError if there are
        none.
        """
        names = tuple(self.scenes) if partition == "all" else self.partitions[partition]
        if not names:
            raise UserError(f"{self.root} has no scenes in the partition {partition}")
        return tuple(shot for name in names for shot in self.scenes[name])


def find_stacks(root: Path) -> Stacks:
    """The labelled stacks below a folder. Raises UserError for a missing shot, missing labels, and
    a wrong number of lines.
    """
    existing_folder(root)
    folders = sorted(
        (path for path in root.iterdir() if (path / file_name(1)).is_file()),
        key=lambda path: path.name,
    )
    if not folders:
        raise UserError(
            f"no exposure stacks in {root}: folders with "
            f"{', '.join(map(file_name, RATIOS[:3]))}, ... are looked for"
        )
    ratios = sorted(
        filter(
            None,
            (
                _ratio(path.name.removesuffix(_LABEL_END))
                for path in (root / LABELS).glob(f"*{_LABEL_END}")
            ),
        )
    )
    if not ratios:
        raise UserError(
            f"no labels in {root / LABELS}: files {label_name(1)}, {label_name(1.5)}, ... with a "
            "line per scene are needed"
        )
    table = {
        ratio: _read_labels(root / LABELS / label_name(ratio), len(folders)) for ratio in ratios
    }
    scenes = {}
    for place, folder in enumerate(folders):
        if missing := [ratio for ratio in ratios if not (folder / file_name(ratio)).is_file()]:
            raise UserError(
                f"{folder} has no {file_name(missing[0])}, though {LABELS} has labels of that ratio"
            )
        scenes[folder.name] = tuple(
            Shot(folder.name, ratio, folder / file_name(ratio), table[ratio][place])
            for ratio in ratios
        )
    return Stacks(root, scenes, *_partitions(root, list(scenes)))


def find_shots(folder: Path) -> dict[str, tuple[Shot, ...]]:
    """Shots without labels, by scene: of one stack, a folder with two or more {ratio}.png (or .jpg,
    ...), or of the stacks below it.

    Empty where there are none.
    """
    existing_folder(folder)
    found = {}
    for scene in (
        folder,
        *sorted(
            (path for path in folder.iterdir() if path.is_dir()),
            key=lambda path: natural_key(path.name),
        ),
    ):
        files = {path: _ratio(path.stem) for path in scene.iterdir() if is_image(path)}
        if len(files) > 1 and all(files.values()) and 1 in files.values():
            ordered = sorted(files, key=files.get)
            found[scene.resolve().name] = tuple(
                Shot(scene.resolve().name, files[path], path) for path in ordered
            )
    return found


def _ratio(text: str) -> float | None:
    """The ratio that a file is named by; ratios start at 1, the longest exposure."""
    try:
        ratio = float(text)
    except ValueError:
        return None
    return ratio if 1 <= ratio < float("inf") else None


def file_name(ratio: float) -> str:
    """1.png, 1.5.png, ..., 75.png."""
    return f"{ratio:g}.png"


def label_name(ratio: float) -> str:
    """1_metric.txt, ..., 75_metric.txt."""
    return f"{ratio:g}{_LABEL_END}"


def write_labels(
    root: Path, labels: dict[str, dict[float, float]], sources: dict[str, str], seed: int
) -> None:
    """Label files, list_index.txt and splits.json of scenes {scene: {ratio: label}}; those from one
    source share a partition.
    """
    scenes = sorted(labels)
    for ratio in next(iter(labels.values())):
        write_text(
            root / LABELS / label_name(ratio),
            "".join(f"{labels[scene][ratio]:.6f}\n" for scene in scenes),
        )
    order = np.random.default_rng(seed).permutation(sorted(set(sources.values())))
    rank = {source: place for place, source in enumerate(order)}
    ordered = sorted(scenes, key=lambda scene: (rank[sources[scene]], scene))
    write_text(root / INDEX, ",".join(str(scenes.index(scene)) for scene in ordered) + "\n")
    ends = np.cumsum(_counts(len(order)))
    partitions: dict[str, list[str]] = {name: [] for name in PARTITIONS}
    for scene in ordered:
        partitions[PARTITIONS[int(np.searchsorted(ends, rank[sources[scene]], "right"))]].append(
            scene
        )
    write_text(root / SPLITS, json.dumps(partitions, indent=1) + "\n")


class Knowledge(NamedTuple):
    """What generate.py irp knows of shots, [N,FACTS] and [N,8]; see facts_of and
    circumstances_of.
    """

    facts: np.ndarray
    circumstances: np.ndarray


def read_knowledge(root: Path, shots: Sequence[Shot]) -> Knowledge | None:
    """Of the records of a data set; None for one that generate.py irp did not make."""
    records = {}
    for scene in {shot.scene for shot in shots}:
        paths = (root / "records" / f"{scene}.json", root / "sharp" / f"{scene}.png")
        if not all(path.is_file() for path in paths):
            return None
        record = json.loads(paths[0].read_text(encoding="utf-8"))
        records[scene] = (
            record,
            {row["ratio"]: row for row in record["shots"]},
            detail_of(read_image(paths[1])),
        )
    facts, circumstances = [], []
    for shot in shots:
        record, rows, detail = records[shot.scene]
        facts.append(
            facts_of(record["photons"], record.get("extent_px", [math.nan])[0], shot.ratio, detail)
        )
        quality = (rows[shot.ratio][f"input_{name}"] for name in ("psnr", "ssim"))
        circumstances.append(circumstances_of(shot.ratio, record["photons"], detail, *quality))
    return Knowledge(np.stack(facts), np.stack(circumstances))


def source_of(root: Path, scene: str) -> str:
    """The picture or video that generate.py irp made a scene of."""
    return json.loads((root / "records" / f"{scene}.json").read_text(encoding="utf-8"))["source"]


def facts_of(photons: float, extent: float, ratio: float, detail: Sequence[float]) -> np.ndarray:
    """What can be seen in a shot, [FACTS]: its light, how long the blur is (NaN where unknown, as
    of videos), how much detail the sharp picture has at four scales; logarithms.
    """
    return np.float32([math.log(photons / ratio), math.log(extent / ratio + 0.5), *detail])


def circumstances_of(
    ratio: float, photons: float, detail: Sequence[float], psnr: float, ssim: float
) -> np.ndarray:
    """What tells nearly everything about a shot's label without restoring it, [8]: its light, how
    much detail the sharp picture has, and how far the brightened shot is from it.
    """
    return np.float32([math.log(ratio), math.log(photons / ratio), *detail, psnr / 10, ssim])


def detail_of(picture: np.ndarray) -> list[float]:
    """Of a sharp picture [h,w,3] (8-bit) at four scales; logarithms."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    return [
        float(np.log(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), sigma)).mean() + 1e-4))
        for sigma in (1, 2, 4, 8)
    ]


class LabelledShots(Dataset):
    """Training items {image [K,3,S,S] in [0,1], ratio [K], label [K], name, and what is known} of
    `bracket` = K shots of one scene at different ratios; depend only on (seed, epoch, index).

    patch: side of a random part, px; 0 = whole images, all of one size, as published. augment:
    mirror, left-right with probability 0.5, as published; turn, also the other flips and turns of a
    part; colours, the channels in a random order. The label is that of the whole image. known: of
    the shots; items then have facts [K,F] and circumstances [K,C], too.
    """

    def __init__(
        self,
        shots: Sequence[Shot],
        seed: int,
        patch: int = 0,
        augment: Collection[str] = ("mirror",),
        known: Knowledge | None = None,
        bracket: int = 1,
    ):
        self.shots, self.seed, self.patch, self.augment, self.known, self.bracket = (
            shots,
            seed,
            patch,
            augment,
            known,
            bracket,
        )
        self._scenes: dict[str, list[int]] = {}
        for index, shot in enumerate(shots):
            self._scenes.setdefault(shot.scene, []).append(index)
        if bracket > (fewest := min(map(len, self._scenes.values()))):
            raise UserError(f"--bracket {bracket}: a scene has only {fewest} shots")
        self._read: dict[Path, np.ndarray] = {}  # pixels that were decoded before
        self._room = CACHE_BYTES
        sizes = {image_size(shot.path): shot for shot in shots}
        if not patch and len(sizes) > 1:
            (one, first), (other, second) = list(sizes.items())[:2]
            raise UserError(
                f"{first.path} is {one[1]}x{one[0]}, {second.path} {other[1]}x{other[0]}: whole "
                "images of a batch need one size, "
                "or train on parts of them (--patch_size)"
            )
        if patch > min(map(min, sizes)):
            raise UserError(
                f"--patch_size {patch} is larger than the images of {min(map(min, sizes))} px"
            )

    def __len__(self) -> int:
        return len(self.shots)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        places = [index]
        if self.bracket > 1:
            others = [place for place in self._scenes[self.shots[index].scene] if place != index]
            places += rng.choice(others, self.bracket - 1, replace=False).tolist()
        shots = [self.shots[place] for place in places]
        images = torch.from_numpy(np.stack([self._pixels(shot.path) for shot in shots])).permute(
            0, 3, 1, 2
        )
        if self.patch:
            (images,) = crop_and_turn(
                [images],
                self.patch,
                rng,
                mirror="mirror" in self.augment,
                turn="turn" in self.augment,
            )
        elif rng.random() < 0.5 and "mirror" in self.augment:
            images = images.flip(-1)
        if "colours" in self.augment:
            images = images[:, rng.permutation(3)]
        ratios, labels = (
            np.float32([getattr(shot, name) for shot in shots]) for name in ("ratio", "label")
        )
        images = torch.stack([to_tensor(image.permute(1, 2, 0).numpy()) for image in images])
        item = {"image": images, "ratio": ratios, "label": labels, "name": shots[0].name}
        return item | {
            name: values[places]
            for name, values in (self.known._asdict() if self.known else {}).items()
        }

    def _pixels(self, path: Path) -> np.ndarray:
        """Of a file; kept for the next time as long as there is room, as decoding takes longer than
        everything else.
        """
        if path not in self._read:
            pixels = np.array(read_image(path))  # writable, as torch wants it
            if pixels.nbytes > self._room:
                return pixels
            self._read[path] = pixels
            self._room -= pixels.nbytes
        return self._read[path]


class WholeShots(Dataset):
    """Images [3,H,W] in [0,1] of shots as they are stored."""

    def __init__(self, shots: Sequence[Shot]):
        self.shots = shots

    def __len__(self) -> int:
        return len(self.shots)

    def __getitem__(self, index: int) -> Tensor:
        return to_tensor(read_image(self.shots[index].path))


def _counts(scenes: int) -> tuple[int, int, int]:
    """How many train, validate and test; from three on none of them is empty."""
    val, test = (max(int(scenes > 2), int(round(share * scenes))) for share in SHARES[1:])
    return scenes - val - test, val, test


def _partitions(root: Path, scenes: list[str]) -> tuple[dict[str, tuple[str, ...]], str]:
    """The scenes of each partition, and a remark where nothing on disk says which they are."""
    if (root / SPLITS).is_file():
        return _read_splits(root / SPLITS, scenes), ""
    remark = ""
    if (root / INDEX).is_file():
        order = _read_index(root / INDEX, len(scenes))
    else:
        remark = f"no {INDEX}: split by a permutation from seed {SEED}"
        order = torch.randperm(len(scenes), generator=torch.Generator().manual_seed(SEED)).tolist()
    train, val, _ = _counts(len(scenes))
    names = [scenes[place] for place in order]
    return dict(
        zip(
            PARTITIONS,
            (tuple(names[:train]), tuple(names[train : train + val]), tuple(names[train + val :])),
        )
    ), remark


def _read_splits(path: Path, scenes: list[str]) -> dict[str, tuple[str, ...]]:
    try:
        found = {
            name: tuple(json.loads(path.read_text(encoding="utf-8"))[name]) for name in PARTITIONS
        }
        named = sorted(name for names in found.values() for name in names)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} does not list the scenes of {', '.join(PARTITIONS)}: {error}"
        ) from error
    if named != sorted(scenes):
        odd = sorted(set(map(str, named)) ^ set(scenes))
        raise UserError(
            f"{path} and the folders beside it differ: "
            f"{', '.join(odd[:3]) or 'a scene is listed twice'}"
        )
    return found


def _read_index(path: Path, count: int) -> list[int]:
    try:
        order = [
            int(word) for word in path.read_text(encoding="utf-8").strip().strip("[],").split(",")
        ]
    except ValueError as error:
        raise UserError(f"{path} is no list of numbers separated by commas: {error}") from error
    if sorted(order) != list(range(count)):
        raise UserError(
            f"{path} is no permutation of 0 ... {count - 1}, the numbers of the {count} scenes "
            "beside it"
        )
    return order


def _read_labels(path: Path, count: int) -> list[float]:
    lines = path.read_text(encoding="utf-8").split("\n")
    values = [line.strip() for line in lines if line.strip()]
    if len(values) != count:
        raise UserError(
            f"{path} has {len(values)} lines, but there are {count} scenes: one line per scene "
            "is needed"
        )
    try:
        labels = [float(value) for value in values]
    except ValueError as error:
        raise UserError(f"{path} holds a line that is no number: {error}") from error
    if not all(np.isfinite(labels)):
        raise UserError(f"{path} holds a label that is not finite")
    return labels
