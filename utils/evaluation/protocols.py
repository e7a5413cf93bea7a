"""Named evaluation protocols: a number without its protocol says little, so every table prints it.

| name       | values compared                  | crop | metrics            | used for                              |
| cdvd       | rounded to 8 bits                | 4 px | psnr, ssim         | DVD, GoPro video (CDVD-TSP)           |
| cdvd_train | float, neither clipped nor rounded | 4 px | psnr (at most 100) | validation while training CDVD-TSP  |
| image      | rounded to 8 bits                | none | psnr, ssim, ssim3d | GoPro, REDS, HIDE single image        |
| image_float| psnr clipped but not rounded, ssim rounded | none | psnr, ssim, ssim3d | MIMO-UNet's own script      |
| realblur   | intensity matched, registered    | valid part | psnr, ssim | RealBlur and other real pairs (utils/evaluation/registration.py) |
| kohler     | as realblur, best of a trajectory | valid part | psnr, ssim | Koehler et al.                     |
| blur2vid   | 0..255, neither clipped nor rounded | none | ppsnr, pssim, plpips per frame | seven moments (utils/evaluation/sequence_scores.py) |
| hypercut   | scores of HyperCUT               | none | hit per pair, con@2, con@3 | their order (utils/evaluation/sequence_scores.py) |
| irp        | potentials in 0..1               | none | srcc, plcc, rmse   | restoration potential (utils/evaluation/potential_scores.py) |
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from utils.evaluation.metrics import psnr, ssim, ssim3d
from utils.image import to_8bit


@dataclass(frozen=True)
class Protocol:
    """How a restored image is compared with the sharp one; see the table above."""

    name: str
    metrics: tuple[str, ...]
    details: tuple[str, ...] = ()  # further figures that a run may have: those of single frames
    border: int = 0  # pixels cut off on each side
    video_ends: int = 0  # frames at each end of a video that are not scored (unless --border)
    psnr_values: str = "8bit"  # 8bit, clipped, or raw
    psnr_cap: float = float("inf")
    aligned: bool = (
        False  # compared after registration, by utils/evaluation/registration.py instead of `score`
    )
    # what is scored; others than images by utils/evaluation/sequence_scores.py or utils/evaluation/potential_scores.py,
    # not by `score`
    unit: str = "images"

    def score(self, restored: Tensor | np.ndarray, sharp: Tensor | np.ndarray) -> dict[str, float]:
        """Metrics of one image: tensors [3,H,W] in [0,1] or 8-bit pixels [H,W,3], both of the same
        size.
        """
        scores = {"psnr": self.psnr(restored, sharp)}
        for name in self.metrics[1:]:
            scores[name] = _SSIMS[name](self._crop(_pixels(restored)), self._crop(_pixels(sharp)))
        return scores

    def psnr(self, restored: Tensor | np.ndarray, sharp: Tensor | np.ndarray) -> float:
        """PSNR alone (SSIM costs far more)."""
        if self.psnr_values == "8bit":
            restored, sharp = _pixels(restored), _pixels(sharp)
        else:
            restored, sharp = (
                _floats(image, self.psnr_values == "clipped") for image in (restored, sharp)
            )
        if restored.shape != sharp.shape:
            raise ValueError(
                f"images of different sizes: restored {restored.shape[:2]}, sharp {sharp.shape[:2]}"
            )
        return min(psnr(self._crop(restored), self._crop(sharp)), self.psnr_cap)

    def _crop(self, image: np.ndarray) -> np.ndarray:
        if min(image.shape[:2]) <= 2 * self.border:
            raise ValueError(
                f"protocol {self.name} cuts {self.border} px on each side of an image of only "
                f"{image.shape[:2]}"
            )
        inner = slice(self.border, -self.border or None)
        return image[inner, inner]


_MOMENTS = ("ppsnr", "pssim", "plpips")
_ORDER = ("hit_1_7", "hit_2_6", "hit_3_5", "con@2", "con@3")
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("cdvd", ("psnr", "ssim"), border=4, video_ends=2),
        Protocol("cdvd_train", ("psnr",), border=4, psnr_values="raw", psnr_cap=100),
        Protocol("image", ("psnr", "ssim", "ssim3d")),
        Protocol("image_float", ("psnr", "ssim", "ssim3d"), psnr_values="clipped"),
        Protocol("realblur", ("psnr", "ssim"), aligned=True),
        Protocol("kohler", ("psnr", "ssim"), aligned=True),
        Protocol(
            "blur2vid",
            _MOMENTS,
            (*(f"{kind}_{frame}" for kind in _MOMENTS for frame in range(1, 8)), *_ORDER),
            unit="sequences",
        ),
        Protocol("hypercut", _ORDER, unit="sequences"),
        Protocol(
            "irp",
            ("srcc", "plcc", "scene_srcc", "scene_plcc", "rmse", "rmse_published"),
            unit="shots",
        ),
    )
}
_SSIMS = {"ssim": ssim, "ssim3d": ssim3d}


def _pixels(image: Tensor | np.ndarray) -> np.ndarray:
    if isinstance(image, Tensor):
        return to_8bit(image)
    return image if image.dtype == np.uint8 else np.round(image / 257).astype(np.uint8)  # 16 bits


def _floats(image: Tensor | np.ndarray, clip: bool) -> np.ndarray:
    """On the 0..255 scale."""
    if isinstance(image, Tensor):
        values = image.detach().float().movedim(-3, -1).cpu().numpy().astype(np.float64) * 255
    else:
        values = image * (255 / np.iinfo(image.dtype).max)
    return values.clip(0, 255) if clip else values
