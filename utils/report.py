"""Pictures of what a run did."""

from pathlib import Path

import cv2
import numpy as np

from utils.image import write_image

_LABEL_HEIGHT = 22


def contact_sheet(path: Path, rows: list[list[np.ndarray]], heads: list[str], labels: list[str], width: int = 400) -> None:
    """Write a PNG of 8-bit pictures [H,W,3]: one row per example with its label, one column per head; shrunk to `width` px each."""
    bands = [_text_band(heads, width)]
    for pictures, label in zip(rows, labels):
        shrunk = [cv2.resize(picture, (width, _height(picture, width)), interpolation=cv2.INTER_AREA) for picture in pictures]
        shrunk = [_text_band([label] + [""] * (len(pictures) - 1), width), np.hstack(shrunk)]
        bands += shrunk
    write_image(path, np.vstack(bands))


def _height(picture: np.ndarray, width: int) -> int:
    return max(round(picture.shape[0] * width / picture.shape[1]), 1)


def _text_band(texts: list[str], width: int) -> np.ndarray:
    band = np.full((_LABEL_HEIGHT, width * len(texts), 3), 255, np.uint8)
    for column, text in enumerate(texts):
        cv2.putText(band, text, (column * width + 4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (20, 20, 20), 1, cv2.LINE_AA)
    return band
