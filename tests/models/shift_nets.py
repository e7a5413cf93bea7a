"""Narrow Shift-Nets for tests, of the published depth."""

import torch

from models import build
from models.shift_net import ShiftNet

NARROW = {
    "plus": {"variant": "plus", "width": 4, "growth": 4, "channels": 16, "unets": 1},
    "small": {"variant": "small", "width": 3, "growth": 2, "channels": 16, "unets": 1},
}


def narrow(variant: str, **changes) -> ShiftNet:
    """A narrow network whose frames depend on each other strongly."""
    torch.manual_seed(0)
    network = build("shift_net", **NARROW[variant] | changes).eval()
    for name, parameter in network.named_parameters():
        if "beta" in name:
            torch.nn.init.normal_(parameter, std=2.0)
    return network
