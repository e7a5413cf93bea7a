"""Which of several shots is best: the predicted potential together with plain sharpness.

The network was trained on exposures of one still scene. Among clean shots of a clip or burst that
were taken one after the other plain sharpness ranks better, among noisy ones the network does. The
mixture below trusts sharpness where there is little noise; its weights were fitted on bursts and
clips of training pictures (docs/findings/irp.md), and its scores lie in 0..1.
"""

import math

import numpy as np

from utils.evaluation.sharpness import fine_detail, noise_deviation
from utils.image import resize_to

LONGEST = 1024  # px; larger pictures are shrunk to this side first
QUIET = 3.0  # grey levels of noise at which sharpness and network count alike
POTENTIAL = 4.79  # weight of the network's potential, where there is noise
DETAIL = {1: 0.68, 2: 0.57}  # weights of the detail at 1/1 and 1/2 of the size, without noise
DETAIL_IN_NOISE = {2: 0.27, 4: 0.32}
NOISE = -0.97  # of the logarithm of the noise
CENTRE = 6.2  # median of the sum over the training shots; SPREAD makes scores of .05 to .95 of most
SPREAD = 0.8


def mixed_score(potential: float, picture: np.ndarray) -> float:
    """Score in 0..1 of a shot [H,W,3] (8 bit, as bright as at ratio 1) with its potential."""
    picture = resize_to(picture, LONGEST)
    noise = noise_deviation(picture)
    quiet = 1 / (1 + (noise / QUIET) ** 2)
    detail = {scale: fine_detail(picture, scale, noise) for scale in DETAIL | DETAIL_IN_NOISE}
    clean_sum = sum(weight * detail[scale] for scale, weight in DETAIL.items())
    noisy_sum = POTENTIAL * potential
    for scale, weight in DETAIL_IN_NOISE.items():
        noisy_sum += weight * detail[scale]
    total = quiet * clean_sum + (1 - quiet) * noisy_sum + NOISE * math.log(noise + 0.5)
    return 1 / (1 + math.exp(-(total - CENTRE) / SPREAD))
