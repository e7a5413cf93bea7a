"""Files of the visitors of a web page.

Each has folders of its own, below one private temporary folder of the process:

ROOT/work/TOKEN    what a visitor gave and what was made of it; the server hands out nothing of it
ROOT/served/NAME   uploads and what the page shows: handed out to whoever knows the name, which
                   nobody can guess
"""

import math
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from utils.errors import UserError

WORK = "work"
SERVED = "served"
LONGEST_NAME = 40  # characters that are kept of an upload's name
SWEEP_S = 30
_GUARD = (
    "import shutil, sys, time; sys.stdin.read(); time.sleep(1); shutil.rmtree(sys.argv[1], "
    "ignore_errors=True)"
)


@contextmanager
def private_folder() -> Iterator[Path]:
    """A temporary folder that goes when the block ends, or when the process is killed.

    A second process waits for that. It also removes what other threads still write within a second
    after the block.
    """
    root = Path(tempfile.mkdtemp(prefix="blurlab-")).resolve()
    command = [sys.executable, "-I", "-S", "-c", _GUARD, str(root)]
    # The guard's input ends with this process at the latest.
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)
        guard.stdin.close()


class Cancelled(Exception):
    """Ends a task whose visitor has gone or does not want it any more."""


class Visitor:
    """One visitor's files: `start` a task, `take` uploads, put what is shown into `shown`.

    cancelled: tasks that the visitor wants to end. jobs: how many work with the files now.
    """

    def __init__(self, root: Path, uploads: "Uploads"):
        self.work = root / WORK / secrets.token_urlsafe(24)
        self.shown: dict[str, Path] = {}  # task -> folder, below ROOT/served
        self.used = time.time()
        self.jobs = 0
        self.gone = False
        self.cancelled: set[str] = set()
        self._served = root / SERVED
        self._uploads = uploads

    def start(self, task: str) -> Path:
        """An empty folder for a task; what it made the last time goes.

        What it shows gets a new name, so that no browser mixes them up.
        """
        _remove(self.work / task)
        if task in self.shown:
            _remove(self.shown[task])
        self.shown[task] = self._served / secrets.token_urlsafe(24)
        for folder in (self.work / task, self.shown[task]):
            folder.mkdir(parents=True)
        return self.work / task

    def take(
        self, upload: str, folder: Path, endings: Sequence[str], number: int | None = None
    ) -> Path:
        """An upload in a folder, under a name that is safe to use and to show.

        A number comes before the name, so that no two are the same.
        """
        source = self.claim(upload)
        stem = _safe(source.stem)
        if number is not None:
            stem = f"{number:02d}_{stem}"
        target = folder / f"{stem}{source.suffix.lower()}"
        if target.suffix not in endings:
            raise UserError(f"{target.name} can't be read here: give one of {' '.join(endings)}")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise UserError(f"{target.name} is not kept any more: upload it again") from None
        return target

    def check(self, task: str) -> None:
        """Raises Cancelled where nobody waits for a task's results any more."""
        if self.gone or task in self.cancelled:
            raise Cancelled

    def give(self, source: Path, name: str = "") -> str:
        """A file of ours, perhaps under another name, as if the visitor had uploaded it."""
        folder = self._served / secrets.token_urlsafe(24)
        folder.mkdir()
        given = folder / (name or source.name)
        shutil.copyfile(source, given)
        self._uploads.add(given)
        return str(self.claim(str(given)))

    def claim(self, upload: str) -> Path:
        """An upload that is this visitor's from now on, and goes with the visitor.

        Raises UserError for a path that is no upload.
        """
        return self._uploads.claim(upload, self)

    def uploads(self) -> list[Path]:
        """What this visitor has claimed."""
        return self._uploads.of(self)

    def remove(self) -> None:
        """Remove all files of the visitor."""
        _remove(self.work, *self.shown.values())
        self._uploads.release(self)


class Uploads:
    """What was uploaded: ROOT/served/FOLDER/NAME, where gradio names the folder by the content.

    So equal uploads are one file, which stays until all who gave it have gone.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._given: Counter[Path] = Counter()  # how often each was uploaded
        self._claims: dict[Path, list[Visitor]] = {}
        self._lock = threading.Lock()

    def add(self, path: Path) -> None:
        """Count an upload."""
        with self._lock:
            self._given[path] += 1

    def claim(self, upload: str, visitor: Visitor) -> Path:
        """See Visitor.claim: a regular file that was uploaded, and no link."""
        path = Path(upload)
        with self._lock:
            known = path in self._given
            if known and not _is_regular(path):
                raise UserError(f"{_safe(path.stem)} is not kept any more: upload it again")
            if not known or path.parent.parent != self.folder:
                raise UserError("this is no upload: drop the file into its field")
            claims = self._claims.setdefault(path, [])
            if visitor not in claims:
                claims.append(visitor)
        return path

    def of(self, visitor: Visitor) -> list[Path]:
        """The uploads of a visitor."""
        with self._lock:
            return [path for path, claims in self._claims.items() if visitor in claims]

    def release(self, visitor: Visitor) -> None:
        """Remove the uploads that were this visitor's alone."""
        with self._lock:
            for path, claims in list(self._claims.items()):
                if visitor not in claims:
                    continue
                claims.remove(visitor)
                self._given[path] -= 1
                if not claims and self._given[path] <= 0:
                    self._forget(path)

    def claimed(self) -> set[Path]:
        """Folders of uploads that are somebody's."""
        with self._lock:
            return {path.parent for path, claims in self._claims.items() if claims}

    def forget_folder(self, folder: Path) -> None:
        """Remove the uploads of a folder that nobody claims."""
        with self._lock:
            for path in [path for path in self._given if path.parent == folder]:
                self._forget(path)

    def _forget(self, path: Path) -> None:
        del self._given[path]
        self._claims.pop(path, None)
        path.unlink(missing_ok=True)
        with suppress(OSError):  # another file of the same content lies there
            path.parent.rmdir()


class Visitors:
    """Who is here, by the sessions of the page.

    Files that nobody has used for `keep_s` seconds are removed. total_gb: of all files, beyond
    which no work begins.
    """

    def __init__(self, root: Path, keep_s: float, total_gb: float = math.inf):
        self.root = root
        self.keep_s = keep_s
        self.total_gb = total_gb
        self.uploads = Uploads(root / SERVED)
        self._by_session: dict[str, Visitor] = {}
        self._lock = threading.Lock()
        for name in (WORK, SERVED):
            (root / name).mkdir(mode=0o700)
        threading.Thread(target=self._sweep_again, daemon=True).start()

    @contextmanager
    def at_work(self, session: str | None) -> Iterator[Visitor]:
        """The visitor of a session, whose files stay while the block runs.

        Without a session it is a new visitor, whom nobody else gets.
        """
        with self._lock:
            name = session or secrets.token_hex()
            visitor = self._by_session.setdefault(name, Visitor(self.root, self.uploads))
            visitor.jobs += 1
            visitor.used = math.inf
        try:
            yield visitor
        finally:
            with self._lock:
                visitor.jobs -= 1
                if not visitor.jobs:
                    visitor.used = time.time()
            if visitor.gone:
                visitor.remove()  # once more, as work went on

    def uploaded(self, path: Path) -> None:
        """Count an upload; without that nobody can use it."""
        self.uploads.add(path)

    def leave(self, session: str | None) -> None:
        """Remove the files of a visitor who goes."""
        with self._lock:
            visitor = self._by_session.pop(session, None)
        if visitor:
            visitor.gone = True
            visitor.remove()

    def sweep(self) -> None:
        """Remove who is idle for too long, and uploads as old that were never worked with."""
        oldest = time.time() - self.keep_s
        found = set((self.root / SERVED).iterdir())  # first: what comes later is nobody's to sweep
        visitors = dict(self._by_session)
        for session, visitor in visitors.items():
            if visitor.used < oldest:
                self.leave(session)
        known = self.uploads.claimed()
        for visitor in visitors.values():
            known.update(visitor.shown.values())
        for path in found - known:
            if not path.exists() or path.stat().st_mtime >= oldest:
                continue
            self.uploads.forget_folder(path)
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()

    def _sweep_again(self) -> None:
        while self.root.is_dir():
            # Visitors leave at any time; the next round looks again.
            with suppress(FileNotFoundError):
                self.sweep()
            time.sleep(min(SWEEP_S, max(self.keep_s, 0.1)))

    def check_room(self) -> None:
        """Raises UserError where the files of all visitors together are too large."""
        sizes = {}
        for path in self.root.rglob("*"):
            with suppress(FileNotFoundError):  # visitors leave at any time
                status = path.lstat()
                sizes[status.st_ino] = status.st_size
        if sum(sizes.values()) > self.total_gb * 2**30:
            raise UserError("there is no room for more files now: try again later")


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode) and path.resolve() == path
    except OSError:
        return False


def _safe(name: str) -> str:
    """At most LONGEST_NAME letters, digits and underscores of a name."""
    words = re.sub(r"\W+", "_", unicodedata.normalize("NFC", name))
    return words[:LONGEST_NAME].strip("_") or "upload"


def _remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
