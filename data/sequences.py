"""HyperCUT's folder: blurry pictures, their seven sharp frames, and one metadata.json.

SEQ/blur/0000.png is the blurry picture, SEQ/sharp/0000_1.png ... 0000_7.png are its sharp frames.
metadata.json: {"name", "frame_per_seq": 7, "data": [{"id", "order", "partition", "blur_path",
"frame001_path" ... "frame007_path"}]}. B-AIST++'s entries also have "bbox", a file with the box
around a person. Paths are below the data set's folder.
"""

import json
import pickle
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.config_files import ROOT
from utils.download.table import how_to_get
from utils.errors import UserError, reading
from utils.files import atomic_folder, below, write_text
from utils.image import write_image
from utils.names import nearest
from utils.rounding import array_to_8bit
from utils.schema import Mismatch, anything, fields, items, read_json, require, shown, text

FRAMES = 7
# As stored (two words for it), last frame first, or drawn whenever it is read.
ORDERS = ("ignore", "keep", "reverse", "random")
PARTITIONS = ("train", "test", "val")  # in the order that HyperCUT's files have
_HEADER_KEYS = ("name", "frame_per_seq", "data")
_FRAME_KEYS = tuple(f"frame{number:03d}_path" for number in range(1, FRAMES + 1))
_ENTRIES = items(fields({}), minimum=1)
_METADATA = fields({"name": text(), "frame_per_seq": anything, "data": _ENTRIES})


@dataclass(frozen=True)
class FrameSequence:
    """One blurry picture and the files of its sharp frames as stored, whatever `order` says.

    `entry` is its entry in the metadata.
    """

    id: str
    order: str
    partition: str
    blurry: Path
    frames: tuple[Path, ...]
    box: Path | None
    entry: dict


@dataclass(frozen=True)
class FrameSequences:
    """All sequences of a metadata file, and the folder that their paths start from.

    `others` is what else the metadata file holds.
    """

    name: str
    folder: Path
    metadata: Path
    sequences: tuple[FrameSequence, ...]
    others: dict = field(default_factory=dict)

    def of(self, partition: str) -> tuple[FrameSequence, ...]:
        """Those of a partition (or `all`); raises UserError if there are none."""
        found = tuple(
            sequence for sequence in self.sequences if partition in (sequence.partition, "all")
        )
        if found:
            return found
        sizes = Counter(sequence.partition for sequence in self.sequences)
        counts = ", ".join(f"{name} {sizes[name]}" for name in PARTITIONS)
        raise UserError(
            f"{self.metadata} has no sequences of the partition {partition} (it has {counts}): "
            "choose another one, or metadata with it"
        )


def find_sequences(
    data_path: Path | None, dataset_name: str | None = None, metadata: Path | None = None
) -> FrameSequences:
    """The sequences of a folder with its metadata.json, or of a metadata file.

    data_path: such a folder, or such a file; dataset_name: a folder in dataset/. A metadata file
    may lie anywhere: its pictures are looked for below the data set's folder, else beside the file,
    else in dataset/ by its `name`. Raises UserError for what is missing or makes no sense.
    """
    folder = data_path
    if dataset_name:
        folder = ROOT / "dataset" / dataset_name
    if folder is not None and folder.is_file():
        metadata = metadata or folder
        folder = None
    if folder is not None and not folder.is_dir():
        if dataset_name or not metadata:
            give = (
                "give the folder of the sequences as --data_path, or its name in dataset/ as "
                "--dataset_name"
            )
            raise UserError(f"there is no folder {folder}: {how_to_get(folder) or give}")
        print(f"note: there is no folder {folder}, the pictures are looked for by {metadata} alone")
        folder = None
    file = metadata or folder / "metadata.json"
    if dataset_name and metadata and not metadata.is_file():
        file = folder / metadata.name  # the published commands name it alone
    name, entries, others = _read_metadata(file)
    candidates = [file.parent, ROOT / "dataset" / name, file.parent / name]
    if folder is not None:
        candidates.insert(0, folder)
    root = candidates[0]
    for candidate in candidates:
        if (candidate / entries[0]["blur_path"]).is_file():
            root = candidate
            break
    sequences = tuple(_sequence(entry, root) for entry in entries)
    _check_files(sequences, file)
    return FrameSequences(name, root, file, sequences, others)


def write_sequence(root: Path, name: str, blurry: np.ndarray, frames: list[np.ndarray]) -> None:
    """Write a blurry picture and its sharp frames [H,W,3] in [0,1] as root/NAME, all or none."""
    with atomic_folder(root / name) as folder:
        write_image(folder / "blur" / "0000.png", array_to_8bit(blurry))
        for number, frame in enumerate(frames, 1):
            write_image(folder / "sharp" / f"0000_{number}.png", array_to_8bit(frame))


def collect_metadata(root: Path, partitions: dict[str, str] | None = None) -> None:
    """Write metadata.json of the sequences that are there, all of the order `ignore`.

    All sequences of one source (the name up to its last number) fall into one partition, which
    `partitions` may give; else a tenth of the sources each is for validation and test. Of three
    sources or more one at least is for validation and one for test.
    """
    names = sorted(path.parents[1].name for path in root.glob("*/blur/0000.png"))
    sources = {name: _source_of(name) for name in names}
    if partitions is None:
        partitions = _draw_partitions(set(sources.values()))
    entries = []
    for name in names:
        entry = {
            "id": name,
            "order": "ignore",
            "partition": partitions[sources[name]],
            "blur_path": f"{name}/blur/0000.png",
        }
        for number, key in enumerate(_FRAME_KEYS, 1):
            entry[key] = f"{name}/sharp/0000_{number}.png"
        entries.append(entry)
    write_metadata(root / "metadata.json", root.resolve().name, entries)


def write_metadata(
    path: Path, name: str, entries: Iterable[dict], others: dict | None = None
) -> None:
    """Write a metadata file with these entries, as they are, and what else it shall hold."""
    content = {**(others or {}), "name": name, "frame_per_seq": FRAMES, "data": list(entries)}
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_box(path: Path) -> np.ndarray:
    """(x_min, y_min, x_max, y_max) of a B-AIST++ box file.

    It is a pickle {"bbox": four numbers, and a score or not}. A pickle can run code: all but plain
    containers, numbers and numpy arrays are refused.
    """
    if not path.is_file():
        raise UserError(f"no such box file: {path}")
    with (
        reading(path, "a box (a pickle with the key bbox)", pickle.UnpicklingError),
        open(path, "rb") as file,
    ):
        content = _PlainUnpickler(file).load()
        box = np.asarray(content["bbox"], dtype=np.float64).ravel()
    is_box = len(box) in (4, 5) and bool(np.isfinite(box).all())
    if not is_box or box[0] >= box[2] or box[1] >= box[3]:
        raise UserError(
            f"{path}: the box {box.tolist()} is not x_min, y_min, x_max, y_max (and a score)"
        )
    return box[:4]


class _PlainUnpickler(pickle.Unpickler):
    """Builds numbers, strings, containers and numpy arrays, and nothing else."""

    ALLOWED = {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
        ("numpy.core.multiarray", "_reconstruct"),  # NumPy 1
        ("numpy.core.multiarray", "scalar"),
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy._core.multiarray", "_reconstruct"),  # NumPy 2
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
    }

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(
                f"it holds a {module}.{name}, which could run code, and is refused"
            )
        return super().find_class(module, name)


def _source_of(name: str) -> str:
    """The name of a sequence without its last number."""
    source, _, number = name.rpartition("_")
    return source if number.isdecimal() else name


def _draw_partitions(sources: set[str]) -> dict[str, str]:
    """The partition of every source by the hash of its name, see collect_metadata."""
    hashes = {source: zlib.crc32(source.encode()) for source in sources}
    ordered = sorted(sources, key=lambda source: (hashes[source], source))
    by_digit = {0: "test", 1: "val"}
    partitions = {source: by_digit.get(hashes[source] % 10, "train") for source in ordered}
    if len(ordered) < 3:
        return partitions
    for index, needed in enumerate(("test", "val")):
        if needed not in partitions.values():
            spare = [source for source in ordered if partitions[source] == "train"]
            chosen = spare[0] if spare else ordered[index]
            partitions[chosen] = needed
    return partitions


def _read_metadata(path: Path) -> tuple[str, list[dict], dict]:
    """Name, entries, and what else the file holds."""
    if not path.is_file():
        raise UserError(
            f"no metadata at {path}: `generate.py sbdd --what sequences` writes sequences with "
            "their metadata.json"
        )
    content = read_json(path, _METADATA)
    name, frames, entries = (content[key] for key in _HEADER_KEYS)
    below(Path("dataset"), name, path)
    if frames != FRAMES:
        raise UserError(
            f"{path} has sequences of {frames} frames, these networks are made for {FRAMES}"
        )
    _check_entries(entries, path)
    others = {key: value for key, value in content.items() if key not in _HEADER_KEYS}
    return name, entries, others


def _check_entries(entries: list[dict], path: Path) -> None:
    for index, entry in enumerate(entries):
        name = shown(str(entry.get("id", index)))[1:-1]
        _check_entry(entry, f"{path}, entry {name}")
    ids = Counter(str(entry["id"]) for entry in entries)
    for word, count in ids.items():
        if count > 1:
            raise UserError(f"{path} has several entries with the id {word}")


def _check_entry(entry: dict, label: str) -> None:
    """Raises UserError, which begins with the label, for an entry that makes no sense."""
    required = ("id", "order", "partition", "blur_path")
    for key in (*required, *_FRAME_KEYS):
        if key not in entry:
            raise UserError(
                f"{label}: {key} is missing ({FRAMES} frames and {', '.join(required)} make an "
                "entry)"
            )
    file_keys = ["blur_path", *_FRAME_KEYS]
    if entry.get("bbox"):
        file_keys.append("bbox")
    require(fields(dict.fromkeys(file_keys, text())), entry, label)
    for key in file_keys:
        below(Path("the data set's folder"), entry[key], label)
    if not _is_folder_name(entry["id"]):
        raise UserError(
            f"{label}: the id {shown(entry['id'])} is no name for a folder of results (below "
            "others with /, without ..)"
        )
    extra = f"frame{FRAMES + 1:03d}_path"
    if extra in entry:
        raise UserError(f"{label} has more than {FRAMES} frames ({extra})")
    _check_word(entry, "order", ORDERS, label)
    _check_word(entry, "partition", PARTITIONS, label)


def _check_word(entry: dict, key: str, known: tuple[str, ...], label: str) -> None:
    if entry[key] not in known:
        suggestion = nearest(str(entry[key]), list(known)) or ":"
        word = shown(entry[key])
        raise UserError(
            f"{label}: unknown {key} {word}{suggestion} it is one of {', '.join(known)}"
        )


def _is_folder_name(name: object) -> bool:
    """Whether an id, as text, stays below the folder that it is appended to."""
    if isinstance(name, (list, dict, type(None))):
        return False
    try:
        text()(str(name))
    except Mismatch:
        return False
    # an empty part: an absolute path, or no name at all
    return not any(part in ("", ".", "..") for part in str(name).split("/"))


def _sequence(entry: dict, folder: Path) -> FrameSequence:
    return FrameSequence(
        id=str(entry["id"]),
        order=entry["order"],
        partition=entry["partition"],
        blurry=folder / entry["blur_path"],
        frames=tuple(folder / entry[key] for key in _FRAME_KEYS),
        box=folder / entry["bbox"] if entry.get("bbox") else None,
        entry=entry,
    )


def _check_files(sequences: tuple[FrameSequence, ...], metadata: Path) -> None:
    """Raises UserError that counts the missing files of the metadata and names the first."""
    missing = []
    for sequence in sequences:
        files = [sequence.blurry, *sequence.frames]
        if sequence.box:
            files.append(sequence.box)
        missing += [file for file in files if not file.is_file()]
    if missing:
        total = len(sequences) * (FRAMES + 1)
        raise UserError(
            f"{metadata} names {len(missing)} files (of {total} pictures) that are not there, "
            f"the first is {missing[0]}: give the folder they lie in as --data_path or "
            "--dataset_name"
        )
