"""What came into a folder, and whether it is what was expected: FOLDER/hashes.json.

A hash that is known is demanded; of other files the first one is trusted, and later ones must equal
it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from utils.download.table import Address, Entry, PublishedFile
from utils.download.transfer import AddressError
from utils.errors import UserError
from utils.files import write_text

RECORD = "hashes.json"
_NOTE = ".hash.json"  # beside a file, until what it belongs to is whole


def check_hash(
    entry: Entry, file: PublishedFile, address: Address, part: Path, folder: Path
) -> None:
    """Compare a file's hash with the known or earlier one and note it beside the file.

    Raises AddressError for another one; the file is moved aside then.
    """
    algorithm, _, expected = file.hash.partition(":")
    aside = folder / f"{file.name}.unexpected"
    name = entry.name if len(entry.files) == 1 else f"{entry.name}/{file.name}"
    sha256 = _digest(part, "sha256")
    found = _digest(part, algorithm or "sha256")
    known = bool(expected) and found.startswith(expected)
    if expected and not known and not address.hash_inferred:
        _move_aside(part, aside, found, expected, entry.hash_from)
    if expected and not known:
        words = "is not the one known from another address"
        print(f"note: the hash of {file.name} {words}", file=sys.stderr)
    earlier = read_record(folder).get(name, {})
    if not known and earlier and earlier["sha256"] != sha256:
        _move_aside(part, aside, sha256, earlier["sha256"], earlier["basis"])
    basis = earlier.get("basis", f"first seen on {datetime.now(UTC):%Y-%m-%d}")
    if known:
        basis = f"checked against {entry.hash_from}"
    row = {
        "file": file.name,
        "sha256": sha256,
        "size": part.stat().st_size,
        "basis": basis,
        "address": address.at,
    }
    write_text(part.with_name(f"{file.name}{_NOTE}"), json.dumps({name: row}))


def write_record(work: Path, folder: Path) -> None:
    """Write the notes of all files of an entry into the folder's record."""
    with _alone(folder):
        record = read_record(folder)
        for note in sorted(work.glob(f"*{_NOTE}")):
            record |= json.loads(note.read_text(encoding="utf-8"))
        if record:
            write_text(folder / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")


def check_kept(entry: Entry, file: PublishedFile, kept: Path) -> None:
    """Raises UserError for an archive from elsewhere that has not the known hash."""
    algorithm, _, expected = file.hash.partition(":")
    if not expected:
        return
    found = _digest(kept, algorithm)
    if not found.startswith(expected):
        raise UserError(
            f"{kept} has the hash {found}, not {expected} ({entry.hash_from}): remove or rename it"
        )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else writes the record of a folder meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _move_aside(part: Path, aside: Path, found: str, expected: str, source: str) -> NoReturn:
    """Out of the way, under a name that nothing looks for."""
    part.replace(aside)
    raise AddressError(
        f"another file came: its hash is {found}, not {expected} ({source}); it lies at {aside}"
    )


def read_record(folder: Path) -> dict[str, dict]:
    """{name: {file, sha256, size, basis, address}} of what came into a folder."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {name: row for name, row in record.items() if {"sha256", "basis"} <= row.keys()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"{folder / RECORD} is damaged: remove it, the hashes of what comes are recorded anew"
        ) from error


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
