"""The one exception class that the commands turn into a sentence."""

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator, Sequence

# What decoders raise for bytes that mean nothing to them.
DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, ImportError,
    LookupError, MemoryError, OSError, RuntimeError, StopIteration, SyntaxError, TypeError,
    ValueError, struct.error, zlib.error,
)  # fmt: skip
_MEMORY_SIGNS = (
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "insufficient memory",
    "failed to allocate",
    "out of memory",
)


class UserError(ValueError):
    """Something the user can mend: a wrong path, option, file or weight.

    The message holds the value and what to do.
    """

    def __init__(self, message: str):
        # of a loader's worker torch hands over the traceback, which ends with the sentence
        if message.startswith("Caught UserError in"):
            message = message.rpartition(f"{__name__}.{type(self).__name__}: ")[2].strip()
        super().__init__(message)


def out_of_memory(error: Exception) -> bool:
    """Whether an error of numpy, OpenCV or torch says that memory, a GPU's too, did not suffice."""
    words = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(sign in words for sign in _MEMORY_SIGNS)
    )


def in_one_line(text: str) -> str:
    """Text for a terminal: characters that break a line or steer the terminal are escaped.

    The names of files may hold them.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


@contextlib.contextmanager
def reading(path: str | os.PathLike, kind: str, *more: type[Exception]) -> Iterator[None]:
    """Turns what goes wrong while a file of the user's is decoded into a UserError that names it.

    more: errors of its decoder alone.
    """
    try:
        yield
    except UserError:
        raise
    except (*DAMAGE, *more) as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise UserError(
            f"{path} can't be read as {kind}, it may be truncated, damaged or another kind of "
            f"file: {reason}"
        ) from error


@contextlib.contextmanager
def noting(mistakes: list[str], several: bool) -> Iterator[None]:
    """Adds to `mistakes` what goes wrong with one of several files, or "" for nothing.

    Of a single file a UserError is raised on.
    """
    mistakes.append("")
    try:
        yield
    except UserError as error:
        if not several:
            raise
        mistakes[-1] = str(error)


def raise_left_out(mistakes: Sequence[str], count: int) -> None:
    """Raises UserError that tells what is wrong with those of `count` pictures left out, if any."""
    if mistakes:
        listed = "; ".join(mistakes)
        raise UserError(f"{len(mistakes)} of {count} pictures were left out: {listed}")
