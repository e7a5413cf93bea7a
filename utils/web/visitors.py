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
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
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


class Visitor:
    """One visitor's files: `start` a task, `take` uploads, put what is shown into `shown`."""

    def __init__(self, root: Path):
        self.work = root / WORK / secrets.token_urlsafe(24)
        self.shown: dict[str, Path] = {}  # task -> folder, below ROOT/served
        self.used = time.time()
        self.gone = False
        self._served = root / SERVED
        self._uploads: set[Path] = set()

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
        source = Path(upload)
        stem = _safe(source.stem)
        if number is not None:
            stem = f"{number:02d}_{stem}"
        target = folder / f"{stem}{source.suffix.lower()}"
        if target.suffix not in endings:
            raise UserError(f"{target.name} can't be read here: give one of {' '.join(endings)}")
        folder.mkdir(parents=True, exist_ok=True)
        self._uploads.add(source)
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise UserError(f"{target.name} is not kept any more: upload it again") from None
        return target

    def remove(self) -> None:
        """Remove all files of the visitor."""
        _remove(self.work, *self.shown.values())
        for upload in self._uploads:
            upload.unlink(missing_ok=True)
            with suppress(OSError):  # another file of the same content lies there
                upload.parent.rmdir()


class Visitors:
    """Who is here, by the sessions of the page.

    Files that nobody has used for `keep_s` seconds are removed.
    """

    def __init__(self, root: Path, keep_s: float):
        self.root = root
        self.keep_s = keep_s
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
            visitor = self._by_session.setdefault(name, Visitor(self.root))
            visitor.used = math.inf
        try:
            yield visitor
        finally:
            visitor.used = time.time()
            if visitor.gone:
                visitor.remove()  # once more, as work went on

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
        visitors = dict(self._by_session)
        for session, visitor in visitors.items():
            if visitor.used < oldest:
                self.leave(session)
        known: set[Path] = set()
        for visitor in visitors.values():
            known.update(visitor.shown.values())
        for path in set((self.root / SERVED).iterdir()) - known:
            if path.stat().st_mtime >= oldest:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _sweep_again(self) -> None:
        while self.root.is_dir():
            # Visitors leave at any time; the next round looks again.
            with suppress(FileNotFoundError):
                self.sweep()
            time.sleep(min(SWEEP_S, max(self.keep_s, 0.1)))


def _safe(name: str) -> str:
    """At most LONGEST_NAME letters, digits and underscores of a name."""
    words = re.sub(r"\W+", "_", unicodedata.normalize("NFC", name))
    return words[:LONGEST_NAME].strip("_") or "upload"


def _remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
