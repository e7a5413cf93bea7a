"""Losses on sequences whose direction of time is ambiguous (Pham et al., CVPR 2023).

Frames are [B,N,3,H,W], N odd, the centre in the middle; predicted and true ones of one shape. Pairs
are symmetric: first and last, second and last but one, ... Scores [B,2P] of HyperCUT are those of
pair 1, pair 1 reversed, pair 2, ...
"""

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.pixel import charbonnier, mse

EPSILON = 1e-3


def ordering(scores: Tensor) -> tuple[Tensor, Tensor]:
    """HyperCUT's own loss, whose two terms count one half each: (a pair and its reverse, two pairs
    of one sequence); eq. 3 and 4.

    softplus(h(pair) h(reversed)), mean over the pairs: they shall fall on different sides;
    softplus(-h(p) h(q)), mean over the couples of pairs: on the same.
    """
    forth = scores[:, ::2]
    back = scores[:, 1::2]
    apart = F.softplus(forth * back).mean()
    couples = combinations(range(forth.shape[1]), 2)
    together = [F.softplus(-forth[:, one] * forth[:, two]).mean() for one, two in couples]
    return apart, torch.stack(together).mean()


def naive(predicted: Tensor, truth: Tensor) -> Tensor:
    """Sum over all frames, in the stored order, of the mean sqrt(error^2 + 1e-6)."""
    return predicted.shape[1] * charbonnier(predicted, truth, EPSILON)


def order_invariant(predicted: Tensor, truth: Tensor, centre: bool = False) -> Tensor:
    """Sum over the symmetric pairs of MSE(|x1 + x2|, |y1 + y2|) + MSE(|x1 - x2|, |y1 - y2|), the
    same in either order (Jin et al., 2018).

    centre: also the centre frame's MSE, which the published loss leaves out. On normalised values
    |x1 + x2| has a sign of its own.
    """
    half = predicted.shape[1] // 2
    x1 = predicted[:, :half]
    x2 = predicted.flip(1)[:, :half]
    y1 = truth[:, :half]
    y2 = truth.flip(1)[:, :half]
    sums = mse((x1 + x2).abs(), (y1 + y2).abs())
    differences = mse((x1 - x2).abs(), (y1 - y2).abs())
    total = half * (sums + differences)
    if centre:
        total = total + mse(predicted[:, half], truth[:, half])
    return total


def one_sided(scores: Tensor) -> Tensor:
    """Sum over the pairs of softplus(h(pair)), mean over the batch: predictions shall lie where h <
    0.
    """
    return F.softplus(scores[:, ::2]).sum(1).mean()
