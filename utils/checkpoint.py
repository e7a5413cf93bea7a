"""Weights and checkpoints on disk.

Weights for sharing are safetensors files whose metadata say which network they are (network,
arguments, method, version). Training checkpoints and the authors' files are PyTorch files; only
tensors and plain containers are ever unpickled. safetensors is imported where it is used: the
networks alone need no more than torch, numpy, scipy and OpenCV.
"""

import errno
import json
import os
import pickle
import re
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from utils.errors import UserError, reading
from utils.files import atomic_path
from utils.tensorflow_checkpoint import is_checkpoint, read_checkpoint

VERSION = "0.2"
# Names under which published programs put the state dict inside a checkpoint, most wanted first.
WRAPPERS = (
    "params_ema", "params", "state_dict", "state_dict_G", "model_state_dict", "model_state",
    "model", "network", "net", "generator", "weights",
)  # fmt: skip


def save_weights(
    path: str | os.PathLike,
    network: nn.Module,
    name: str,
    arguments: dict,
    method: str,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a network's weights with what `models.load` needs to build it again.

    Floating point entries become `dtype` where they fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    state = {
        key: _as(value.detach().cpu(), dtype).contiguous()
        for key, value in network.state_dict().items()
    }
    description = {
        "network": name,
        "arguments": json.dumps(arguments),
        "method": method,
        "version": VERSION,
    }
    with atomic_path(path) as temporary:
        try:
            save_file(state, temporary, metadata=description)
        except SafetensorError as error:
            raise _unwritable(path, error) from error


def read_description(path: str | os.PathLike) -> dict | None:
    """{network, arguments, method, version} of our own weights file; None for anybody else's."""
    if Path(path).suffix != ".safetensors":
        return None
    from safetensors import SafetensorError, safe_open

    with reading(path, "a safetensors file", SafetensorError):
        with safe_open(_existing(path), "pt") as file:
            description = dict(file.metadata() or {})
        if "network" not in description:
            return None
        arguments = json.loads(description["arguments"])
        if not isinstance(arguments, dict):
            raise ValueError(f"the arguments of its network are {arguments!r}")
    return {**description, "arguments": arguments}


def load_state(path: str | os.PathLike) -> dict[str, Tensor]:
    """State dict of a weights file: .safetensors, a PyTorch file of any age, or TensorFlow's.

    PyTorch: .pt .pth .pytorch .tar .pkl; TensorFlow: .index, a prefix or a folder. Wrappers
    (state_dict, params, ...) and `module.` prefixes are taken off. Raises UserError, naming the
    class, for a file that holds more than tensors and plain containers.
    """
    if is_checkpoint(Path(path)):
        arrays = read_checkpoint(Path(path))
        return {name: torch.from_numpy(value) for name, value in arrays.items()}
    if Path(path).suffix == ".safetensors":
        from safetensors.torch import load_file

        read_description(path)  # raises for a damaged file
        return load_file(path)
    return unwrap(load_checkpoint(path), str(path))


def unwrap(content: object, source: str = "the checkpoint") -> dict[str, Tensor]:
    """The state dict inside a loaded checkpoint."""
    while isinstance(content, dict) and not _is_state(content):
        content = {_text(key): value for key, value in content.items()}
        inner = [name for name in WRAPPERS if isinstance(content.get(name), dict)]
        inner = inner or [name for name, value in content.items() if _is_state(value)]
        if not inner:
            raise UserError(f"{source} holds no state dict, only {_listed(map(str, content))}")
        content = content[inner[0]]
    if not isinstance(content, dict):
        raise UserError(f"{source} holds no state dict but a {type(content).__name__}")
    state = {_text(key): torch.as_tensor(value) for key, value in content.items()}
    while all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def load_strict(network: nn.Module, state: dict[str, Tensor], source: str | os.PathLike) -> None:
    """Copy a state dict into a network; every entry must exist on both sides in the same shape."""
    check_fit(network, state, source)
    own = network.state_dict()
    network.load_state_dict({key: value.to(own[key].dtype) for key, value in state.items()})


def check_fit(network: nn.Module, state: dict[str, Tensor], source: str | os.PathLike) -> None:
    """Raises UserError that names missing, extra and misshaped entries of a state dict.

    The network may be on the device meta.
    """
    own = network.state_dict()
    missing = [key for key in own if key not in state]
    extra = [key for key in state if key not in own]
    misshaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    found = {"missing": missing, "extra": extra, "misshaped": misshaped}
    complaints = [f"{len(keys)} {kind} ({_listed(keys)})" for kind, keys in found.items() if keys]
    if complaints:
        raise UserError(
            f"{source} does not fit {type(network).__name__}: {'; '.join(complaints)}. Is it "
            "another network's file?"
        )


def save_checkpoint(path: str | os.PathLike, content: dict) -> None:
    """Write a training checkpoint (tensors and plain containers only), whole or not at all."""
    with atomic_path(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # what torch makes of a full disk
            raise _unwritable(path, error) from error


def load_checkpoint(path: str | os.PathLike) -> dict:
    """Read a PyTorch file onto the CPU without executing anything it may contain."""
    try:
        with reading(path, "a PyTorch weights file"):
            return torch.load(_existing(path), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)|(?:class|global) ([\w.]+)", str(error))
        if found is None:
            raise UserError(f"{path} is not a PyTorch weights file, or it is damaged") from error
        name = found.group(1) or found.group(2)
        raise UserError(
            f"{path} holds a {name}, not only tensors: such a file could run code and is "
            "refused. Save its state_dict() alone."
        ) from error


def _as(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Floating point values as `dtype`, but as they are where one is too large for it.

    A variance of batch norm may be too large for half precision.
    """
    if not value.is_floating_point():
        return value
    cast = value.to(dtype)
    return cast if torch.isfinite(cast).all() else value


def _unwritable(path: str | os.PathLike, error: Exception) -> OSError:
    reason = str(error).splitlines()[0]
    return OSError(errno.EIO, f"can't be written, the disk may be full ({reason})", str(path))


def _existing(path: str | os.PathLike) -> Path:
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"no weights file at {path}: pretrain_models/README.md lists every file and where it "
            "goes"
        )
    return path


def _is_state(content: object) -> bool:
    if not isinstance(content, dict) or not content:
        return False
    return all(isinstance(value, Tensor) for value in content.values())


def _text(key: object) -> str:
    if isinstance(key, bytes):  # Python 2 pickles have byte strings
        return key.decode("latin1")
    return str(key)


def _listed(names: Iterable[str], maximum: int = 3) -> str:
    names = list(names)
    if len(names) > maximum:
        names = [*names[:maximum], "..."]
    return ", ".join(names)
