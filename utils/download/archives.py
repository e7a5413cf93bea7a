"""Unpack archives of strangers: nothing leaves the folder, nothing but plain files is made.

Read are .zip (also in several parts that only together are one) and .tar, plain or compressed.
"""

import contextlib
import io
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from utils.errors import UserError
from utils.progress import Progress

# An archive may become this many times as large, and so many bytes more: pictures hardly shrink.
RATIO = 200
MORE_BYTES = 64 * 1024 * 1024
_CHUNK = 1 << 20
# What packers leave behind.
_JUNK = re.compile(r"(?:.*/)?(?:__MACOSX/.*|\.DS_Store|Thumbs\.db|\._[^/]*)")
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, ValueError,
    RuntimeError, OverflowError,
)  # fmt: skip
Layout = Callable[[str], Path | None]  # a member's path -> where it goes, None: left out


class Member(NamedTuple):
    """A plain file in an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


@dataclass
class Unpacked:
    """How many files were written, and the names of those left out."""

    written: int = 0
    left_out: list[str] = field(default_factory=list)


def is_archive(path: Path) -> bool:
    """Whether a file is an archive to unpack; PyTorch's own zip files are none."""
    with open(path, "rb") as file:
        start = file.read(265)
    if start.startswith(b"PK"):
        return not _is_pytorch(path)
    packed = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"Rar!")
    return start.startswith(packed) or start[257:262] == b"ustar"


def unpack(paths: Sequence[Path], layout: Layout, folder: Path) -> Unpacked:
    """Write an archive's files into a folder as a layout has them.

    paths: the archive, or the parts that it was cut into. Raises UserError for members that lead
    out of the folder, for links and devices, for contents far larger than the archive, for two
    members of one path, and for a damaged archive; what was written until then stays.
    """
    allowed = RATIO * sum(path.stat().st_size for path in paths) + MORE_BYTES
    folder.mkdir(parents=True, exist_ok=True)
    result = Unpacked()
    with _reading(paths[0]), _members(paths) as (members, total):
        if total is not None and total > allowed:
            raise _bomb(paths[0])
        bar = Progress(
            total=total, unit="B", unit_scale=True, desc=f"unpacking {paths[0].name}", leave=False
        )
        with bar:
            for member in members:
                target = layout(member.name)
                if target is None:
                    result.left_out.append(member.name)
                    bar.update(member.size)
                    continue
                allowed -= _write(member, folder / target, allowed, paths[0], bar)
                result.written += 1
    return result


def unpacked_size(paths: Sequence[Path]) -> int | None:
    """The bytes that an archive says it will become; None where only unpacking tells."""
    with _reading(paths[0]), _members(paths) as (_, total):
        return total


def safe_name(name: str, archive: Path) -> str:
    """A member's path with / between its parts; raises UserError if it leads out of the folder."""
    plain = name.replace("\\", "/")
    parts = plain.split("/")
    drive = re.match(r"[A-Za-z]:", plain)
    if plain.startswith("/") or drive or ".." in parts or "\0" in plain:
        raise UserError(
            f"{archive.name} holds {name!r}, which leads out of its folder: nothing of it is kept"
        )
    return "/".join(part for part in parts if part not in ("", "."))


@contextlib.contextmanager
def _members(paths: Sequence[Path]) -> Iterator[tuple[Iterator[Member], int | None]]:
    """(the plain files of an archive, their bytes together if it says so)."""
    if len(paths) > 1 or _starts_with(paths[0], b"PK"):
        with io.BufferedReader(_Joined(paths)) as file, zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            for info in infos:
                _check_zip_member(info, paths[0])
            yield _of_zip(archive, infos, paths[0]), sum(info.file_size for info in infos)
        return
    for start, kind in ((b"7z\xbc\xaf\x27\x1c", "7-Zip"), (b"Rar!", "RAR")):
        if _starts_with(paths[0], start):
            raise UserError(
                f"{paths[0].name} is a {kind} archive, which is not read: unpack it by hand"
            )
    with tarfile.open(paths[0], "r:*") as archive:
        yield _of_tar(archive, paths[0]), None


def _of_zip(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], path: Path) -> Iterator[Member]:
    for info in infos:
        name = safe_name(info.filename, path)
        if not info.is_dir() and not _JUNK.fullmatch(name):
            yield Member(name, info.file_size, _opener(archive.open, info))


def _check_zip_member(info: zipfile.ZipInfo, path: Path) -> None:
    safe_name(info.filename, path)
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _no_plain_file(info.filename, path)
    if info.flag_bits & 1:
        raise UserError(f"{path.name} is encrypted, which is not read: unpack it by hand")


def _of_tar(archive: tarfile.TarFile, path: Path) -> Iterator[Member]:
    for info in archive:
        name = safe_name(info.name, path)
        if info.isdir():
            continue
        if not info.isreg():
            raise _no_plain_file(info.name, path)
        if not _JUNK.fullmatch(name):
            yield Member(name, info.size, _opener(archive.extractfile, info))
        archive.members = []  # it would remember all of them


def _opener(function: Callable, info: object) -> Callable[[], IO[bytes]]:
    return partial(function, info)


def _write(member: Member, target: Path, allowed: int, path: Path, bar: Progress) -> int:
    """Write a member; returns its bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        output = open(target, "xb")
    except FileExistsError as error:
        raise UserError(f"{path.name} holds two files for {target.name}: {member.name}") from error
    with output, member.open() as content:
        while chunk := content.read(_CHUNK):
            written += len(chunk)
            if written > allowed:
                raise _bomb(path)
            output.write(chunk)
            bar.update(len(chunk))
    return written


def _bomb(path: Path) -> UserError:
    return UserError(
        f"{path.name} would become more than {RATIO} times as large, as no pictures or weights do: "
        "it is not unpacked"
    )


def _no_plain_file(name: str, path: Path) -> UserError:
    return UserError(
        f"{path.name} holds {name!r}, which is a link or a device, no plain file: nothing of it is "
        "kept"
    )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what goes wrong in a damaged archive into a UserError."""
    try:
        yield
    except UserError:
        raise
    except _DAMAGE as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise UserError(f"{path.name} is no archive that can be read: {reason}") from error


def _starts_with(path: Path, start: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read(len(start)) == start


def _is_pytorch(path: Path) -> bool:
    """Whether a zip file is what torch.save writes."""
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        return any(re.fullmatch(r"[^/]+/data\.pkl", name) for name in names)
    return False


class _Joined(io.RawIOBase):
    """Several files read as one, without a copy."""

    def __init__(self, paths: Sequence[Path]):
        self.files = [open(path, "rb") for path in paths]
        self.sizes = [path.stat().st_size for path in paths]
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: sum(self.sizes)}
        self.position = max(starts[whence] + offset, 0)
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer) -> int:
        """Bytes of the file that the position lies in, as far as it goes."""
        start = 0
        for file, size in zip(self.files, self.sizes):
            if self.position < start + size:
                file.seek(self.position - start)
                count = file.readinto(memoryview(buffer)[: start + size - self.position])
                self.position += count
                return count
            start += size
        return 0

    def close(self) -> None:
        for file in self.files:
            file.close()
        super().close()


def move_up(folder: Path) -> None:
    """Take away the folders at the top of a folder that hold nothing but one other folder."""
    inner = folder
    while len(held := list(inner.iterdir())) == 1 and held[0].is_dir():
        inner = held[0]
    if inner == folder:
        return
    aside = folder.with_name(f"{folder.name}.inner")
    inner.rename(aside)
    shutil.rmtree(folder)
    aside.rename(folder)
