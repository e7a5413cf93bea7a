"""Reading JSON of any origin: limits before it is parsed, a schema before it is used.

A schema is a function that returns for the value it wants and raises Mismatch for any other:

    ENTRY = fields({"file_name": text(), "height": number(1, 65_535)}, score=number(0, 1))
    content = read_json(path, fields({"images": items(ENTRY)}))

What passes has the types and ranges that the schema names; keys that it doesn't name may hold
anything. Numbers are finite and within 64 bits, text can be written as UTF-8.
"""

import json
import os
from collections.abc import Callable, Mapping

from utils.errors import UserError, reading
from utils.files import read_regular

Schema = Callable[[object], None]

LARGEST = 2**53  # whole numbers up to here are exact as floats, too
LARGE_FILE = 2**29  # bytes; COCO's largest annotations have 448 MB
SMALL_FILE = 2**26
MAX_DIGITS = 20  # of a whole number: 64 bits
MAX_LEVELS = 64  # of lists and mappings in each other
MAX_TEXT = 4096  # characters, of a path or a name


class Mismatch(ValueError):
    """A value that is not what a schema wants, and the steps to it from the top."""

    def __init__(self, value: object, wanted: str):
        self.value = value
        self.wanted = wanted
        self.steps: list[str] = []

    def __str__(self) -> str:
        where = "".join(self.steps).lstrip(".") or "the top level"
        return f"{where} is {shown(self.value)}, not {self.wanted}"


def number(minimum: float = -LARGEST, maximum: float = LARGEST, whole: bool = False) -> Schema:
    """A finite number in a range."""
    kind = int if whole else (int, float)
    wanted = f"{'a whole' if whole else 'a'} number from {minimum:,} to {maximum:,}"

    def check(value: object) -> None:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise Mismatch(value, wanted)
        if not minimum <= value <= maximum:  # NaN neither
            raise Mismatch(value, wanted)

    return check


def text(maximum: int = MAX_TEXT) -> Schema:
    """Text that can be a file's name or be printed: no zero byte, no half of a surrogate pair."""

    def check(value: object) -> None:
        if not isinstance(value, str) or "\0" in value or len(value) > maximum:
            raise Mismatch(value, f"text of at most {maximum:,} characters")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Mismatch(value, "text in Unicode") from None

    return check


def items(of: Schema, minimum: int = 0) -> Schema:
    """A list whose items all fit a schema."""

    def check(value: object) -> None:
        if not isinstance(value, list):
            raise Mismatch(value, "a list")
        if len(value) < minimum:
            raise Mismatch(value, f"a list of at least {minimum:,} items")
        for index, item in enumerate(value):
            _step(of, item, f"[{index}]")

    return check


def fields(required: Mapping[str, Schema], **optional: Schema) -> Schema:
    """A mapping with these keys; the optional ones may be missing, any others are not looked at."""

    def check(value: object) -> None:
        if not isinstance(value, dict):
            raise Mismatch(value, "a mapping of names to values")
        missing = [name for name in required if name not in value]
        if missing:
            raise Mismatch(value, f"a mapping with {', '.join(missing)}")
        for name, schema in (*required.items(), *optional.items()):
            if name in value:
                _step(schema, value[name], f".{name}")

    return check


def values(of: Schema) -> Schema:
    """A mapping whose values all fit a schema."""

    def check(value: object) -> None:
        if not isinstance(value, dict):
            raise Mismatch(value, "a mapping of names to values")
        for name, item in value.items():
            _step(of, item, f".{shown(name)[1:-1]}")

    return check


def both(*schemas: Schema) -> Schema:
    """What fits all of several schemas."""

    def check(value: object) -> None:
        for schema in schemas:
            schema(value)

    return check


def either(*schemas: Schema) -> Schema:
    """What fits one of several schemas; the mismatch told is that of the last."""

    def check(value: object) -> None:
        for schema in schemas[:-1]:
            try:
                return schema(value)
            except Mismatch:
                continue
        return schemas[-1](value)

    return check


def anything(value: object) -> None:
    """The schema of what is only kept or counted."""


def require(schema: Schema, value: object, source: object) -> None:
    """Raises UserError, which names the source, for a value that does not fit a schema."""
    try:
        schema(value)
    except Mismatch as mismatch:
        raise UserError(f"{source}: {mismatch}") from None


def read_json(path: str | os.PathLike, schema: Schema, maximum: int = SMALL_FILE) -> object:
    """Content of a JSON file of at most `maximum` bytes (UTF-8, with a BOM or without).

    Raises UserError, which names the file, for damage, another kind of file, and what does not fit
    the schema.
    """
    with reading(path, "JSON"):
        words = read_regular(path, maximum).decode("utf-8-sig")
    return parse_json(words, schema, path)


def parse_json(words: str, schema: Schema, source: object) -> object:
    """As read_json, of a file's words."""
    with reading(source, "JSON"):
        content = json.loads(words, parse_int=_whole_number)
        _check_levels(content)
    require(schema, content, source)
    return content


def shown(value: object, maximum: int = 60) -> str:
    """A value in a sentence: short, on one line, in letters that any terminal has."""
    if isinstance(value, (list, dict)):
        kind = "list" if isinstance(value, list) else "mapping"
        return f"a {kind} of {len(value):,}"
    words = ascii(value)
    return words if len(words) <= maximum else f"{words[:maximum]}..."


def _step(schema: Schema, value: object, step: str) -> None:
    try:
        schema(value)
    except Mismatch as mismatch:
        mismatch.steps.insert(0, step)
        raise


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def _check_levels(content: object) -> None:
    layer = [content]
    for _ in range(MAX_LEVELS):
        inner: list[object] = []
        for value in layer:
            if isinstance(value, dict):
                inner.extend(value.values())
            elif isinstance(value, list):
                inner.extend(value)
        if not inner:
            return
        layer = inner
    raise ValueError(f"more than {MAX_LEVELS} levels of lists and mappings")
