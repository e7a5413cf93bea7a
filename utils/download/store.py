"""From an entry of the table to files in pretrain_models/ and dataset/, whole or not at all.

Unfinished things lie in FOLDER/.download/NAME, where the next call finds and continues them; what
has its name is whole.
"""

import contextlib
import fcntl
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

import requests

from utils.download import drive
from utils.download.archives import is_archive, move_up, unpack, unpacked_size
from utils.download.record import check_hash, check_kept, write_record
from utils.download.table import HOSTS, Address, Entry, PublishedFile, page_of, summary
from utils.download.transfer import (
    AddressError,
    address_of_part,
    check_free,
    fetch,
    huggingface,
    new_session,
    reason_of,
)
from utils.errors import UserError
from utils.files import natural_key

ARCHIVES = "archives"  # where they are kept, and where those from elsewhere are looked for
_WORK = ".download"


@dataclass(frozen=True)
class Options:
    """mirror: one of HOSTS, or an address below which all files lie. keep_archives: don't remove
    them after unpacking.
    """

    mirror: str = ""
    keep_archives: bool = False


def is_there(entry: Entry, folder: Path) -> bool:
    """Whether all that an entry gives lies below the folder."""
    if entry.is_single_file and (folder / entry.name).with_suffix("").is_dir():
        return True  # an archive with several weights
    return all((folder / path).exists() for path in entry.gives)


def get(entry: Entry, folder: Path, options: Options) -> bool:
    """Download what an entry names below the folder, unless it is there; False then.

    Two calls at a time wait for each other. Raises UserError with the page to open where no
    address gives a file.
    """
    work = folder / _WORK / entry.name.replace("/", "_")
    if is_there(entry, folder):
        return False
    with locked(work):
        if is_there(entry, folder):
            return False
        files = [_file(entry, file, folder, work, options) for file in entry.files]
        if entry.layout and (len(files) > 1 or is_archive(files[0])):
            staging = work / "unpacked"
            _unpack(entry, files, staging, folder)
            write_record(work, folder)
            _move_all(entry, staging, folder)
        elif len(files) == 1 and entry.is_single_file:
            write_record(work, folder)
            _move(files[0], folder / entry.name)
        else:
            raise UserError(
                f"{files[0]} is no archive as expected: look at it, or ask at {entry.page}"
            )
        if options.keep_archives and files[0].is_file():
            for file in files:
                _move(file, folder / ARCHIVES / entry.name / file.name)
        shutil.rmtree(work)
    return True


@contextlib.contextmanager
def locked(work: Path) -> Iterator[None]:
    """Alone in a folder for unfinished things, which is made; waits until others are done."""
    while True:
        work.mkdir(parents=True, exist_ok=True)
        try:
            lock = open(work / "lock", "ab")
        except FileNotFoundError:  # the other call has just removed the folder
            continue
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another call downloads into {work}: waiting for it", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_still(work / "lock", lock.fileno()):
                continue
            try:
                yield
            finally:
                _tidy(work)
            return


def _tidy(work: Path) -> None:
    """Remove a folder for unfinished things, and the one around it, if it holds nothing to keep."""
    if work.is_dir():
        files = [path.name for path in work.iterdir() if path.is_file()]
        if all(name == "lock" or name.endswith(".json") for name in files):
            shutil.rmtree(work)
    with contextlib.suppress(OSError):  # other downloads may be in it
        work.parent.rmdir()


def addresses_of(file: PublishedFile, mirror: str) -> list[Address]:
    """Where a file is looked for, in order; mirror: see Options."""
    offered = [address for address in file.addresses if address.host != "baidu"]
    if "://" in mirror:
        return [Address(f"{mirror.rstrip('/')}/{quote(file.name)}")]
    if mirror in HOSTS:
        offered = [address for address in offered if address.host == mirror]
    elif mirror:
        raise UserError(
            f"--mirror {mirror}: one of {', '.join(HOSTS[:-1])}, or an address https://... below "
            "which the files lie"
        )
    return offered


def resolved(address: Address, name: str, session: requests.Session) -> str:
    """The address of the bytes; raises AddressError where there are none."""
    scheme, _, rest = address.at.partition(":")
    if scheme == "gdrive-folder":
        return drive.direct_address(session, drive.file_in_folder(rest, name))
    if scheme == "gdrive":
        return drive.direct_address(session, rest)
    return address.at.replace("https://huggingface.co", huggingface(), 1)


def _file(entry: Entry, file: PublishedFile, folder: Path, work: Path, options: Options) -> Path:
    """A published file, whole and with the right hash: from the archives, or downloaded."""
    kept = folder / ARCHIVES / entry.name / file.name
    if kept.is_file():
        print(f"{kept} is used", file=sys.stderr)
        check_kept(entry, file, kept)
        return kept
    target = work / file.name
    if target.is_file():
        return target
    part = work / f"{file.name}.part"
    addresses = addresses_of(file, options.mirror)
    begun = address_of_part(part)
    addresses.sort(key=lambda address: address.at != begun)  # what was begun is continued
    reasons = []
    for address in addresses:
        try:
            session = new_session(address.at.replace("https://huggingface.co", huggingface(), 1))
            url = resolved(address, file.name, session)
            space = partial(_check_space, entry, work)
            fetch(url, part, address.at, session, space, file.name)
            check_hash(entry, file, address, part, folder)
        except AddressError as error:
            reasons.append(f"{_where(address)}: {error}")
        except requests.RequestException as error:
            reasons.append(f"{_where(address)}: {reason_of(error)}")
        else:
            part.replace(target)
            return target
        if len(reasons) < len(addresses):
            print(f"note: {reasons[-1]}; another address is tried", file=sys.stderr)
    raise UserError(_by_hand(entry, file, folder, reasons))


def _by_hand(entry: Entry, file: PublishedFile, folder: Path, reasons: list[str]) -> str:
    """The sentence for a file that no address gives."""
    target = folder / entry.name
    if entry.layout or not entry.is_single_file:
        target = folder / ARCHIVES / entry.name / file.name
    pages = [entry.page]
    for address in file.addresses:
        page = page_of(address.at)
        if page != address.at:
            pages.append(page)
    tried = "; ".join(dict.fromkeys(reasons)) or "it has no address of that kind"
    again = ""
    if entry.layout:
        again = " and call download.py again, which unpacks it"
    return (
        f"{file.name} could not be downloaded ({tried}). Open {' or '.join(dict.fromkeys(pages))} "
        f"in a browser, put the file at {target}{again}"
    )


def _where(address: Address) -> str:
    if address.host.startswith("gdrive"):
        return "drive.google.com"
    return urlsplit(address.at).hostname or address.at


def _check_space(entry: Entry, work: Path, to_come: int) -> None:
    """Room for the rest of a file and, of an archive, for as much again: pictures hardly shrink."""
    check_free(work, to_come * (2 if entry.layout else 1), entry.name)


def _unpack(entry: Entry, files: list[Path], staging: Path, folder: Path) -> None:
    """Unpack archives into the layout that the catalogue reads.

    What can't be used is moved aside.
    """
    shutil.rmtree(staging, ignore_errors=True)  # of a call that was killed
    layout = partial(_target, entry)
    groups = [files] if entry.joined else [[file] for file in files]
    left_out: list[str] = []
    try:
        for group in groups:
            size = unpacked_size(group)
            check_free(staging.parent, size or 0, f"unpacking {group[0].name}")
            left_out += unpack(group, layout, staging).left_out
        _check_complete(entry, staging, left_out, files)
    except UserError as error:
        shutil.rmtree(staging, ignore_errors=True)
        if files[0].parent != staging.parent:
            raise
        for file in files:  # the next call may bring another one
            file.replace(folder / f"{file.name}.unexpected")
        raise UserError(f"{error} (it lies at {folder}/{files[0].name}.unexpected)") from error
    except OSError:  # a full disk, of which nothing half may take room
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _move_all(entry: Entry, staging: Path, folder: Path) -> None:
    """Give what was unpacked its name; what is there already stays."""
    if entry.is_single_file:
        _move_weights(entry, staging, folder)
        return
    if any(pattern == "(.*)" for pattern, _ in entry.layout):
        move_up(staging / entry.name)
    for given in entry.gives:
        if (folder / given).exists():
            print(f"note: {folder / given} was there and is kept", file=sys.stderr)
        else:
            _move(staging / given, folder / given)


def _target(entry: Entry, name: str) -> Path | None:
    """Where a member goes below the folder of the kind, None where it is left out."""
    for pattern, target in entry.layout:
        found = re.fullmatch(pattern, name)
        if found:
            return Path(found.expand(target) or name)
    return None


def _check_complete(entry: Entry, staging: Path, left_out: list[str], files: list[Path]) -> None:
    """Raises UserError where the archives do not hold what the entry gives."""
    expected = [] if entry.is_single_file else list(entry.gives)
    missing = [given for given in expected if not (staging / given).exists()]
    if missing or not staging.is_dir() or not any(staging.iterdir()):
        names = ", ".join(left_out[:3]) or "nothing else"
        raise UserError(
            f"{files[0].name} is packed otherwise than expected: nothing in it for "
            f"{', '.join(missing) or entry.name}, only {names}; look at it, and at {entry.page}"
        )


def _move_weights(entry: Entry, staging: Path, folder: Path) -> None:
    """Put the weights of an archive into their file: of model-EPOCH.pt the last epoch.

    Several other files become a folder beside, of which the user chooses.
    """
    found = sorted(
        (path for path in staging.rglob("*") if path.is_file()),
        key=lambda path: natural_key(str(path)),
    )
    if len(found) == 1 or re.fullmatch(r"model-\d+\.\w+", found[-1].name):
        _move(found[-1], folder / entry.name)
        return
    chosen = (folder / entry.name).with_suffix("")
    move_up(staging)
    _move(staging, chosen)
    names = ", ".join(
        str(path.relative_to(chosen)) for path in sorted(chosen.rglob("*")) if path.is_file()
    )
    print(f"{chosen} holds several weights, name one of them as --weights: {names}")


def _move(source: Path, target: Path) -> None:
    """Give a file or folder its name, in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def describe(entry: Entry, options: Options) -> list[str]:
    """What --dry_run says of an entry."""
    lines = [f"{entry.name}: {entry.serves}; {summary(entry)}"]
    for file in entry.files:
        addresses = [address.at for address in addresses_of(file, options.mirror)]
        lines.append(f"  {file.name} from {addresses[0] if addresses else 'nowhere'}")
        lines += [f"    or {address}" for address in addresses[1:]]
    if entry.licence:
        lines.append(f"  licence: {entry.licence.says} ({entry.page})")
    return lines
