"""How a training ends early: at the end of a step, or in the middle of one that takes long."""

import contextlib
import signal
from collections.abc import Iterator

import torch
from torch import nn

from utils import distributed
from utils.batch_norm import batch_norms

PATIENCE_S = 3  # for a step or a validation that is under way when a signal comes
_AGAIN_S = 1  # Python drops an exception inside a destructor: the next one comes after this


class Abandoned(KeyboardInterrupt):
    """What is under way was given up; the network is as it was before."""


class Stop:
    """Turns signals into a flag while the loop runs: it ends its step and saves.

    Work inside `interruptible` is given up (Abandoned) where it goes on for longer than PATIENCE_S,
    or at a second signal. Several processes always end a step together. Signals that the process
    was told to ignore (nohup: SIGHUP) stay ignored.
    """

    def __init__(self) -> None:
        self.asked = False
        self._late = False
        self._may_raise = False
        self._handlers = {}

    def __enter__(self) -> "Stop":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._ask)
        self._handlers[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._give_up)
        return self

    def __exit__(self, *error: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Work that leaves nothing half done where it is given up."""
        self._may_raise = distributed.world() == 1
        try:
            self._check()
            yield
        finally:
            self._may_raise = False

    def _ask(self, number: int, frame: object) -> None:
        if self.asked:
            self._give_up(number, frame)
        self.asked = True
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S, _AGAIN_S)

    def _give_up(self, number: int, frame: object) -> None:
        self._late = True
        self._check()

    def _check(self) -> None:
        if self._late and self._may_raise:
            raise Abandoned


def let_signals_in(network: nn.Module, device: torch.device) -> None:
    """Let Python's signals be handled during `backward` on a CPU, where a call may take minutes.

    Python handles them between its own instructions; the gradient of each layer's result brings
    some.
    """
    if device.type != "cpu" or distributed.world() > 1:
        return
    for module in network.modules():
        if not any(module.children()):
            module.register_forward_hook(_let_in)


def _let_in(module: nn.Module, inputs: object, output: object) -> None:
    if torch.compiler.is_compiling():
        return
    if isinstance(output, torch.Tensor) and output.requires_grad:
        output.register_hook(_do_nothing)


def _do_nothing(gradient: torch.Tensor) -> None:
    pass


class Statistics:
    """The running statistics of a network's batch norms, which change before a step ends."""

    def __init__(self, network: nn.Module):
        self._norms = batch_norms(network)
        self._kept: list[dict[str, torch.Tensor]] = []

    def keep(self) -> None:
        """Remember them."""
        self._kept = []
        for norm in self._norms:
            self._kept.append({name: value.clone() for name, value in norm.named_buffers()})

    def put_back(self) -> None:
        """As they were when they were kept."""
        for norm, kept in zip(self._norms, self._kept):
            for name, value in kept.items():
                getattr(norm, name).copy_(value)
