"""Names that people type: spelt in several ways, or wrongly."""

import difflib


def plain_name(name: str) -> str:
    """A name without case, hyphens and underscores."""
    return name.lower().replace("-", "").replace("_", "")


def nearest(word: str, words: list[str]) -> str:
    """', did you mean X?' for a misspelt word, or nothing if no known word is like it."""
    found = difflib.get_close_matches(word, words, 1, 0.6)
    return f", did you mean {found[0]}?" if found else ""
