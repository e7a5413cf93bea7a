"""Files of the visitors of a web page: each has folders of its own, below one private temporary
folder of the process.

ROOT/work/TOKEN    what a visitor gave and what was made of it; the server hands out nothing of it
ROOT/served/NAME   uploads and what the page shows: handed out to whoever knows the name, which nobody can guess
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

WORK, SERVED = "work", "served"
LONGEST_NAME = 40  # characters that are kept of an upload's name
SWEEP_S = 30
_GUARD = (
    "import shutil, sys, time; sys.stdin.read(); time.sleep(1); shutil.rmtree(sys.argv[1], "
    "ignore_errors=True)"
)


@contextmanager
def private_folder() -> Iterator[Path]:
    """A temporary folder that goes when the block ends, or when the process is killed: a second
    process waits for that.

    It also removes what other threads still write within a second after the block.
    """
    root = Path(tempfile.mkdtemp(prefix="blurlab-")).resolve()
    command = [sys.executable, "-I", "-S", "-c", _GUARD, str(root)]
    guard = subprocess.Popen(
        command, stdin=subprocess.PIPE, start_new_session=True
    )  # its input ends with this process at the latest
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)
        guard.stdin.close()


class Visitor:
    """One visitor's files: `start` a task, `take` uploads, find a place for what is `shown`."""

    def __init__(self, root: Path):
        self.work, self.used, self.gone = (
            root / WORK / secrets.token_urlsafe(24),
            time.time(),
            False,
        )
        self.shown: dict[str, Path] = {}  # task -> folder, below ROOT/served
        self._served, self._uploads = root / SERVED, set()

    def start(self, task: str) -> Path:
        """An empty folder for a task; what it made the last time goes. What it shows gets a new
        name, so that no browser mixes them up.
        """
        self._remove(self.work / task, *([self.shown[task]] if task in self.shown else []))
        self.shown[task] = self._served / secrets.token_urlsafe(24)
        for folder in (self.work / task, self.shown[task]):
            folder.mkdir(parents=True)
        return self.work / task

    def take(
        self, upload: str, folder: Path, endings: Sequence[str], number: int | None = None
    ) -> Path:
        """An upload in a folder, under a name that is safe to use and to show; a number comes
        before it, so that no two are the same.
        """
        source = Path(upload)
        stem = (
            re.sub(r"\W+", "_", unicodedata.normalize("NFC", source.stem))[:LONGEST_NAME].strip("_")
            or "upload"
        )
        target = (
            folder / f"{stem if number is None else f'{number:02d}_{stem}'}{source.suffix.lower()}"
        )
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
        self._remove(self.work, *self.shown.values())
        for upload in self._uploads:
            upload.unlink(missing_ok=True)
            with suppress(OSError):  # another file of the same content lies there
                upload.parent.rmdir()

    def _remove(self, *folders: Path) -> None:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


class Visitors:
    """Who is here, by the sessions of the page. Files that nobody has used for `keep_s` seconds are
    removed.
    """

    def __init__(self, root: Path, keep_s: float):
        self.root, self.keep_s, self._of, self._lock = root, keep_s, {}, threading.Lock()
        for name in (WORK, SERVED):
            (root / name).mkdir(mode=0o700)
        threading.Thread(target=self._sweep_again, daemon=True).start()

    @contextmanager
    def at_work(self, session: str | None) -> Iterator[Visitor]:
        """The visitor of a session, whose files stay while the block runs; of no session: somebody
        nobody else is.
        """
        with self._lock:
            visitor = self._of.setdefault(session or secrets.token_hex(), Visitor(self.root))
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
            visitor = self._of.pop(session, None)
        if visitor:
            visitor.gone = True
            visitor.remove()

    def sweep(self) -> None:
        """Remove who is idle for too long, and uploads that are as old and were never worked
        with.
        """
        old, visitors = time.time() - self.keep_s, dict(self._of)
        for session in (session for session, visitor in visitors.items() if visitor.used < old):
            self.leave(session)
        known = {folder for visitor in visitors.values() for folder in visitor.shown.values()}
        for path in set((self.root / SERVED).iterdir()) - known:
            if path.stat().st_mtime < old:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _sweep_again(self) -> None:
        while self.root.is_dir():
            with suppress(
                FileNotFoundError
            ):  # visitors leave at any time; the next round looks again
                self.sweep()
            time.sleep(min(SWEEP_S, max(self.keep_s, 0.1)))
