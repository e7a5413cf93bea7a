"""Contact sheets: rows of labelled pictures as one picture that is opened with a click.

Rows wrap into columns, so that the sheet comes near the shape of a screen; it is a JPEG, shrunk
where it would have more than 2 MB.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from utils.files import write_bytes
from utils.image import encode_image, resize_to
from utils.report import Example, enlarged, fitted, gained_region

MAX_BYTES = 2_000_000
_LABEL_HEIGHT = 22
_GAP = 16  # px between columns
_ASPECT = 1.5  # width over height that a sheet comes near
_QUALITIES = (92, 85)  # of JPEG, before it is shrunk


def contact_sheet(path: Path, examples: Sequence[Example], width: int = 400) -> None:
    """Write a sheet of the examples: name, input, restored (and sharp) frame side by side.

    Below them stands the region with the most gained detail, of which the middle half is shown.
    """
    blocks = []
    for example in examples:
        region = gained_region(example)
        crops = [enlarged(picture[region], width) for picture in example.pictures.values()]
        top = width // 4
        crops = [_padded(crop[top : top + width // 2], width // 2, width) for crop in crops]
        blocks.append([*_row(example.name, example.pictures, width), np.hstack(crops)])
    _write_blocks(path, blocks)


def contact_sheet_of_rows(
    path: Path, rows: dict[str, dict[str, np.ndarray]], width: int = 400
) -> None:
    """Write a sheet of named rows {name: {label: picture [H,W,3]}}, one below the other."""
    _write_blocks(path, [_row(name, pictures, width) for name, pictures in rows.items()])


def _row(name: str, pictures: dict[str, np.ndarray], width: int) -> list[np.ndarray]:
    """Two bands: labels, the first with the row's name, and pictures side by side."""
    labels = list(pictures)
    labels[0] = f"{name}  {labels[0]}".strip()
    scaled = [fitted(picture, width, cv2.INTER_AREA) for picture in pictures.values()]
    height = max(len(picture) for picture in scaled)
    padded = [_padded(picture, height, width) for picture in scaled]
    return [_text_band(labels, width), np.hstack(padded)]


def _write_blocks(path: Path, blocks: Sequence[list[np.ndarray]]) -> None:
    """Write blocks of bands, one below the other, in as many columns as suit a screen."""
    width = max(band.shape[1] for block in blocks for band in block)
    stacked = []
    for block in blocks:
        stacked.append(np.vstack([_padded(band, len(band), width) for band in block]))
    columns = [np.vstack(column) for column in _columns(stacked, width)]
    highest = max(map(len, columns))
    padded = [_padded(column, highest, width + _GAP) for column in columns]
    sheet = np.hstack(padded)[:, :-_GAP]
    write_bytes(path, _small(sheet, path.suffix))


def _columns(blocks: list[np.ndarray], width: int) -> list[list[np.ndarray]]:
    """The blocks in the number of columns whose sheet comes nearest to _ASPECT."""
    best = [blocks]
    distance = math.inf
    for count in range(1, len(blocks) + 1):
        length = math.ceil(len(blocks) / count)
        columns = [blocks[start : start + length] for start in range(0, len(blocks), length)]
        height = max(sum(map(len, column)) for column in columns)
        new = abs(math.log(len(columns) * width / height / _ASPECT))
        if new < distance:
            best = columns
            distance = new
    return best


def _small(sheet: np.ndarray, suffix: str) -> bytes:
    """The sheet's file, in lower quality and then shrunk until it has at most MAX_BYTES."""
    for quality in _QUALITIES:
        data = encode_image(sheet, suffix, quality)
        if len(data) <= MAX_BYTES:
            return data
    while len(data) > MAX_BYTES:
        sheet = resize_to(sheet, round(max(sheet.shape) * 0.8))
        data = encode_image(sheet, suffix, quality)
    return data


def _padded(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The picture with white below and to the right."""
    below = height - picture.shape[0]
    right = width - picture.shape[1]
    return np.pad(picture, ((0, below), (0, right), (0, 0)), constant_values=255)


def _text_band(texts: Sequence[str], width: int) -> np.ndarray:
    band = np.full((_LABEL_HEIGHT, width * len(texts), 3), 255, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    grey = (20, 20, 20)
    for column, text in enumerate(texts):
        origin = (column * width + 4, 15)
        cv2.putText(band, text, origin, font, 0.42, grey, 1, cv2.LINE_AA)
    return band
