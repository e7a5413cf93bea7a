"""Exposure stacks with labels, in the layout of the IRP data set (Zhang et al., CVPR 2022).

ROOT/SCENE/{1,1.5,...,75}.png, stored as dark as they were exposed;
ROOT/IRP_label/{ratio}_metric.txt, line i = scene i, scenes sorted AS STRINGS (scene1, scene10,
scene100, ...); ROOT/list_index.txt, one line, a permutation of the scenes separated by commas: the
first 70 % train, 10 % validate, 20 % test (published: 350, 50, 100 of 500). generate.py irp also
writes splits.json, {partition: scenes}, which keeps scenes from one source together and then
counts; sharp/SCENE.png; labels.csv and records/SCENE.json, every part of each label.
"""

import itertools
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from data.augment import crop_and_turn
from data.catalog import existing_folder
from data.shot_features import Features
from data.synthesis.stack import RATIOS
from utils.errors import UserError, reading
from utils.files import natural_key, read_regular, write_text
from utils.image import image_size, is_image, read_image, to_tensor
from utils.schema import SMALL_FILE, fields, items, read_json, text

PARTITIONS = ("train", "val", "test")
FRACTIONS = (0.7, 0.1, 0.2)  # of the scenes, by partition
LABELS = "IRP_label"
INDEX = "list_index.txt"
SPLITS = "splits.json"
_LABEL_END = "_metric.txt"
CACHE_BYTES = 2**30  # of decoded shots in each loader process
SEED = 19920318  # of the published training; orders the scenes where no list_index.txt does


@dataclass(frozen=True)
class Shot:
    """One exposure of a scene; its label is in 0..1, or None where there are no labels."""

    scene: str
    ratio: float
    path: Path
    label: float | None = None

    @property
    def name(self) -> str:
        return f"{self.scene}/{self.path.stem}"


@dataclass(frozen=True)
class Stacks:
    """All shots of a data set by scene, and the scenes of its partitions.

    remark: says so where the partitions are not the data set's own.
    """

    root: Path
    scenes: dict[str, tuple[Shot, ...]]
    partitions: dict[str, tuple[str, ...]]
    remark: str = ""

    def of(self, partition: str) -> tuple[Shot, ...]:
        """The shots of a partition (or of `all`), scene by scene.

        Raises UserError if there are none.
        """
        names = tuple(self.scenes) if partition == "all" else self.partitions[partition]
        if not names:
            raise UserError(f"{self.root} has no scenes in the partition {partition}")
        return tuple(itertools.chain.from_iterable(self.scenes[name] for name in names))


def find_stacks(root: Path) -> Stacks:
    """The labelled stacks below a folder.

    Raises UserError for a missing shot, missing labels, and a wrong number of lines.
    """
    existing_folder(root)
    folders = [path for path in root.iterdir() if (path / file_name(1)).is_file()]
    folders.sort(key=lambda path: path.name)
    if not folders:
        raise UserError(
            f"no exposure stacks in {root}: folders with "
            f"{', '.join(map(file_name, RATIOS[:3]))}, ... are looked for"
        )
    label_files = (root / LABELS).glob(f"*{_LABEL_END}")
    named = [_ratio(path.name.removesuffix(_LABEL_END)) for path in label_files]
    ratios = sorted(ratio for ratio in named if ratio is not None)
    if not ratios:
        raise UserError(
            f"no labels in {root / LABELS}: files {label_name(1)}, {label_name(1.5)}, ... with a "
            "line per scene are needed"
        )
    labels = {}  # ratio -> a label per folder
    for ratio in ratios:
        labels[ratio] = _read_labels(root / LABELS / label_name(ratio), len(folders))
    scenes = {}
    for index, folder in enumerate(folders):
        shots = []
        for ratio in ratios:
            path = folder / file_name(ratio)
            if not path.is_file():
                raise UserError(
                    f"{folder} has no {path.name}, though {LABELS} has labels of that ratio"
                )
            shots.append(Shot(folder.name, ratio, path, labels[ratio][index]))
        scenes[folder.name] = tuple(shots)
    return Stacks(root, scenes, *_partitions(root, list(scenes)))


def find_shots(folder: Path) -> dict[str, tuple[Shot, ...]]:
    """Shots without labels, by scene: of one stack, or of the stacks below a folder.

    A stack is a folder with two or more {ratio}.png (or .jpg, ...), 1 among them. Empty where there
    are none.
    """
    existing_folder(folder)
    below = [path for path in folder.iterdir() if path.is_dir()]
    below.sort(key=lambda path: natural_key(path.name))
    found = {}
    for scene in (folder, *below):
        files = {path: _ratio(path.stem) for path in scene.iterdir() if is_image(path)}
        if len(files) > 1 and all(files.values()) and 1 in files.values():
            name = scene.resolve().name
            ordered = sorted(files, key=files.get)
            found[name] = tuple(Shot(name, files[path], path) for path in ordered)
    return found


def file_name(ratio: float) -> str:
    """1.png, 1.5.png, ..., 75.png."""
    return f"{ratio:g}.png"


def label_name(ratio: float) -> str:
    """1_metric.txt, ..., 75_metric.txt."""
    return f"{ratio:g}{_LABEL_END}"


def write_labels(
    root: Path, labels: dict[str, dict[float, float]], sources: dict[str, str], seed: int
) -> None:
    """Write label files, list_index.txt and splits.json of scenes {scene: {ratio: label}}.

    Scenes from one source share a partition.
    """
    scenes = sorted(labels)
    for ratio in labels[scenes[0]]:
        lines = [f"{labels[scene][ratio]:.6f}\n" for scene in scenes]
        write_text(root / LABELS / label_name(ratio), "".join(lines))
    order = np.random.default_rng(seed).permutation(sorted(set(sources.values())))
    rank = {source: index for index, source in enumerate(order)}
    ordered = sorted(scenes, key=lambda scene: (rank[sources[scene]], scene))
    write_text(root / INDEX, ",".join(str(scenes.index(scene)) for scene in ordered) + "\n")
    ends = np.cumsum(_counts(len(order)))
    partitions: dict[str, list[str]] = {name: [] for name in PARTITIONS}
    for scene in ordered:
        partition = PARTITIONS[int(np.searchsorted(ends, rank[sources[scene]], "right"))]
        partitions[partition].append(scene)
    write_text(root / SPLITS, json.dumps(partitions, indent=1) + "\n")


class LabelledShots(Dataset):
    """Training items: K = `bracket` shots of one scene at different ratios, with their labels.

    An item is {image [K,3,S,S] in [0,1], ratio [K], label [K], name}, and where the shots'
    `features` are given also {auxiliary_targets [K,T], label_features [K,C]}; it depends only on
    (seed, epoch, index). The label is that of the whole image. patch: side of a random part, px; 0
    = whole images, all of one size, as published. augment: mirror, left-right with probability 0.5,
    as published; turn, also the other flips and turns of a part; colours, the channels in a random
    order.
    """

    def __init__(
        self,
        shots: Sequence[Shot],
        seed: int,
        patch: int = 0,
        augment: Collection[str] = ("mirror",),
        features: Features | None = None,
        bracket: int = 1,
    ):
        self.shots = shots
        self.seed = seed
        self.patch = patch
        self.augment = augment
        self.features = features
        self.bracket = bracket
        self._scenes: dict[str, list[int]] = {}
        for index, shot in enumerate(shots):
            self._scenes.setdefault(shot.scene, []).append(index)
        fewest = min(map(len, self._scenes.values()))
        if bracket > fewest:
            raise UserError(f"--bracket {bracket}: a scene has only {fewest} shots")
        self._decoded: dict[Path, np.ndarray] = {}
        self._free_bytes = CACHE_BYTES
        _check_sizes(shots, patch)

    def __len__(self) -> int:
        return len(self.shots)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        chosen = self._bracket_of(index, rng)
        shots = [self.shots[position] for position in chosen]
        images = torch.from_numpy(np.stack([self._pixels(shot.path) for shot in shots]))
        images = self._augmented(images.permute(0, 3, 1, 2), rng)  # [K,3,S,S]
        item = {
            "image": torch.stack([to_tensor(image.permute(1, 2, 0).numpy()) for image in images]),
            "ratio": np.float32([shot.ratio for shot in shots]),
            "label": np.float32([shot.label for shot in shots]),
            "name": shots[0].name,
        }
        if self.features:
            for name, values in self.features._asdict().items():
                item[name] = values[chosen]
        return item

    def _bracket_of(self, index: int, rng: np.random.Generator) -> list[int]:
        """A shot's index and those of bracket - 1 others of its scene."""
        if self.bracket == 1:
            return [index]
        scene = self._scenes[self.shots[index].scene]
        others = [other for other in scene if other != index]
        return [index, *rng.choice(others, self.bracket - 1, replace=False).tolist()]

    def _augmented(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """One random draw for all images [K,3,H,W] of an item."""
        mirror = "mirror" in self.augment
        if self.patch:
            turn = "turn" in self.augment
            (images,) = crop_and_turn([images], self.patch, rng, mirror=mirror, turn=turn)
        elif rng.random() < 0.5 and mirror:
            images = images.flip(-1)
        if "colours" in self.augment:
            images = images[:, rng.permutation(3)]
        return images

    def _pixels(self, path: Path) -> np.ndarray:
        """The pixels of a file, from the cache if they are there.

        They are cached as long as there is room: decoding takes longer than everything else.
        """
        if path not in self._decoded:
            pixels = np.array(read_image(path))  # writable, as torch wants it
            if pixels.nbytes > self._free_bytes:
                return pixels
            self._decoded[path] = pixels
            self._free_bytes -= pixels.nbytes
        return self._decoded[path]


class WholeShots(Dataset):
    """Images [3,H,W] in [0,1] of shots as they are stored."""

    def __init__(self, shots: Sequence[Shot]):
        self.shots = shots

    def __len__(self) -> int:
        return len(self.shots)

    def __getitem__(self, index: int) -> Tensor:
        return to_tensor(read_image(self.shots[index].path))


def _check_sizes(shots: Sequence[Shot], patch: int) -> None:
    """Raises UserError for sizes that make no batch."""
    sizes = {image_size(shot.path): shot for shot in shots}  # (height, width) -> a shot of it
    if not patch and len(sizes) > 1:
        (one, first), (other, second) = list(sizes.items())[:2]
        raise UserError(
            f"{first.path} is {one[1]}x{one[0]}, {second.path} {other[1]}x{other[0]}: whole "
            "images of a batch need one size, or train on parts of them (--patch_size)"
        )
    shortest = min(map(min, sizes))
    if patch > shortest:
        raise UserError(f"--patch_size {patch} is larger than the images of {shortest} px")


def _ratio(text: str) -> float | None:
    """The ratio that a file is named by; ratios start at 1, the longest exposure."""
    try:
        ratio = float(text)
    except ValueError:
        return None
    return ratio if 1 <= ratio < float("inf") else None


def _counts(scenes: int) -> tuple[int, int, int]:
    """How many train, validate and test; from three on none of them is empty."""
    minimum = int(scenes > 2)
    val, test = (max(minimum, int(round(fraction * scenes))) for fraction in FRACTIONS[1:])
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
    names = tuple(scenes[index] for index in order)
    train, val, _ = _counts(len(scenes))
    parts = (names[:train], names[train : train + val], names[train + val :])
    return dict(zip(PARTITIONS, parts)), remark


def _read_splits(path: Path, scenes: list[str]) -> dict[str, tuple[str, ...]]:
    names = items(text())
    content = read_json(path, fields(dict.fromkeys(PARTITIONS, names)))
    found = {name: tuple(content[name]) for name in PARTITIONS}
    named = sorted(itertools.chain(*found.values()))
    if named != sorted(scenes):
        odd = sorted(set(map(str, named)) ^ set(scenes))
        raise UserError(
            f"{path} and the folders beside it differ: "
            f"{', '.join(odd[:3]) or 'a scene is listed twice'}"
        )
    return found


def _read_index(path: Path, count: int) -> list[int]:
    words = _words(path).strip().strip("[],").split(",")
    if not all(word.strip().isdecimal() and len(word) < 20 for word in words):
        raise UserError(f"{path} is no list of numbers separated by commas: 3,0,2,1")
    order = list(map(int, words))
    if sorted(order) != list(range(count)):
        raise UserError(
            f"{path} is no permutation of 0 ... {count - 1}, the numbers of the {count} scenes "
            "beside it"
        )
    return order


def _read_labels(path: Path, count: int) -> list[float]:
    values = [line.strip() for line in _words(path).split("\n") if line.strip()]
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


def _words(path: Path) -> str:
    with reading(path, "text"):
        return read_regular(path, SMALL_FILE).decode("utf-8-sig")
