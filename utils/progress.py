"""Progress of long work: on a terminal, in a file, or told to whoever listens."""

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm import tqdm

SAY_EVERY_S = 30
ESTIMATE_AFTER_S = 5  # of steps that are measured for an estimate
SHORT_S = 30  # work that needs no estimate
# (below how many seconds, unit, its seconds, digits)
_DURATIONS = ((90, "s", 1, 0), (90 * 60, "min", 60, 0), (48 * 3600, "h", 3600, 1))


class Progress(tqdm):
    """tqdm's bar; where the errors go to no terminal, a line every half minute instead.

    What is done sooner says nothing there. A listener (see `heard`) is told of every step.
    estimates: of longer work, say once on the standard output how long it will take. sizes: of
    the steps' work, to which their times are taken to be proportional; by default all are alike.
    """

    def __init__(self, *args, estimates: bool = False, sizes: Sequence[float] = (), **options):
        self.in_lines = not sys.stderr.isatty()
        self.said = time.monotonic()
        self.started = self.said
        self.estimates = estimates
        self.sums = [0.0, *itertools.accumulate(sizes)]
        self.skipped = 0.0  # work that was not to be done
        self.first: tuple[float, float] | None = None  # work and time after the first step
        if self.in_lines:
            options["leave"] = False
        super().__init__(*args, **options)

    def update(self, n: float | None = 1) -> bool | None:
        """Count steps that were done."""
        drawn = super().update(n)
        if self.estimates and self.total and not self.disable:
            self._estimate()
        listener = _LISTENER.get()
        if listener:
            listener(self)
        return drawn

    def skip(self, n: int = 1) -> None:
        """Count steps that were done before, whose time tells nothing of the others'."""
        self.skipped += self._work(self.n + n) - self._work(self.n)
        self.initial += n
        self.last_print_n += n
        self.n += n

    def sentence(self) -> str:
        """37 of 300 frames, 0.36 frames/s, about 12 min left."""
        seconds = time.monotonic() - self.started
        noun = f"{self.unit.strip()}s"
        words = [f"{self.n} of {self.total} {noun}" if self.total else f"{self.n} {noun}"]
        done = self._work(self.n) - self.skipped
        if done and seconds > 0:
            words.append(rate((self.n - self.initial) / seconds, self.unit.strip()))
            if self.total and self.n < self.total:
                left = self._work(self.total) - self._work(self.n)
                words.append(f"about {duration(seconds / done * left)} left")
        return ", ".join(words)

    def _work(self, steps: int) -> float:
        """The work of the first steps."""
        if len(self.sums) == 1:
            return steps
        return self.sums[min(steps, len(self.sums) - 1)]

    def _estimate(self) -> None:
        """Say how long the work takes as soon as enough of it was measured.

        The first step, with which libraries and memory warm up, counts only where it is long.
        """
        if self.n >= self.total:
            return
        now = time.monotonic()
        done = self._work(self.n) - self.skipped
        if self.first is None:
            self.first = (done, now)
        work, since = self.first
        if done == work and now - self.started >= SHORT_S and not self.skipped:
            work = 0.0
            since = self.started
        if done == work or now - since < ESTIMATE_AFTER_S:
            return
        self.estimates = False
        each = (now - since) / (done - work)
        whole = self._work(self.total) - self.skipped
        if each * whole < SHORT_S:
            return
        count = self.total - self.initial
        noun = self.unit.strip()
        speed = rate(count / (each * whole), noun)
        self.write(f"about {duration(each * whole)} for {count} {noun}s at {speed}")
        sys.stdout.flush()

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        """Draw the bar, or write a line where it is time for one; called by tqdm."""
        if not self.in_lines:
            return super().display(msg, pos)
        if msg is None and time.monotonic() - self.said >= SAY_EVERY_S:
            self.said = time.monotonic()
            line = self.format_meter(**(self.format_dict | {"ncols": 0}))
            self.fp.write(line.strip() + "\n")
            self.fp.flush()
        return None

    def clear(self, *args, **options) -> None:
        """Wipe the bar; lines stay. Called by tqdm."""
        if not self.in_lines:
            super().clear(*args, **options)


_LISTENER: ContextVar[Callable[[Progress], None] | None] = ContextVar("listener", default=None)


@contextmanager
def heard(listener: Callable[[Progress], None]) -> Iterator[None]:
    """While the block runs, the listener is told of every step of every bar of this thread.

    What it raises ends the work.
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def rate(per_second: float, noun: str) -> str:
    """How fast something is done: 2.4 frames/s, or 3.1 s per frame."""
    if per_second >= 0.1:
        return f"{per_second:.2g} {noun}s/s"
    return f"{1 / per_second:.0f} s per {noun}"


def duration(seconds: float) -> str:
    """A time as one says it: 40 s, 12 min, 3.5 h, 4.0 days."""
    for longest, unit, length, digits in _DURATIONS:
        if seconds < longest:
            return f"{seconds / length:.{digits}f} {unit}"
    return f"{seconds / 86400:.1f} days"
