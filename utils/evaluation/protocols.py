"""Named evaluation protocols: a number without its protocol says little, so every table prints it.

PROTOCOLS, at the end, is the list of them, each with its source.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from utils.evaluation.metrics import psnr, ssim, ssim3d, ssim_volume
from utils.image import in_8bit, to_8bit

_SSIMS = {"ssim": ssim, "ssim3d": ssim3d, "ssim_volume": ssim_volume}
_OF_PSNR_VALUES = ("ssim_volume",)  # the others compare 8-bit values


@dataclass(frozen=True)
class Protocol:
    """How a restored image is compared with the sharp one.

    details: further figures that a run may have, those of single frames. border: pixels cut off on
    each side. video_ends: frames at each end of a video that are not scored (unless --border).
    psnr_values: 8bit (rounded), clipped, or raw (neither). psnr_cap: the highest PSNR. windows: a
    video is restored in windows of frames, `video_ends` at their ends and what is left after the
    last whole window are not scored.

    aligned: compared after registration, by utils/evaluation/registration.py instead of `score`.
    by_video: means of every video are shown, too, as CDVD-TSP's program prints them.
    unit: what is scored; others than images by sequence_scores.py or potential_scores.py.
    """

    name: str
    metrics: tuple[str, ...]
    details: tuple[str, ...] = ()
    border: int = 0
    video_ends: int = 0
    psnr_values: str = "8bit"
    psnr_cap: float = float("inf")
    aligned: bool = False
    by_video: bool = False
    windows: bool = False
    unit: str = "images"

    def score(
        self,
        restored: Tensor | np.ndarray,
        sharp: Tensor | np.ndarray,
        metrics: Sequence[str] | None = None,
    ) -> dict[str, float]:
        """Metrics of one image: tensors [3,H,W] in [0,1] or pixels [H,W,3], both of one size.

        metrics: further ones than PSNR to compute; None for all of the protocol.
        """
        scores = {"psnr": self.psnr(restored, sharp)}
        for name in self.metrics[1:]:
            if metrics is not None and name not in metrics:
                continue
            values = self._values if name in _OF_PSNR_VALUES else _pixels
            scores[name] = _SSIMS[name](self._crop(values(restored)), self._crop(values(sharp)))
        return scores

    def psnr(self, restored: Tensor | np.ndarray, sharp: Tensor | np.ndarray) -> float:
        """PSNR alone (SSIM costs far more)."""
        first = self._values(restored)
        second = self._values(sharp)
        if first.shape != second.shape:
            raise ValueError(
                f"images of different sizes: restored {first.shape[:2]}, sharp {second.shape[:2]}"
            )
        return min(psnr(self._crop(first), self._crop(second)), self.psnr_cap)

    def _values(self, image: Tensor | np.ndarray) -> np.ndarray:
        """What PSNR compares, on the 0..255 scale."""
        if self.psnr_values == "8bit":
            return _pixels(image)
        values = _floats(image)
        return values.clip(0, 255) if self.psnr_values == "clipped" else values

    def _crop(self, image: np.ndarray) -> np.ndarray:
        if min(image.shape[:2]) <= 2 * self.border:
            raise ValueError(
                f"protocol {self.name} cuts {self.border} px on each side of an image of only "
                f"{image.shape[:2]}"
            )
        inner = slice(self.border, -self.border or None)
        return image[inner, inner]


def _pixels(image: Tensor | np.ndarray) -> np.ndarray:
    if isinstance(image, Tensor):
        return to_8bit(image)
    return in_8bit(image)


def _floats(image: Tensor | np.ndarray) -> np.ndarray:
    if isinstance(image, Tensor):
        return image.detach().float().movedim(-3, -1).cpu().numpy().astype(np.float64) * 255
    return image * (255 / np.iinfo(image.dtype).max)


_SEQUENCE = ("ppsnr", "pssim", "plpips")
_ORDER = ("hit_1_7", "hit_2_6", "hit_3_5", "con@2", "con@3")
_SINGLE_FRAMES = tuple(f"{metric}_{frame}" for metric in _SEQUENCE for frame in range(1, 8))
_ALL = (
    # DVD and GoPro as videos (CDVD-TSP)
    Protocol("cdvd", ("psnr", "ssim"), border=4, video_ends=2, by_video=True),
    # validation while CDVD-TSP is trained
    Protocol("cdvd_train", ("psnr",), border=4, psnr_values="raw", psnr_cap=100),
    # Shift-Net's own script: windows of frames, values without rounding
    Protocol(
        "shift_net", ("psnr", "ssim_volume"), video_ends=2, psnr_values="clipped", windows=True
    ),
    # GoPro, REDS and HIDE as single images
    Protocol("image", ("psnr", "ssim", "ssim3d")),
    # MIMO-UNet's own script: PSNR without rounding, SSIM of 8-bit values
    Protocol("image_float", ("psnr", "ssim", "ssim3d"), psnr_values="clipped"),
    # RealBlur and other real pairs: intensity matched, registered, compared where valid
    Protocol("realblur", ("psnr", "ssim"), aligned=True),
    # Koehler et al.: the same, the best frame of a trajectory
    Protocol("kohler", ("psnr", "ssim"), aligned=True),
    # the seven sharp frames of a blurry picture; neither clipped nor rounded
    Protocol("blur2vid", _SEQUENCE, details=(*_SINGLE_FRAMES, *_ORDER), unit="sequences"),
    # the order of sharp frames that HyperCUT's scores tell
    Protocol("hypercut", _ORDER, unit="sequences"),
    # restoration potentials in 0..1
    Protocol(
        "irp",
        ("srcc", "plcc", "scene_srcc", "scene_plcc", "rmse", "rmse_published"),
        unit="shots",
    ),
)
PROTOCOLS = {protocol.name: protocol for protocol in _ALL}
