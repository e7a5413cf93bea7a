"""HyperCUT's folder: SEQ/blur/0000.png, the blurry picture, SEQ/sharp/0000_1.png ... 0000_7.png,
its moments, and one metadata.json.

metadata.json: {"name", "frame_per_seq": 7, "data": [{"id", "order", "partition", "blur_path",
"frame001_path" ... "frame007_path"}]}. B-AIST++'s entries also have "bbox", a file with the box
around a person. Paths are below the data set's folder.
"""

import json
import pickle
import shutil
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.config import ROOT, nearest
from utils.errors import UserError, reading
from utils.files import below, write_text
from utils.image import write_image

FRAMES = 7
ORDERS = (
    "ignore",
    "keep",
    "reverse",
    "random",
)  # as stored (two words for it), last moment first, or drawn whenever it is read
PARTITIONS = ("train", "test", "val")  # in the order that HyperCUT's files have


@dataclass(frozen=True)
class Sequence:
    """One blurry picture and the files of its moments as stored, whatever its `order` says; `entry`
    is its line in the metadata.
    """

    id: str
    order: str
    partition: str
    blurry: Path
    frames: tuple[Path, ...]
    box: Path | None
    entry: dict


@dataclass(frozen=True)
class Sequences:
    """All sequences of a metadata file, and the folder that their paths start from."""

    name: str
    folder: Path
    metadata: Path
    sequences: tuple[Sequence, ...]
    others: dict = field(default_factory=dict)  # what else the metadata file holds

    def of(self, partition: str) -> tuple[Sequence, ...]:
        """Those of a partition (or `all`); raises UserError if there are none."""
        found = tuple(
            sequence for sequence in self.sequences if partition in (sequence.partition, "all")
        )
        if not found:
            counts = ", ".join(
                f"{name} {sum(s.partition == name for s in self.sequences)}" for name in PARTITIONS
            )
            raise UserError(
                f"{self.metadata} has no sequences of the partition {partition} (it has "
                f"{counts}): choose another one, or metadata with it"
            )
        return found


def find_sequences(
    data_path: Path | None, dataset_name: str | None = None, metadata: Path | None = None
) -> Sequences:
    """The sequences of a folder with its metadata.json (or of such a file), of a folder in
    dataset/, or of another metadata file.

    A metadata file may lie anywhere: its pictures are looked for below the data set's folder, else
    beside the file, else in dataset/ by its `name`. Raises UserError for what is missing or makes
    no sense.
    """
    folder = ROOT / "dataset" / dataset_name if dataset_name else data_path
    if folder is not None and folder.is_file():
        folder, metadata = None, metadata or folder
    if folder is not None and not folder.is_dir() and (dataset_name or not metadata):
        raise UserError(
            f"there is no folder {folder}: give the folder of the sequences as --data_path, or "
            "its name in dataset/ as --dataset_name"
        )
    if folder is not None and not folder.is_dir():
        print(f"note: there is no folder {folder}, the pictures are looked for by {metadata} alone")
    file = metadata or folder / "metadata.json"
    if dataset_name and metadata and not metadata.is_file():
        file = folder / metadata.name  # the published commands name it alone
    name, entries, others = _read_metadata(file)
    folders = [
        *([folder] if folder and folder.is_dir() else []),
        file.parent,
        ROOT / "dataset" / name,
        file.parent / name,
    ]
    found = [candidate for candidate in folders if (candidate / entries[0]["blur_path"]).is_file()]
    chosen = (found or folders)[0]
    sequences = tuple(_sequence(entry, chosen) for entry in entries)
    _check_files(sequences, file)
    return Sequences(name, chosen, file, sequences, others)


def write_sequence(root: Path, name: str, blurry: np.ndarray, moments: list[np.ndarray]) -> None:
    """Write pictures [H,W,3] in [0,1] as root/NAME, all of them or none."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".sequence.") as temporary:
        folder = Path(temporary, name)
        write_image(folder / "blur/0000.png", np.round(blurry * 255).astype(np.uint8))
        for number, moment in enumerate(moments, 1):
            write_image(
                folder / f"sharp/0000_{number}.png", np.round(moment * 255).astype(np.uint8)
            )
        shutil.rmtree(root / name, ignore_errors=True)
        folder.rename(root / name)


def collect_metadata(root: Path, partitions: dict[str, str] | None = None) -> None:
    """Write metadata.json of the sequences that are there: order `ignore`, a tenth of the sources
    each for validation and test.

    All sequences of one source (the name up to its last number) fall into one partition, which
    `partitions` may give. Of three sources or more one at least is for validation and one for test.
    """
    names = sorted(path.parents[1].name for path in root.glob("*/blur/0000.png"))
    sources = {
        name: name.rpartition("_")[0] if name.rpartition("_")[2].isdecimal() else name
        for name in names
    }
    if partitions is None:
        drawn = sorted((zlib.crc32(source.encode()), source) for source in set(sources.values()))
        partitions = {
            source: {0: "test", 1: "val"}.get(number % 10, "train") for number, source in drawn
        }
        for place, needed in enumerate(("test", "val") if len(drawn) > 2 else ()):
            if needed not in partitions.values():
                spare = [source for _, source in drawn if partitions[source] == "train"]
                partitions[spare[0] if spare else drawn[place][1]] = needed
    entries = []
    for name in names:
        partition = partitions[sources[name]]
        frames = {
            f"frame{number:03d}_path": f"{name}/sharp/0000_{number}.png"
            for number in range(1, FRAMES + 1)
        }
        entries.append(
            {
                "id": name,
                "order": "ignore",
                "partition": partition,
                "blur_path": f"{name}/blur/0000.png",
                **frames,
            }
        )
    write_metadata(root / "metadata.json", root.resolve().name, entries)


def write_metadata(
    path: Path, name: str, entries: Iterable[dict], others: dict | None = None
) -> None:
    """A metadata file with these entries, as they are, and whatever else it shall hold."""
    write_text(
        path,
        json.dumps(
            {**(others or {}), "name": name, "frame_per_seq": FRAMES, "data": list(entries)},
            indent=1,
        )
        + "\n",
    )


def read_box(path: Path) -> np.ndarray:
    """(x_min, y_min, x_max, y_max) of a B-AIST++ box file, a pickle {"bbox": four numbers, and a
    score or not}.

    A pickle can run code: all but plain containers, numbers and numpy arrays are refused.
    """
    if not path.is_file():
        raise UserError(f"no such box file: {path}")
    with (
        reading(path, "a box (a pickle with the key bbox)", pickle.UnpicklingError),
        open(path, "rb") as file,
    ):
        content = _PlainUnpickler(file).load()
        box = np.asarray(content["bbox"], dtype=np.float64).ravel()
    if len(box) not in (4, 5) or not np.isfinite(box).all() or box[0] >= box[2] or box[1] >= box[3]:
        raise UserError(
            f"{path}: the box {box.tolist()} is not x_min, y_min, x_max, y_max (and a score)"
        )
    return box[:4]


class _PlainUnpickler(pickle.Unpickler):
    """Builds numbers, strings, containers and numpy arrays, and nothing else."""

    ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
    ALLOWED |= {
        (f"numpy.{core}.multiarray", name)
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    }
    ALLOWED |= {(f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")}

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(
                f"it holds a {module}.{name}, which could run code, and is refused"
            )
        return super().find_class(module, name)


def _read_metadata(path: Path) -> tuple[str, list[dict], dict]:
    """Name, entries, and what else the file holds."""
    if not path.is_file():
        raise UserError(
            f"no metadata at {path}: `generate.py sbdd --what sequences` writes sequences with "
            "their metadata.json"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        name, frames, entries = content["name"], content["frame_per_seq"], content["data"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is no metadata of sequences (JSON with name, frame_per_seq and data): "
            f"{error!r}"
        ) from error
    if not isinstance(name, str) or "\0" in name:
        raise UserError(f"{path}: the name {name!r} is no text")
    below(Path("dataset"), name, path)
    if frames != FRAMES:
        raise UserError(
            f"{path} has sequences of {frames} frames, these networks are made for {FRAMES}"
        )
    if (
        not isinstance(entries, list)
        or not entries
        or not all(isinstance(entry, dict) for entry in entries)
    ):
        raise UserError(f"{path} has no entries under data")
    needed = (
        "id",
        "order",
        "partition",
        "blur_path",
        *(f"frame{number:03d}_path" for number in range(1, FRAMES + 1)),
    )
    for place, entry in enumerate(entries):
        label = f"{path}, entry {entry.get('id', place)}"
        if missing := [key for key in needed if key not in entry]:
            raise UserError(
                f"{label}: {missing[0]} is missing ({FRAMES} frames and {', '.join(needed[:4])} "
                "make an entry)"
            )
        for key in (
            *(key for key in needed if key.endswith("_path")),
            *(["bbox"] if entry.get("bbox") else []),
        ):
            if not isinstance(entry[key], str) or "\0" in entry[key]:
                raise UserError(f"{label}: {key} is {entry[key]!r}, not a file name")
            below(Path("the data set's folder"), entry[key], label)
        if not _is_folder_name(str(entry["id"])) or isinstance(
            entry["id"], (list, dict, type(None))
        ):
            raise UserError(
                f"{label}: the id {entry['id']!r} is no name for a folder of results (below "
                "others with /, without ..)"
            )
        if extra := f"frame{FRAMES + 1:03d}_path" if f"frame{FRAMES + 1:03d}_path" in entry else "":
            raise UserError(f"{label} has more than {FRAMES} frames ({extra})")
        for key, known in (("order", ORDERS), ("partition", PARTITIONS)):
            if entry[key] not in known:
                raise UserError(
                    f"{label}: unknown {key} "
                    f"{entry[key]!r}{nearest(str(entry[key]), list(known)) or ':'} it is one "
                    f"of {', '.join(known)}"
                )
    ids = [str(entry["id"]) for entry in entries]
    if len(set(ids)) < len(ids):
        raise UserError(
            f"{path} has several entries with the id "
            f"{next(word for word in ids if ids.count(word) > 1)}"
        )
    return (
        name,
        entries,
        {
            key: value
            for key, value in content.items()
            if key not in ("name", "frame_per_seq", "data")
        },
    )


def _is_folder_name(name: str) -> bool:
    """Whether a name stays below the folder that it is appended to."""
    return (
        bool(name)
        and "\0" not in name
        and not name.startswith("/")
        and not {"", ".", ".."} & set(name.split("/"))
    )


def _sequence(entry: dict, folder: Path) -> Sequence:
    frames = tuple(folder / entry[f"frame{number:03d}_path"] for number in range(1, FRAMES + 1))
    box = folder / entry["bbox"] if entry.get("bbox") else None
    return Sequence(
        str(entry["id"]),
        entry["order"],
        entry["partition"],
        folder / entry["blur_path"],
        frames,
        box,
        entry,
    )


def _check_files(sequences: tuple[Sequence, ...], metadata: Path) -> None:
    """Raises UserError that counts the files named in the metadata which are not there, and names
    the first.
    """
    missing = [
        path
        for sequence in sequences
        for path in (sequence.blurry, *sequence.frames, *filter(None, [sequence.box]))
        if not path.is_file()
    ]
    if missing:
        total = len(sequences) * (FRAMES + 1)
        raise UserError(
            f"{metadata} names {len(missing)} files (of {total} pictures) that are not there, "
            f"the first is {missing[0]}: "
            "give the folder they lie in as --data_path or --dataset_name"
        )
