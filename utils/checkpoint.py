"""Weights and checkpoints on disk.

Weights for sharing are safetensors files whose metadata say which network they are (network,
arguments, method, version). Training checkpoints and the authors' files are PyTorch files; only
tensors and plain containers are ever unpickled. safetensors is imported where it is used: the
networks alone need no more than torch, numpy, scipy and OpenCV.
"""

import errno
import json
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from utils.errors import UserError, reading
from utils.files import atomic_path
from utils.plain_pickle import load_plain
from utils.schema import either, items, number, parse_json, text, values
from utils.tensorflow_checkpoint import is_checkpoint, read_checkpoint

VERSION = "0.3"
PYTORCH_SUFFIXES = (".pt", ".pth", ".pytorch", ".tar", ".pkl")
# Names under which published programs put the state dict inside a checkpoint, most wanted first.
WRAPPERS = (
    "params_ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema", "ema", "params",
    "state_dict", "state_dict_G", "model_state_dict", "model_state", "model", "network", "net",
    "generator", "weights",
)  # fmt: skip
# What training programs put before all names: DataParallel, torch.compile, Lightning and others.
PREFIXES = ("module.", "_orig_mod.", "net.", "net_g.", "netG.", "network.", "model.", "generator.")
_COUNTERS = ("n_averaged",)  # of torch's AveragedModel, beside the weights
_LEVELS = 8  # of wrappers in each other
# Arguments of a network as a weights file may state them; the file's entries say the rest.
_ARGUMENT = number(-(2**16), 2**16)


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
        if "arguments" not in description:
            raise ValueError("it names a network without arguments")
    arguments = parse_json(description["arguments"], values(_argument), path)
    return {**description, "arguments": arguments}


def _argument(value: object) -> None:
    """The schema of one argument: text, true, false, null, a bounded number, or lists of them."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        items(_argument)(value)
    elif value is not None and not isinstance(value, bool):
        either(text(), _ARGUMENT)(value)


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
        return without_prefixes(load_file(path))
    return unwrap(load_checkpoint(path), str(path))


def unwrap(content: object, source: str = "the checkpoint") -> dict[str, Tensor]:
    """The state dict inside a loaded checkpoint, without the prefixes that all its names have.

    Of several the averaged one (EMA) is taken, and that is said.
    """
    found = _find_state(content, source, _LEVELS)
    if found is None and isinstance(content, dict):
        raise UserError(f"{source} holds no state dict, only {_listed(map(_text, content))}")
    if found is None:
        raise UserError(f"{source} holds no state dict but a {type(content).__name__}")
    return without_prefixes({_text(key): value for key, value in found.items()})


def without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without those of PREFIXES that all its names have, one after the other."""
    while prefix := next(filter(partial(_all_have, state), PREFIXES), ""):
        state = {key.removeprefix(prefix): state[key] for key in state if key not in _COUNTERS}
    return state


def _all_have(state: dict[str, Tensor], prefix: str) -> bool:
    keys = state.keys() - set(_COUNTERS)
    return bool(keys) and all(key.startswith(prefix) for key in keys)


def _find_state(content: object, source: str, levels: int) -> dict | None:
    """The state dict in a checkpoint, at most so many levels below; None where there is none."""
    if _is_state(content):
        return content
    if not isinstance(content, dict) or not levels:
        return None
    named = {_text(key): value for key, value in content.items()}
    order = [name for name in WRAPPERS if name in named]
    order += [name for name, value in named.items() if _is_state(value) and name not in order]
    found = {}
    for name in order:
        state = _find_state(named[name], source, levels - 1)
        if state is not None:
            found[name] = state
    if not found:
        return None
    chosen, *others = found
    if others and "ema" in chosen:
        print(f"note: of {', '.join(found)} in {source} {chosen} is taken, the averaged weights")
    return found[chosen]


def load_strict(network: nn.Module, state: dict[str, Tensor], source: str | os.PathLike) -> None:
    """Copy a state dict into a network; every entry must exist on both sides in the same shape."""
    check_fit(network, state, source)
    check_finite(state, source)
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


def check_finite(state: dict[str, Tensor], source: str | os.PathLike) -> None:
    """Raises UserError for weights that hold NaN or infinite numbers."""
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(
                f"{source}: {key} holds values that are no finite numbers: the file is damaged, or "
                "its training failed"
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
    return load_plain(_existing(path))


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
        from utils.download.table import how_to_get  # it reads YAML, which a network needs not

        call = how_to_get(path) or "`python download.py` lists the authors' files"
        raise UserError(f"no weights file at {path}: {call}")
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
