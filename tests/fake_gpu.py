"""A GPU that is not there: tensors with shapes, types and devices alone, on no card and no driver.

`with fake_gpu():` makes all tensors in the block fake; what is built in `with on_gpu:` is on
"cuda". What runs outside of `on_gpu` makes its own tensors where it says, as on a real GPU, so that
one without a device is seen to be on the CPU. torch's own check lets some mixtures of devices pass
(a CPU tensor handed to a convolution, in torch 2.12), so every operation's arguments are compared
here. Nothing is computed: values are for other tests.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# operations whose purpose is to go from one device to another
MOVES = ("aten._to_copy", "aten.copy_", "aten._pin_memory", "aten.is_pinned")


class MixedDevices(Exception):
    """An operation got tensors of more than one device."""


class Watch(TorchDispatchMode):
    """Compares the devices of every operation's arguments, and counts the bytes that are in use.

    peak: the largest number of bytes at once of what operations made since it was set to 0.
    dtypes: {operation: types of its results}.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self.dtypes: dict[str, set[torch.dtype]] = {}
        self._live: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple = (), options: dict | None = None
    ) -> Any:
        options = options or {}
        name = str(function).rpartition(".")[0]
        devices = set()
        for value in tree_leaves((arguments, options)):
            # a number as a tensor of no dimensions may come from anywhere
            if isinstance(value, Tensor) and value.ndim:
                devices.add(value.device.type)
        if len(devices) > 1 and name not in MOVES:
            raise MixedDevices(f"{name} of tensors on {' and '.join(sorted(devices))}")
        result = function(*arguments, **options)
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self.dtypes.setdefault(name, set()).add(value.dtype)
                self._count(value)
        return result

    def _count(self, value: Tensor) -> None:
        storage = value.untyped_storage()
        if value.device.type == "cuda":
            self._live[StorageWeakRef(storage)] = storage.nbytes()
        self._live = {ref: size for ref, size in self._live.items() if not ref.expired()}
        self.peak = max(self.peak, sum(self._live.values()))

    @property
    def used(self) -> int:
        """Bytes in use now."""
        return sum(size for ref, size in self._live.items() if not ref.expired())


on_gpu = torch.device("cuda")


@contextlib.contextmanager
def fake_gpu() -> Iterator[Watch]:
    """All tensors that the block makes are fake.

    Without cuDNN's own grid_sample, of which torch has no fake; the plain one stands in.
    """
    without_cudnn = torch.backends.cudnn.flags(enabled=False)
    with FakeTensorMode(), Watch() as watch, without_cudnn:
        yield watch


@contextlib.contextmanager
def fake_autocast(dtype: torch.dtype) -> Iterator[None]:
    """Mixed precision on a GPU that is not there, where torch.autocast switches itself off."""
    if dtype == torch.float32:
        yield
        return
    torch.set_autocast_dtype("cuda", dtype)
    torch.set_autocast_enabled("cuda", True)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", False)
        torch.set_autocast_dtype("cuda", torch.float16)


def in_channels_last(network: nn.Module) -> nn.Module:
    """As network.to(memory_format=torch.channels_last), which fake parameters refuse."""
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.ndim == 4:
                moved = parameter.detach().contiguous(memory_format=torch.channels_last)
                setattr(module, name, nn.Parameter(moved, parameter.requires_grad))
    return network
