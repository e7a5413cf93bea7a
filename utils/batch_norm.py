"""Batch norm over a batch whose parts are in several processes.

torch.nn.SyncBatchNorm runs on GPUs alone; this one runs wherever torch.distributed does.
"""

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d over the features [B,C,H,W] of all processes together, in training.

    counted: whether this process's features count; they do not where a batch has fewer samples than
    there are processes (see utils/sampling.py). All processes must call it equally often.
    """

    counted = True

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> "SynchronizedBatchNorm2d":
        """One with the parameters and buffers of a batch norm."""
        own = cls(norm.num_features, norm.eps, norm.momentum)
        own.weight = norm.weight
        own.bias = norm.bias
        for name, buffer in norm.named_buffers():
            setattr(own, name, buffer)
        return own.train(norm.training)

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return super().forward(features)
        with torch.autocast(features.device.type, enabled=False):
            return self._normed(features.float()).to(features.dtype)

    def _normed(self, features: Tensor) -> Tensor:
        weight = float(self.counted)
        pixels = features.new_full((1,), weight * features[:, 0].numel())
        sums = all_reduce(torch.cat((weight * features.sum((0, 2, 3)), pixels)))  # [C+1]
        pixels = sums[-1]
        mean = sums[:-1] / pixels
        centred = features - mean.view(1, -1, 1, 1)
        squares = all_reduce(weight * centred.square().sum((0, 2, 3)))
        variance = squares / pixels
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(squares / (pixels - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch norms in a network."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def synchronize(network: nn.Module) -> None:
    """Put SynchronizedBatchNorm2d in the place of every batch norm of a network."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, SynchronizedBatchNorm2d.of(child))
