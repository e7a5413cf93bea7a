"""Colours of HDR and wide-gamut video as BT.709 shows them.

Sources: ITU-R BT.2100 (PQ, HLG), BT.2408 (HDR reference white 203 cd/m2, at 75 % of HLG), BT.709,
BT.2020; SMPTE EG 432 (P3).
"""

import functools

import numpy as np

from utils.rounding import array_to_8bit
from utils.video_properties import BT2020, HLG, P3, PQ, Colours

REFERENCE_WHITE = 203.0  # cd/m2: what becomes white
# chromaticities x, y of red, green, blue; white is D65
_PRIMARIES = {
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_BT709 = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_WHITE = (0.3127, 0.3290)
_HLG_A = 0.17883277
_HLG_B = 1 - 4 * _HLG_A
_HLG_C = 0.5 - _HLG_A * np.log(4 * _HLG_A)


def to_bt709(pixels: np.ndarray, colours: Colours) -> np.ndarray:
    """Pixels [H,W,3], uint8 or uint16, encoded as `colours` says, as uint8 encoded as BT.709.

    Light above HDR's reference white is cut off, and so are colours outside BT.709.
    """
    linear = _linear_table(colours.transfer, np.iinfo(pixels.dtype).max)[pixels]
    if colours.primaries in _PRIMARIES:
        linear = linear @ _to_bt709_primaries(colours.primaries).T
    linear = linear.clip(0, 1)
    encoded = np.where(linear < 0.018, 4.5 * linear, 1.099 * linear**0.45 - 0.099)
    return array_to_8bit(encoded)


@functools.cache
def _linear_table(transfer: int, maximum: int) -> np.ndarray:
    """Linear light, 1 = reference white, of every pixel value 0 .. maximum, float32."""
    signal = np.arange(maximum + 1) / maximum
    if transfer == PQ:
        power = signal ** (1 / 78.84375)
        ratio = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        linear = 10000 * ratio ** (1 / 0.1593017578125) / REFERENCE_WHITE
    elif transfer == HLG:
        linear = _hlg_scene_light(signal) / _hlg_scene_light(np.array(0.75))
    else:
        linear = np.where(signal < 0.081, signal / 4.5, ((signal + 0.099) / 1.099) ** (1 / 0.45))
    return linear.astype(np.float32)


def _hlg_scene_light(signal: np.ndarray) -> np.ndarray:
    return np.where(
        signal <= 0.5, signal**2 / 3, (np.exp((signal - _HLG_C) / _HLG_A) + _HLG_B) / 12
    )


@functools.cache
def _to_bt709_primaries(primaries: int) -> np.ndarray:
    """[3,3] from linear RGB of these primaries to that of BT.709."""
    matrix = np.linalg.inv(_to_xyz(_BT709)) @ _to_xyz(_PRIMARIES[primaries])
    return matrix.astype(np.float32)


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    """[3,3] from linear RGB to CIE XYZ: the columns add up to the white."""
    columns = np.stack([_xyz(chromaticity) for chromaticity in primaries], 1)
    return columns * np.linalg.solve(columns, _xyz(_WHITE))


def _xyz(chromaticity: tuple[float, float]) -> np.ndarray:
    x, y = chromaticity
    return np.array([x / y, 1, (1 - x - y) / y])
