"""Scores of seven sharp frames (protocol `blur2vid`) and of their order (protocol `hypercut`).

A blurry picture does not tell in which direction time ran, so a prediction is compared forward and
backward and the better direction counts: each metric chooses its own, by its mean over the frames.
Values are on the 0..255 scale, neither clipped nor rounded.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from utils.download.table import how_to_get
from utils.evaluation import metrics

FRAMES = 7
PAIRS = ("1_7", "2_6", "3_5")
# torchvision's file, which lpips needs besides its own weights
LPIPS_BACKBONE = "alexnet-owt-7be5be79.pth"
Lpips = Callable[[Tensor, Tensor], Tensor]


def score_order(scores: Tensor) -> dict[str, float]:
    """Hit per pair, Con@2 and Con@3 of HyperCUT's scores [6] of a sequence, each 0 or 1.

    The scores are those of pair 1, pair 1 reversed, pair 2, ... Hit: a pair and its reverse lie on
    different sides. Con@2: (1,7) and (2,6) lie on the same side, Con@3: all three do.
    """
    forward = scores[::2].tolist()
    backward = scores[1::2].tolist()
    row = {}
    for pair, one, other in zip(PAIRS, forward, backward):
        row[f"hit_{pair}"] = float(one * other < 0)
    signs = np.sign(forward).tolist()
    row["con@2"] = float(signs[0] == signs[1])
    row["con@3"] = float(len(set(signs)) == 1)
    return row


def score_frames(
    predicted: Tensor,
    truth: Tensor,
    indices: Sequence[int] = range(FRAMES),
    ssim: bool = True,
    lpips: Lpips | None = None,
) -> dict[str, float]:
    """ppsnr, pssim and (with `lpips`) plpips of frames [N,3,H,W] in [0,1], and their means.

    indices: which of the seven frames they are, 0 ... 6. Keys: ppsnr, the mean, and ppsnr_1 ...
    ppsnr_7, by the frame's number.
    """
    row = _better_direction("ppsnr", _psnrs, predicted, truth, indices)
    if ssim:
        row |= _better_direction("pssim", _ssims, predicted, truth, indices)
    if lpips:
        distances = partial(_distances, lpips)
        row |= _better_direction("plpips", distances, predicted, truth, indices, better=min)
    return row


def _better_direction(
    name: str,
    metric: Callable[[Tensor, Tensor], list[float]],
    predicted: Tensor,
    truth: Tensor,
    indices: Sequence[int],
    better: Callable = max,
) -> dict[str, float]:
    """A metric of the prediction, forward or backward, whichever has the better mean."""
    forward = metric(predicted, truth)
    backward = metric(predicted.flip(0), truth)
    values = better(forward, backward, key=np.mean)
    row = {name: float(np.mean(values))}
    for index, value in zip(indices, values, strict=True):
        row[f"{name}_{index + 1}"] = value
    return row


def find_lpips(folder: Path) -> tuple[Lpips | None, str]:
    """(LPIPS of AlexNet, "") where its backbone's weights are there, else (None, the reason).

    They may be in the folder or in torch's own store; nothing is downloaded. The function takes
    images [N,3,H,W] in [0,1] and gives [N].
    """
    for store in (folder, Path(torch.hub.get_dir(), "checkpoints")):
        path = store / LPIPS_BACKBONE
        if path.is_file():
            return _load_lpips(path), ""
    return None, f"LPIPS not computed: weights missing, {how_to_get(LPIPS_BACKBONE)}"


def _load_lpips(path: Path) -> Lpips:
    import lpips  # seconds to import
    from torchvision.models import alexnet

    from utils.checkpoint import load_state, load_strict

    backbone = alexnet()
    load_strict(backbone, load_state(path), path)
    # pnet_rand: don't download the backbone
    network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    layers = backbone.features
    with torch.no_grad():
        for number in range(1, 6):
            own = getattr(network.net, f"slice{number}")
            for index, layer in own.named_children():
                layer.load_state_dict(layers[int(index)].state_dict())
    network.eval()

    def distance(first: Tensor, second: Tensor) -> Tensor:
        return network(2 * first - 1, 2 * second - 1).flatten()

    return distance


def _psnrs(predicted: Tensor, truth: Tensor) -> list[float]:
    return [metrics.psnr(*pair) for pair in zip(_values(predicted), _values(truth))]


def _ssims(predicted: Tensor, truth: Tensor) -> list[float]:
    return [metrics.ssim(*pair) for pair in zip(_values(predicted), _values(truth))]


def _distances(lpips: Lpips, predicted: Tensor, truth: Tensor) -> list[float]:
    return lpips(predicted.float(), truth.float()).tolist()


def _values(images: Tensor) -> np.ndarray:
    """[N,H,W,3] on the 0..255 scale."""
    return images.double().movedim(-3, -1).cpu().numpy() * 255
