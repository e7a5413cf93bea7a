"""Reading YAML of any origin: its values are counted before any is built."""

import os

import yaml

from utils.errors import UserError
from utils.files import read_regular

MAX_BYTES = 2**20
MAX_LEVELS = 32  # of lists and mappings in each other
MAX_VALUES = 100_000  # those counted that aliases repeat
MAX_TEXT = 4096  # characters of a value


def read_yaml(path: str | os.PathLike) -> object:
    """Content of a YAML file (UTF-8), built of plain types alone.

    Aliases may repeat values, but neither hold themselves nor stand for more than MAX_VALUES.
    Raises UserError, which names the file, for damage and for what is beyond the limits above.
    """
    words = read_regular(path, MAX_BYTES)
    try:
        _check_events(words.decode("utf-8-sig"))
        return yaml.safe_load(words)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def _check_events(words: str) -> None:
    """Counts what would be built; raises ValueError where that is too much."""
    totals = [0]  # values in every collection that is open
    anchors: list[str | None] = []  # of those that are open
    sizes: dict[str | None, int] = {}  # anchor -> values that an alias of it stands for
    for event in yaml.parse(words, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            totals.append(0)
            anchors.append(event.anchor)
            count = 0
        elif isinstance(event, yaml.CollectionEndEvent):
            count = totals.pop() + 1
            sizes[anchors.pop()] = count
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in anchors:
                raise ValueError(f"*{event.anchor} holds itself")
            count = sizes.get(event.anchor, 1)
        else:
            count = int(isinstance(event, yaml.ScalarEvent))
        totals[-1] += count
        if len(totals) > MAX_LEVELS or totals[-1] > MAX_VALUES:
            raise ValueError(f"more than {MAX_LEVELS} levels or {MAX_VALUES:,} values")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_TEXT:
            raise ValueError(f"a value of {len(event.value):,} characters")
