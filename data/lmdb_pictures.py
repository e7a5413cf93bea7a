"""Unpack the pictures of an lmdb folder, as NAFNet publishes GoPro and 300 pictures of REDS.

    pip install -r requirements-scale.txt
    python -m data.lmdb_pictures blur_300.lmdb dataset/REDS/val/val_blur_jpeg
    python -m data.lmdb_pictures sharp_300.lmdb dataset/REDS/val/val_sharp

A key is a picture's name, its value the bytes of the PNG or JPEG file: these are written as they
are.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

from utils.errors import UserError, reading
from utils.files import below, write_bytes
from utils.image import is_image
from utils.progress import Progress

SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg"}


def unpack(source: Path, folder: Path) -> int:
    """Write every picture of an lmdb folder below a folder; returns their number.

    Files that exist stay. Raises UserError for what is no lmdb folder, for a name that leads out of
    the folder, and for a value that is neither PNG nor JPEG.
    """
    if find_spec("lmdb") is None:
        raise UserError(f"{source} needs the package lmdb: pip install -r requirements-scale.txt")
    import lmdb  # optional

    if not (source / "data.mdb").is_file():
        raise UserError(f"{source} is no lmdb folder: it has no data.mdb")
    with (
        reading(source, "an lmdb folder", lmdb.Error),
        lmdb.open(str(source), readonly=True, lock=False, readahead=False) as database,
        database.begin(buffers=False) as transaction,
    ):
        count = transaction.stat()["entries"]
        for key, value in Progress(transaction.cursor(), "unpacking", count, unit="picture"):
            target = _target(folder, key.decode("utf-8"), value, source)
            if not target.is_file():
                write_bytes(target, value)
    return count


def _target(folder: Path, name: str, value: bytes, source: Path) -> Path:
    """Where a picture goes; its name may lack the suffix."""
    path = below(folder, name, source)
    if is_image(path):
        return path
    suffix = next((end for start, end in SUFFIXES.items() if value.startswith(start)), None)
    if suffix is None:
        raise UserError(f"{source}: {name} is neither a PNG nor a JPEG file")
    return path.with_name(path.name + suffix)


def main(arguments: list[str]) -> None:
    """SOURCE.lmdb FOLDER"""
    if len(arguments) != 2:
        raise UserError("give the lmdb folder and the folder to write to")
    source, folder = map(Path, arguments)
    print(f"{unpack(source, folder)} pictures in {folder}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
