"""Scores of seven moments (protocol `blur2vid`) and of their order (protocol `hypercut`).

A blurry picture does not tell in which direction time ran, so a prediction is compared forward and
backward and the better direction counts: each metric chooses its own, by its mean over the frames.
Values are on the 0..255 scale, neither clipped nor rounded.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from utils.evaluation import metrics

FRAMES = 7
PAIRS = ("1_7", "2_6", "3_5")
LPIPS_BACKBONE = (
    "alexnet-owt-7be5be79.pth"  # torchvision's file, which lpips needs besides its own weights
)
Lpips = Callable[[Tensor, Tensor], Tensor]


def score_order(scores: Tensor) -> dict[str, float]:
    """Hit per pair, Con@2 and Con@3 of HyperCUT's scores [6] of a sequence (pair 1, pair 1
    reversed, ...), each 0 or 1.

    Hit: a pair and its reverse lie on different sides. Con@2: (1,7) and (2,6) lie on the same side,
    Con@3: all three do.
    """
    forth, back = scores[::2].tolist(), scores[1::2].tolist()
    row = {f"hit_{name}": float(one * other < 0) for name, one, other in zip(PAIRS, forth, back)}
    signs = np.sign(forth)
    return row | {
        "con@2": float(signs[0] == signs[1]),
        "con@3": float(len(set(signs.tolist())) == 1),
    }


def score_frames(
    predicted: Tensor,
    truth: Tensor,
    places: Sequence[int] = range(FRAMES),
    ssim: bool = True,
    lpips: Lpips | None = None,
) -> dict[str, float]:
    """ppsnr, pssim and (with `lpips`) plpips of frames [N,3,H,W] in [0,1], which stand at `places`
    0 ... 6, and their means.

    Keys: ppsnr, the mean, and ppsnr_1 ... ppsnr_7, by the frame's number.
    """
    row: dict[str, float] = {}
    kinds = {
        "ppsnr": (_psnrs, 1),
        **({"pssim": (_ssims, 1)} if ssim else {}),
        **({"plpips": (_lpipses(lpips), -1)} if lpips else {}),
    }
    for name, (metric, sign) in kinds.items():
        forth, back = metric(predicted, truth), metric(predicted.flip(0), truth)
        values = max(forth, back, key=lambda values: sign * float(np.mean(values)))
        row[name] = float(np.mean(values))
        row |= {f"{name}_{place + 1}": value for place, value in zip(places, values, strict=True)}
    return row


def find_lpips(folder: Path) -> tuple[Lpips | None, str]:
    """(LPIPS of AlexNet, "") where its backbone's weights are in a folder or in torch's own store,
    else (None, the reason).

    Nothing is downloaded. The function takes images [N,3,H,W] in [0,1] and gives [N].
    """
    for path in (folder / LPIPS_BACKBONE, Path(torch.hub.get_dir(), "checkpoints", LPIPS_BACKBONE)):
        if path.is_file():
            return _load_lpips(path), ""
    return (
        None,
        f"LPIPS not computed: weights missing, put torchvision's {LPIPS_BACKBONE} into {folder}",
    )


def _load_lpips(path: Path) -> Lpips:
    import lpips  # seconds to import
    from torchvision.models import alexnet

    from utils.checkpoint import load_state, load_strict

    backbone = alexnet()
    load_strict(backbone, load_state(path), path)
    network = lpips.LPIPS(
        net="alex", pnet_rand=True, verbose=False
    )  # pnet_rand: don't download the backbone
    layers = backbone.features
    with torch.no_grad():
        for own in (
            network.net.slice1,
            network.net.slice2,
            network.net.slice3,
            network.net.slice4,
            network.net.slice5,
        ):
            for place, layer in own.named_children():
                layer.load_state_dict(layers[int(place)].state_dict())
    network.eval()
    return lambda first, second: network(2 * first - 1, 2 * second - 1).flatten()


def _psnrs(predicted: Tensor, truth: Tensor) -> list[float]:
    return [metrics.psnr(*pair) for pair in zip(_values(predicted), _values(truth))]


def _ssims(predicted: Tensor, truth: Tensor) -> list[float]:
    return [metrics.ssim(*pair) for pair in zip(_values(predicted), _values(truth))]


def _lpipses(lpips: Lpips) -> Callable[[Tensor, Tensor], list[float]]:
    return lambda predicted, truth: lpips(predicted.float(), truth.float()).tolist()


def _values(images: Tensor) -> np.ndarray:
    """[N,H,W,3] on the 0..255 scale."""
    return images.double().movedim(-3, -1).cpu().numpy() * 255
