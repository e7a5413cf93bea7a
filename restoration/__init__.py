"""How a trained network is applied, once for every command, the page and users' own programs.

PYTHONPATH=CHECKOUT python
>>> from restoration import ImageRestorer, VideoRestorer
>>> sharp = ImageRestorer.load("image_deblur", device="cpu")(blurry)
"""

import importlib.util
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[1]
_NEEDED = ("utils", "data", "models")


def _check_names() -> None:
    """Raises ImportError where another package of these names comes first on the path."""
    for name in _NEEDED:
        found = importlib.util.find_spec(name)
        paths = list(found.submodule_search_locations or [found.origin]) if found else []
        if str(_CHECKOUT / name) not in paths:
            raise ImportError(
                f"restoration needs {_CHECKOUT / name}, but Python finds {name!r} at "
                f"{paths[0] if paths else 'no path'}: put {_CHECKOUT} first on PYTHONPATH, or run "
                "your program from a folder that has no such module"
            )


_check_names()

from restoration.image import ImageRestorer  # noqa: E402
from restoration.sequence import SequenceRestorer  # noqa: E402
from restoration.video import VideoRestorer  # noqa: E402

__all__ = ["ImageRestorer", "SequenceRestorer", "VideoRestorer"]
