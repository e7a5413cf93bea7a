"""Progress of long work, on a terminal and in a file."""

import sys
import time

from tqdm import tqdm

SAY_EVERY_S = 30


class Progress(tqdm):
    """tqdm's bar; where the errors go to no terminal, a line every half minute instead.

    What is done sooner says nothing there.
    """

    def __init__(self, *args, **options):
        self.in_lines = not sys.stderr.isatty()
        self.said = time.monotonic()
        if self.in_lines:
            options["leave"] = False
        super().__init__(*args, **options)

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
