"""What can be downloaded by name: published.yaml as records, and sentences about them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from utils.errors import UserError
from utils.names import nearest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"weights": ROOT / "pretrain_models", "data": ROOT / "dataset"}
TABLE = Path(__file__).with_name("published.yaml")
# Addresses are tried in this order.
HOSTS = ("github-release", "huggingface", "http", "gdrive", "gdrive-folder", "dropbox", "baidu")
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True)
class Licence:
    """A licence's short name, what it says, and whether it needs no consent."""

    name: str
    says: str
    permissive: bool


@dataclass(frozen=True)
class Address:
    """Where a file is: https://..., gdrive:ID, gdrive-folder:ID or baidu:LINK.

    hash_inferred: the file's hash was seen at another address alone.
    """

    at: str
    hash_inferred: bool = False

    @property
    def host(self) -> str:
        """Which of HOSTS it is."""
        scheme = self.at.partition(":")[0]
        if scheme in HOSTS and scheme != "http":
            return scheme
        if "//github.com/" in self.at and "/releases/" in self.at:
            return "github-release"
        for site in ("huggingface", "dropbox"):
            if re.match(rf"https://(www\.)?{site}\.", self.at):
                return site
        return "http"


@dataclass(frozen=True)
class PublishedFile:
    """A published file: its name, where it is, and its hash (algorithm:digest) if known."""

    name: str
    addresses: tuple[Address, ...]
    hash: str = ""


@dataclass(frozen=True)
class Entry:
    """A name of the table.

    size: bytes, None where nobody says; about: it is rounded. layout: see published.yaml. gives:
    what lies below the folder of its kind afterwards. parts: it stands for others. made_from: it
    is built of others.
    """

    name: str
    kind: str
    serves: str
    page: str = ""
    licence: Licence | None = None
    files: tuple[PublishedFile, ...] = ()
    size: int | None = None
    about: bool = False
    hash_from: str = ""
    layout: tuple[tuple[str, str], ...] = ()
    gives: tuple[str, ...] = ()
    joined: str = ""
    parts: tuple[str, ...] = ()
    made_from: tuple[str, ...] = ()
    never_published: bool = False

    @property
    def is_single_file(self) -> bool:
        """Whether it is one file in the end, not a folder."""
        return self.kind == "weights" and "." in self.name or self.name.endswith(".npy")


@cache
def entries() -> dict[str, Entry]:
    """All names of the table."""
    content = _content()
    licences = {
        name: Licence(name, value["says"], value["permissive"])
        for name, value in content["licences"].items()
    }
    found = {}
    for kind in FOLDERS:
        for name, values in content[kind].items():
            found[name] = _entry(name, kind, values, licences)
    return found


def not_offered() -> list[tuple[str, str, str]]:
    """(what, where, why) of published things that have no name here."""
    return [tuple(row) for row in _content()["not_offered"]]


def find_entry(name: str) -> Entry | None:
    """The entry of a name, in any case, with or without its extension; None for an unknown one."""
    plain = name.strip("/").lower()
    for entry in entries().values():
        if entry.name.lower() == plain:
            return entry
    for entry in entries().values():
        if entry.is_single_file and entry.name.lower().rpartition(".")[0] == plain:
            return entry
    return None


def named(name: str) -> Entry:
    """`find_entry`; raises UserError that suggests the nearest for an unknown name."""
    entry = find_entry(name)
    if entry is None:
        words = [*entries(), *(known.rpartition(".")[0] for known in entries())]
        if elsewhere := _not_by_name(Path(name)):
            raise UserError(f"{name}: {elsewhere}")
        suggestion = nearest(name, words) or ":"
        raise UserError(
            f"nothing is called {name!r}{suggestion} `python download.py` lists all names"
        )
    return entry


def expand(wanted: Iterable[Entry]) -> list[Entry]:
    """The entries with files of their own, and those made of them, that some entries stand for.

    What something is made of comes before it.
    """
    found: dict[str, Entry] = {}
    for entry in wanted:
        for name in (*entry.parts, *entry.made_from):
            found |= {part.name: part for part in expand([entries()[name]])}
        if not entry.parts:
            found[entry.name] = entry
    return list(found.values())


def find_path(path: Path) -> Entry | None:
    """The entry that gives a path: weights by their name, data by their path below dataset/."""
    if path.is_absolute():
        for kind, folder in FOLDERS.items():
            if path.is_relative_to(folder):
                return _giving(str(path.relative_to(folder)), kind)
    else:
        inside = Path.cwd() / path
        if inside.is_relative_to(FOLDERS["data"]):
            return find_path(inside)
    entry = find_entry(path.name)
    return entry if entry and entry.kind == "weights" else None


def how_to_get(path: Path | str, download: str = "") -> str:
    """A sentence's end about published weights or data that are missing; "" for unknown ones.

    download: the name to download, where it is not that of the path.
    """
    entry = named(download) if download else find_path(Path(path))
    if entry is None:
        return _not_by_name(Path(path))
    if entry.never_published:
        return f"{entry.name} was never published as far as known"
    return f"`python download.py {entry.name}` gets it ({summary(entry)})"


def _not_by_name(path: Path) -> str:
    """Where something is that download.py does not get, "" for what is unknown."""
    for what, where, why in not_offered():
        if what.partition(",")[0] in (path.name, path.parent.name):
            return f"published at {page_of(where)}, but not by name here ({why})"
    return ""


def page_of(address: str) -> str:
    """The page of an address for a browser."""
    scheme, _, rest = address.partition(":")
    pages = {
        "gdrive": f"https://drive.google.com/file/d/{rest}/view",
        "gdrive-folder": f"https://drive.google.com/drive/folders/{rest}",
        "baidu": rest,
    }
    return pages.get(scheme, address)


def summary(entry: Entry) -> str:
    """Size and licences in words."""
    leaves = expand([entry])
    licences = dict.fromkeys(leaf.licence.name for leaf in leaves if leaf.licence)
    return f"{size_of(entry)}, licence {', '.join(licences)}"


def size_of(entry: Entry) -> str:
    """The size in words: 272 MB, about 9.5 GB, 34.3 GB and more, or unknown size."""
    leaves = [leaf for leaf in expand([entry]) if leaf.files]
    known = [leaf for leaf in leaves if leaf.size is not None]
    if not known:
        return "unknown size"
    words = in_bytes(sum(leaf.size for leaf in known))
    if any(leaf.about for leaf in known):
        words = f"about {words}"
    return words if len(known) == len(leaves) else f"{words} and more"


def in_bytes(size: float) -> str:
    """A number of bytes in words."""
    for unit, value in reversed(_UNITS.items()):
        if size >= value:
            digits = 1 if size < 100 * value and unit != "KB" else 0
            return f"{size / value:.{digits}f} {unit}"
    return f"{size:.0f} bytes"


def _giving(path: str, kind: str) -> Entry | None:
    """The entry of a kind with that name, or the first that gives the path or something in it."""
    own = find_entry(path)
    if own and own.kind == kind:
        return own
    if Path(path).suffix == ".txt":  # a list of pairs
        return _giving(str(Path(path).parent), kind)
    for entry in entries().values():
        if entry.kind == kind and any(
            path in (given, Path(given).parts[0]) for given in entry.gives
        ):
            return entry
    return None


@cache
def _content() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the fast one where there is one
    return loader(TABLE.read_text(encoding="utf-8")).get_single_data()


def _entry(name: str, kind: str, values: dict[str, Any], licences: dict[str, Licence]) -> Entry:
    file_name = values.get("file", Path(name).name)
    files = values.get("files") or {file_name: values.get("from", [])}
    hashes = values.get("hashes") or {file_name: values.get("hash", "")}
    published = tuple(
        PublishedFile(file, _addresses(addresses), hashes.get(file, ""))
        for file, addresses in files.items()
        if addresses
    )
    size, about = _size(values.get("size"))
    return Entry(
        name=name,
        kind=kind,
        serves=values["serves"],
        page=values.get("page", ""),
        licence=licences.get(values.get("licence", "")),
        files=published,
        size=size,
        about=about,
        hash_from=values.get("hash_from", ""),
        layout=tuple((pattern, target) for pattern, target in values.get("layout", ())),
        gives=tuple(values.get("gives", () if "parts" in values else (name,))),
        joined=values.get("joined", ""),
        parts=tuple(values.get("parts", ())),
        made_from=tuple(values.get("made_from", ())),
        never_published=values.get("never_published", False),
    )


def _addresses(listed: list) -> tuple[Address, ...]:
    """In the order of HOSTS, those of one kind in that of the table."""
    found = []
    for value in listed:
        if isinstance(value, dict):
            found.append(Address(value["at"], value.get("hash") == "inferred"))
        else:
            found.append(Address(value))
    return tuple(sorted(found, key=lambda address: HOSTS.index(address.host)))


def _size(value: int | str | None) -> tuple[int | None, bool]:
    """(bytes, whether that is rounded)."""
    if value is None or isinstance(value, int):
        return value, False
    number, unit = value.removeprefix("about ").split()
    return int(float(number) * _UNITS[unit]), True
