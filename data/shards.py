"""Pairs in tar files, as WebDataset reads them: KEY.blurry.png, KEY.sharp.png, KEY.json in a row.

Few large files instead of many small ones, for storage over a network. Written with the standard
library; local shards are read here by seeking, streams from object storage are what the
`webdataset` package is for.
"""

import io
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from data.augment import crop_and_turn
from utils.errors import UserError, reading
from utils.files import atomic_path, below, natural_key
from utils.image import decode_image, to_tensor


def write_shard(path: Path, pairs: Iterable[tuple[str, dict[str, bytes]]]) -> int:
    """Write (key, {ending: content}) samples as one tar, whole or not at all; returns how many."""
    count = 0
    with atomic_path(path) as temporary, tarfile.open(temporary, "w") as tar:
        for key, files in pairs:
            for ending, content in files.items():
                plain_key = key.replace(".", "-")  # WebDataset's keys end at the first dot
                entry = tarfile.TarInfo(f"{plain_key}.{ending}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            count += 1
    return count


class Sample(NamedTuple):
    """A pair in a shard; `parts`: kind (blurry, sharp) -> (offset, length) of its file in bytes."""

    shard: Path
    name: str
    parts: dict[str, tuple[int, int]]


class ShardedPairs(Dataset):
    """Pairs {blurry [3,S,S], sharp [3,S,S], name} of all shards of a folder, RGB in [0,1].

    size None: whole pictures, not varied. vary(images, size, rng): makes the patches, see
    data/pairs.py: Variation. An item depends only on (seed, epoch, index). Raises UserError, naming
    the file, for a shard that is damaged or lacks half a pair.
    """

    def __init__(self, folder: Path, size: int | None, seed: int, vary: Callable = crop_and_turn):
        self.size = size
        self.seed = seed
        self.vary = vary
        shards = sorted(folder.glob("*.tar"), key=lambda path: natural_key(path.name))
        if not shards:
            raise UserError(f"no shards (.tar) in {folder}")
        self.samples: list[Sample] = []
        for shard in shards:
            self.samples += _samples_of(shard)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        sample = self.samples[index]
        with open(sample.shard, "rb") as file:
            blurry = to_tensor(_decoded(file, sample, "blurry"))
            sharp = to_tensor(_decoded(file, sample, "sharp"))
        if self.size is not None:
            rng = np.random.default_rng((self.seed, epoch, index))
            blurry, sharp = self.vary([blurry, sharp], self.size, rng)
        return {"blurry": blurry, "sharp": sharp, "name": sample.name}


def _samples_of(shard: Path) -> list[Sample]:
    found: dict[str, Sample] = {}
    with (
        reading(shard, "a shard, a tar file without compression", tarfile.TarError),
        tarfile.open(shard, "r:") as tar,
    ):
        for entry in tar:
            key, _, ending = below(Path(), entry.name, shard).as_posix().partition(".")
            kind = ending.partition(".")[0]
            if kind not in ("blurry", "sharp"):
                continue
            if not entry.isfile() or entry.issparse():
                raise UserError(
                    f"{shard}: {entry.name} is a link, or another thing than a plain file"
                )
            sample = found.setdefault(key, Sample(shard, key, {}))
            sample.parts[kind] = (entry.offset_data, entry.size)
    for sample in found.values():
        for kind in ("blurry", "sharp"):
            if kind not in sample.parts:
                raise UserError(f"{shard}: {sample.name} lacks its {kind} picture")
    return list(found.values())


def _decoded(file: io.BufferedReader, sample: Sample, kind: str) -> np.ndarray:
    offset, length = sample.parts[kind]
    file.seek(offset)
    return decode_image(file.read(length), f"{sample.shard}: {sample.name}.{kind}")
