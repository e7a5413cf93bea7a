"""What a command's process needs: open standard streams, and signals that end it well."""

import os
import signal
import sys
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)


def fill_streams() -> None:
    """Open the null device in place of standard streams that are closed.

    Else the first file that is opened takes their number, and what a library prints goes into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w", encoding="utf-8"))


def show(text: str) -> None:
    """Print; a reader that closes the pipe, as `head` does, has what it wanted."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP end the process as Ctrl-C does, with nothing half written.

    What was told to ignore them (nohup) ignores them; child processes die of them as ever.
    """
    for number in _ENDING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _Ending(os.getpid()))


class _Ending:
    """Raises KeyboardInterrupt in the process of a number."""

    def __init__(self, process: int):
        self.process = process

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self.process:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
