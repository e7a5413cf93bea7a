"""Pairs in tar files, as WebDataset reads them: KEY.blurry.png, KEY.sharp.png, KEY.json, one after
the other.

Few large files instead of many small ones, for storage over a network. Written with the standard
library; local shards are read here by seeking, streams from object storage are what the
`webdataset` package is for.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
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
                entry = tarfile.TarInfo(
                    f"{key.replace('.', '-')}.{ending}"
                )  # WebDataset's keys end at the first dot
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            count += 1
    return count


class ShardedPairs(Dataset):
    """Pairs {blurry [3,S,S], sharp [3,S,S], name} of all shards of a folder, RGB in [0,1]; size
    None = whole pictures, not varied.

    vary(images, size, rng): makes the patches, see data/pairs.py: Variation.

    An item depends only on (seed, epoch, index). Raises UserError, naming the file, for a shard
    that is damaged or lacks half a pair.
    """

    def __init__(self, folder: Path, size: int | None, seed: int, vary: Callable = crop_and_turn):
        self.size, self.seed, self.vary = size, seed, vary
        shards = sorted(folder.glob("*.tar"), key=lambda path: natural_key(path.name))
        if not shards:
            raise UserError(f"no shards (.tar) in {folder}")
        self.samples = [sample for shard in shards for sample in _index(shard)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        shard, name, places = self.samples[index]
        with open(shard, "rb") as file:
            pictures = [
                _decoded(file, *places[kind], f"{shard}: {name}.{kind}")
                for kind in ("blurry", "sharp")
            ]
        blurry, sharp = (to_tensor(pixels) for pixels in pictures)
        if self.size is not None:
            blurry, sharp = self.vary(
                [blurry, sharp], self.size, np.random.default_rng((self.seed, epoch, index))
            )
        return {"blurry": blurry, "sharp": sharp, "name": name}


def read_records(shard: Path) -> Iterator[dict]:
    """The records of a shard's pairs."""
    with tarfile.open(shard) as tar:
        for entry in tar:
            if entry.name.endswith(".json"):
                yield json.load(tar.extractfile(entry))


def _index(shard: Path) -> list[tuple[Path, str, dict[str, tuple[int, int]]]]:
    """(shard, key, kind -> (offset, length)) of every pair."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    with (
        reading(shard, "a shard, a tar file without compression", tarfile.TarError),
        tarfile.open(shard, "r:") as tar,
    ):
        for entry in tar:
            key, _, ending = below(Path(), entry.name, shard).as_posix().partition(".")
            kind = ending.partition(".")[0]
            if kind in ("blurry", "sharp"):
                if not entry.isfile() or entry.issparse():
                    raise UserError(
                        f"{shard}: {entry.name} is a link, or another thing than a plain file"
                    )
                found.setdefault(key, {})[kind] = (entry.offset_data, entry.size)
    for key, places in found.items():
        if len(places) < 2:
            raise UserError(
                f"{shard}: {key} lacks its {'sharp' if 'blurry' in places else 'blurry'} picture"
            )
    return [(shard, key, places) for key, places in found.items()]


def _decoded(file: io.BufferedReader, offset: int, length: int, name: str) -> torch.Tensor:
    file.seek(offset)
    return decode_image(file.read(length), name)
