"""Damaged files without end: python -m tests.fuzz [--minutes 10] [--seed 0] (`make fuzz`).

Half of the time the commands get the files of tests/damages.py, seed after seed; the other half
hypothesis edits the files of every reader (tests/test_random_damage.py) and makes what it finds
small. Anything but a result or one sentence is told, with what makes it again, and the status is 1.
"""

import argparse
import contextlib
import io
import itertools
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from methods import run
from tests.damages import KINDS, case
from tests.test_random_damage import FILES
from utils.errors import UserError

# places in a file as fractions, and what stands there instead of as many bytes
EDITS = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=8)), max_size=6)


def fuzz_commands(seed: int, end: float) -> list[str]:
    """What went wrong in the commands until a time of the monotonic clock."""
    wrong = []
    tried = 0
    cases = ((number, name) for number in itertools.count(seed) for name in KINDS)
    while time.monotonic() < end:
        tried += 1
        number, name = next(cases)
        with tempfile.TemporaryDirectory() as folder:
            complaint = complaint_of(case(name, number, Path(folder)))
        if complaint:
            wrong.append(f"case({name!r}, {number}): {complaint}")
            print(wrong[-1], flush=True)
    print(f"commands: {tried} files, {len(wrong)} wrong")
    return wrong


def complaint_of(command: str) -> str:
    """What is wrong with how a command ended in this process, or ""."""
    said = io.StringIO()
    sys.argv = command.split()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            status = run(command.partition(".")[0])
    except Exception:
        return traceback.format_exc()
    last = said.getvalue().strip().rpartition("\n")[2]
    if status and not last.startswith("error: "):
        return f"exit {status} without a sentence: {last}"
    return ""


def fuzz_readers(end: float) -> list[str]:
    """What hypothesis found in the readers until a time of the monotonic clock."""
    wrong = []
    kinds = itertools.cycle(FILES.items())
    while time.monotonic() < end:
        name, (write, read) = next(kinds)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            write(path)
            try:
                fuzz_reader(path, read)
            except Exception:
                wrong.append(f"{name}: {traceback.format_exc()}")
                print(wrong[-1], flush=True)
    print(f"readers: {len(wrong)} wrong")
    return wrong


def fuzz_reader(path: Path, read: Callable[[Path], object]) -> None:
    """Raises what a reader raises, but for sentences, for edits of a good file."""
    content = path.read_bytes()

    @settings(
        max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(EDITS, st.floats(0, 1))
    def law(edits: list[tuple[float, bytes]], end_fraction: float) -> None:
        path.write_bytes(edited(content, edits, end_fraction))
        with contextlib.suppress(UserError):
            read(path)

    law()


def edited(content: bytes, edits: list[tuple[float, bytes]], end_fraction: float) -> bytes:
    """Content with bytes replaced and, in a third of the cases, its end cut off."""
    changed = bytearray(content)
    for fraction, replacement in edits:
        start = int(fraction * (len(changed) - 1))
        changed[start : start + len(replacement)] = replacement
    if end_fraction < 1 / 3:
        del changed[int(3 * end_fraction * len(changed)) :]
    return bytes(changed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="for both halves together")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    given_words = parser.parse_args()
    half = given_words.minutes * 30
    wrong = fuzz_commands(given_words.seed, time.monotonic() + half)
    wrong += fuzz_readers(time.monotonic() + half)
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
