"""Whole files or nothing, their hashes, and names in the order a person counts."""

import csv
import hashlib
import io
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from utils.errors import UserError

MAX_BYTES = 2**32  # of a file that is read as a whole
HASHED_BYTES = 1 << 20  # read at a time, as a video may be larger than the memory


def read_regular(path: str | os.PathLike, maximum: int = MAX_BYTES) -> bytes:
    """Content of a regular file, links followed.

    Raises UserError for a folder, a pipe, a device (reading it may never end), and for more than
    `maximum` bytes; OSError as open() does.
    """
    check_regular(path, maximum)
    return Path(path).read_bytes()


def check_regular(path: str | os.PathLike, maximum: int | None = None) -> None:
    """Raises UserError for a path that is no regular file or is larger than `maximum` bytes."""
    status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
        raise UserError(f"{path} is {kind}, not a file")
    if maximum is not None and status.st_size > maximum:
        raise UserError(
            f"{path} has {status.st_size:,} bytes: at most {maximum:,} of such a file are read"
        )


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary neighbour of `path` to write to.

    It is renamed over `path` when the block ends well, removed otherwise.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.stem}.{secrets.token_hex(4)}{path.suffix}"
    try:  # from before the file is there, as Ctrl-C may come at any time
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(path)  # the name that the user knows
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` to fill; it takes its place when the block ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        made = Path(temporary, folder.name)
        yield made
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def save_figure(path: str | os.PathLike, figure: Any) -> None:
    """Write a figure of Matplotlib as PNG, whole or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def write_table(path: str | os.PathLike, rows: Sequence[dict]) -> None:
    """Write dicts with the keys of the first one as a CSV file, whole."""
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, table.getvalue())


def below(folder: Path, name: str, source: object) -> Path:
    """folder/name as a file of the user's has it.

    Raises UserError, naming that file (source), for a name that leads out of the folder.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(
            f"{source}: {name!r} leads out of {folder}: only names below it are followed"
        )
    return folder / name


def keep_apart(results: Path, material: Path) -> None:
    """Raises UserError for results inside the folder that they are made from.

    The next run would take them for material.
    """
    if results.resolve().is_relative_to(material.resolve()):
        raise UserError(
            f"results in {results} would become material, as they lie in {material}: choose "
            "another --output_dir"
        )


def files_below(folder: Path) -> Iterator[Path]:
    """Every path but folders below a folder.

    Links to folders are followed; each folder is visited once, by its own path where it has one
    below `folder`, so that no circle of links is without end.
    """
    seen: set[str] = set()
    waiting = deque([folder])
    while waiting:
        for root, folders, names in os.walk(waiting.popleft()):
            real = os.path.realpath(root)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            links = filter(Path.is_symlink, (Path(root, name) for name in sorted(folders)))
            waiting.extend(links)
            yield from (Path(root, name) for name in names)


def sha256(path: Path) -> str:
    """Hash of a file's content; of a folder or the prefix of a TensorFlow checkpoint, of its files.

    Several files are hashed one after the other, in the order of their names.
    """
    if path.is_file():
        parts = [path]
    elif path.is_dir():
        parts = sorted(path.glob("*"))
    else:
        parts = sorted(path.parent.glob(f"{path.name}.*"))
    digest = hashlib.sha256()
    for part in parts:
        with open(part, "rb") as file:
            while block := file.read(HASHED_BYTES):
                digest.update(block)
    return digest.hexdigest()


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sort key that counts: frame2 before frame10."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
