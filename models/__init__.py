"""Networks: tensors in, tensors out. `load` builds the one that a weights file says it is."""

import os
import re
from importlib import import_module
from inspect import signature
from pathlib import Path

import torch
from torch import nn

from utils.checkpoint import check_fit, load_state, load_strict, read_description
from utils.errors import UserError, reading
from utils.tensorflow_checkpoint import is_checkpoint

# name in our weights' metadata -> (module, class)
NETWORKS = {
    "cdvd_tsp": ("models.cdvd_tsp", "CDVDTSP"),
    "deep_deblur": ("models.deep_deblur", "DeepDeblur"),
    "guided_nafnet": ("models.guided_nafnet", "GuidedNAFNet"),
    "hypercut": ("models.hypercut", "HyperCUT"),
    "irp": ("models.irp", "IRP"),
    "jin": ("models.jin", "Jin"),
    "light_dehaze": ("models.light_dehaze", "LightDehaze"),
    "mimo_unet": ("models.mimo_unet", "MIMOUNet"),
    "nafnet": ("models.nafnet", "NAFNet"),
    "no_blur": ("models.unet", "NoBlurUNet"),
    "pwc_net": ("models.pwc_net", "PWCNet"),
    "purohit": ("models.purohit", "Purohit"),
    "restormer": ("models.restormer", "Restormer"),
    "srn": ("models.srn", "SRN"),
}
SHIPPED = Path(__file__).resolve().parents[1] / "pretrain_models"


def build(name: str, **arguments) -> nn.Module:
    """A network by name with fresh weights; the arguments are its constructor's."""
    if name not in NETWORKS:
        raise UserError(f"unknown network {name!r}: this version knows {', '.join(NETWORKS)}")
    module, attribute = NETWORKS[name]
    network = getattr(import_module(module), attribute)
    known = list(signature(network).parameters)
    if unknown := [argument for argument in arguments if argument not in known]:
        raise UserError(
            f"{attribute} has no argument {unknown[0]!r}: it has {', '.join(known) or 'none'}"
        )
    return network(**arguments)


def find(path_or_name: str | os.PathLike) -> Path:
    """The weights meant by a path, or by the name of a file in pretrain_models/ (extension
    optional).

    Of a folder: itself where it holds a network published in parts (Jin's four files), a run's best
    weights, or the latest of its (or its models/) model-EPOCH.pt, as DeepDeblur leaves them, or its
    only file.
    """
    from models.published import (
        parts_of,
    )  # it knows the network files, and they import this package

    candidates = [
        Path(path_or_name),
        SHIPPED / path_or_name,
        SHIPPED / f"{path_or_name}.safetensors",
    ]
    for candidate in candidates:
        if candidate.is_file() or is_checkpoint(candidate):
            return candidate
        if candidate.is_dir():
            return candidate if parts_of(candidate) else _latest(candidate)
    beside = (
        sorted(path.name for path in Path(path_or_name).parent.glob("*.safetensors"))
        if Path(path_or_name).parent != Path()
        else []
    )
    if beside:
        raise UserError(f"no weights at {path_or_name}; there are {', '.join(beside)}")
    shipped = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.safetensors"))) or "none"
    raise UserError(
        f"no weights at {path_or_name}. Shipped by name: {shipped}; pretrain_models/README.md "
        "lists the authors' files"
    )


def _latest(folder: Path) -> Path:
    files = [
        path
        for path in (*folder.glob("*"), *folder.glob("models/*"))
        if path.suffix in (".pt", ".pth", ".safetensors")
    ]
    epochs = {
        int(path.stem.removeprefix("model-")): path
        for path in files
        if re.fullmatch(r"model-\d+", path.stem)
    }
    for name in ("best.safetensors", "last.safetensors"):
        if folder / name in files:
            return folder / name
    if len(files) != 1 and not epochs:
        found = (
            f"{len(files)} weights files: name one of them"
            if files
            else "no weights file (.pt, .pth, .safetensors)"
        )
        raise UserError(f"{folder} is a folder with {found}")
    return epochs[max(epochs)] if epochs else files[0]


def load(path_or_name: str | os.PathLike, **options) -> nn.Module:
    """The network in a weights file, ours or the authors', in eval mode on the CPU.

    Ours say in their metadata what to build; the authors' files are recognised by their keys
    (`options` go to models.published.load_published). Raises UserError for a file that fits no
    network or does not fit its own.
    """
    from models.published import from_state, identify, read_state

    path = find(path_or_name)
    description = read_description(path)
    if description is None:
        state = read_state(path)
        return from_state(identify(state, path), state, path, **options)
    state = load_state(path)
    with torch.device(
        "meta"
    ):  # what a file says of its network may be anything; sizes without end cost nothing there
        check_fit(_described(description, path), state, path)
    network = _described(description, path)
    load_strict(network, state, path)
    return network.eval()


def _described(description: dict, path: Path) -> nn.Module:
    """The network that a weights file's description means; raises UserError that names the file."""
    try:
        with reading(path, "a network"):
            return build(description["network"], **description["arguments"])
    except UserError as error:
        raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def load_network(
    path_or_name: str | os.PathLike, expected: type[nn.Module], **options
) -> nn.Module:
    """`load`, but a file of any other network than `expected` is refused."""
    network = load(path_or_name, **options)
    if not isinstance(network, expected):
        needed = getattr(expected, "kind", expected.__name__)
        raise UserError(
            f"{path_or_name} holds a {type(network).__name__}, this command needs a {needed}"
        )
    return network
