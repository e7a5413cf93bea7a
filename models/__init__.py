"""Networks: tensors in, tensors out. `load` builds the one that a weights file says it is."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from threading import get_ident

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from utils.checkpoint import PYTORCH_SUFFIXES, check_fit, load_state, load_strict, read_description
from utils.errors import UserError, reading
from utils.names import nearest, plain_name
from utils.tensorflow_checkpoint import is_checkpoint

# name in our weights' metadata -> (module, class)
NETWORKS = {
    "blur_length": ("models.blur_length", "BlurLength"),
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
    "shift_net": ("models.shift_net", "ShiftNet"),
    "srn": ("models.srn", "SRN"),
}
# what a network is for -> the weights in pretrain_models/ that are taken where none are named
SHIPPED = {
    "image": "image_deblur",
    "video": "cdvd_tsp",
    "sequence": "blur2vid",
    "order": "hypercut",
    "potential": "irp",
    "length": "blur_length",
}
# Those of them whose results in bf16 are within 60 dB of float32's (docs/findings/speed.md).
EXACT_IN_BF16 = ("image_deblur", "cdvd_tsp")
MAX_NUMBER = 65_536  # of a network's arguments
MAX_ENTRIES = 2500  # of the weights; Shift-Net+, the largest network here, has 2,068
_ROOT = Path(__file__).resolve().parents[1]
WEIGHTS_FOLDER = _ROOT / "pretrain_models"
RUNS_FOLDER = _ROOT / "experiment"


def network_class(name: str) -> type[nn.Module]:
    """The class of a network by name."""
    module, attribute = NETWORKS[name]
    return getattr(import_module(module), attribute)


def build(name: str, **arguments) -> nn.Module:
    """A network by name with fresh weights; the arguments are its constructor's."""
    if name not in NETWORKS:
        raise UserError(f"unknown network {name!r}: this version knows {', '.join(NETWORKS)}")
    network = network_class(name)
    known = list(signature(network).parameters)
    if unknown := [argument for argument in arguments if argument not in known]:
        raise UserError(
            f"{network.__name__} has no argument {unknown[0]!r}: it has "
            f"{', '.join(known) or 'none'}"
        )
    for argument, value in arguments.items():
        _check_numbers(f"{network.__name__}: {argument} {value}", value)
    with limited_layers(MAX_ENTRIES, f"{network.__name__} with {arguments}"):
        return network(**arguments)


def _check_numbers(label: str, value: object) -> None:
    """Raises UserError for numbers that no network's size is."""
    for number in value if isinstance(value, list | tuple) else [value]:
        if isinstance(number, int | float) and not abs(number) <= MAX_NUMBER:
            raise UserError(f"{label}: numbers of at most {MAX_NUMBER:,} make a network")


def all_arguments(name: str, arguments: dict) -> dict:
    """A network's arguments with the defaults of those that are not given."""
    parameters = signature(network_class(name)).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters} | arguments


def sizes(kind: type[nn.Module]) -> dict[str, tuple[str, dict]]:
    """{published size: (network, arguments)} of a kind: PUBLISHED_SIZES of the networks' files."""
    found: dict[str, tuple[str, dict]] = {}
    for name in _of_kind(kind):
        published = getattr(import_module(NETWORKS[name][0]), "PUBLISHED_SIZES", {})
        found |= {size: (name, arguments) for size, arguments in published.items()}
    return found


def choose(model: str, kind: type[nn.Module], option: str = "model") -> tuple[str, dict]:
    """(network, arguments) that an option means: a published size, or a network of NETWORKS.

    Case, hyphens and underscores do not count. Raises UserError that suggests the nearest.
    """
    known = {name: (name, {}) for name in _of_kind(kind)} | sizes(kind)
    plain = {plain_name(name): found for name, found in known.items()}
    if plain_name(model) in plain:
        return plain[plain_name(model)]
    names = ", ".join(sizes(kind)) or ", ".join(known)
    suggestion = nearest(model, list(known)) or ":"
    raise UserError(f"unknown {option} {model!r}{suggestion} choose from {names}")


def _of_kind(kind: type[nn.Module]) -> Iterator[str]:
    return (name for name in NETWORKS if issubclass(network_class(name), kind))


def find(path_or_name: str | os.PathLike) -> Path:
    """The weights that a path means, a file's name in pretrain_models/, or a run's in experiment/.

    The extension may be left out. Of a folder: itself where it holds a network published in parts
    (Jin's four files), a run's best weights, or the latest of its (or its models/) model-EPOCH.pt,
    as DeepDeblur leaves them, or its only file.
    """
    from models.published import parts_of  # it imports the network files, and they this package

    candidates = [
        Path(path_or_name),
        WEIGHTS_FOLDER / path_or_name,
        WEIGHTS_FOLDER / f"{path_or_name}.safetensors",
        RUNS_FOLDER / path_or_name,
        *_with_extension(path_or_name),
    ]
    for candidate in candidates:
        if candidate.is_file() or is_checkpoint(candidate):
            return candidate
        if candidate.is_dir():
            return candidate if parts_of(candidate) else _latest(candidate)
    raise UserError(f"no weights at {path_or_name}{_what_is_there(Path(path_or_name))}")


def _with_extension(name: str | os.PathLike) -> list[Path]:
    """The authors' files in pretrain_models/ that have this name before their extension."""
    if Path(name).parent != Path() or not WEIGHTS_FOLDER.is_dir():
        return []
    files = sorted(WEIGHTS_FOLDER.iterdir())
    return [path for path in files if path.suffix in PYTORCH_SUFFIXES and path.stem == str(name)]


def _what_is_there(path: Path) -> str:
    """The end of a sentence about missing weights: how to get them, or which others are there."""
    from utils.download.table import how_to_get  # it reads YAML, which a network needs not

    if call := how_to_get(path):
        return f": {call}"
    folder = path.parent
    if folder != Path():
        beside = sorted(path.name for path in folder.glob("*.safetensors"))
        if beside:
            return f"; there are {', '.join(beside)}"
    shipped = sorted(path.stem for path in WEIGHTS_FOLDER.glob("*.safetensors"))
    return (
        f". Shipped by name: {', '.join(shipped) or 'none'}; `python download.py` lists the "
        "authors' files"
    )


def _latest(folder: Path) -> Path:
    files = [
        path
        for path in (*folder.glob("*"), *folder.glob("models/*"))
        if path.suffix in (".pt", ".pth", ".safetensors")
    ]
    for name in ("best.safetensors", "last.safetensors"):
        if folder / name in files:
            return folder / name
    numbered = [path for path in files if re.fullmatch(r"model-\d+", path.stem)]
    if numbered:
        return max(numbered, key=lambda path: int(path.stem.removeprefix("model-")))
    if len(files) == 1:
        return files[0]
    if files:
        raise UserError(f"{folder} is a folder with {len(files)} weights files: name one of them")
    raise UserError(f"{folder} is a folder with no weights file (.pt, .pth, .safetensors)")


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
        name, state = identify(state, path)
        return from_state(name, state, path, **options)
    state = load_state(path)
    # What a file says of its network may be anything: sizes without end cost nothing on "meta",
    # and layers without end stop at the number of the file's entries.
    with torch.device("meta"), limited_layers(len(state), path):
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
        if str(path) in str(error):
            raise
        raise UserError(f"{path}: {error}") from error


@contextmanager
def limited_layers(entries: int, source: Path | str) -> Iterator[None]:
    """Stops a network's construction at more layers than so many entries of weights can fill.

    It counts what this thread's modules register, and raises UserError that begins with `source`.
    """
    thread = get_ident()
    counts = Counter()

    def count(kind: str, limit: int, *registered: object) -> None:
        if get_ident() != thread:
            return
        counts[kind] += 1
        if counts[kind] > limit:
            raise UserError(f"{source}: the network has more layers than {entries:,} entries fill")

    # weight normalisation registers a parameter twice; layers without parameters stand between
    hooks = [
        register_module_parameter_registration_hook(partial(count, "entries", 2 * entries + 64)),
        register_module_module_registration_hook(partial(count, "layers", 20 * entries + 1000)),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def is_exact_in_bf16(path: Path) -> bool:
    """Whether a weights file is a shipped one that may be computed in bf16 unasked."""
    return path.parent == WEIGHTS_FOLDER and path.stem in EXACT_IN_BF16


def is_shipped(path: Path) -> bool:
    """Whether a weights file is one that is taken where none is named."""
    return path.parent == WEIGHTS_FOLDER and path.stem in SHIPPED.values()


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
