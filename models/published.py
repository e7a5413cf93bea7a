"""The authors' published checkpoints in our networks.

Each network file ends with PUBLISHED_KEYS (see rename) and, where sizes vary,
published_arguments(state). Instead published_state(state, network) may give our keys and shapes
(SRN, whose files are TensorFlow's; Shift-Net, whose blocks share parameters). PUBLISHED_EXTRAS:
prefixes of entries that are none of the network's. PUBLISHED_PARTS: the files of a network that was
published in parts, and the prefixes of their entries. PUBLISHED_HINT: a sentence for files that do
not fit.
"""

import os
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models import NETWORKS, build
from utils.checkpoint import PREFIXES, load_state, load_strict, unwrap
from utils.errors import UserError

# name -> (a key that only this network's files have, prefixes that wrap the whole network in some
# files)
PUBLISHED = {
    "cdvd_tsp": ("recons_net.inBlock.0.0.weight", ()),
    "deep_deblur": ("body_models.0.body.0.weight", ()),
    "hypercut": ("f_func.model.1.weight", ()),
    "irp": ("skff1.conv_du.0.weight", ()),
    "jin": ("f4.conv1_B.weight", ("model.",)),
    "mimo_unet": ("feat_extract.0.main.0.weight", ()),
    "nafnet": ("encoders.0.0.sca.1.weight", ()),
    "pwc_net": (
        "moduleExtractor.moduleOne.0.weight",
        ("flow_net.moduleNetwork.", "moduleNetwork."),
    ),
    "purohit": ("bie.model.0.weight", ("model.",)),
    "restormer": ("patch_embed.proj.weight", ()),
    "shift_net": ("orb1.encoder_level1.0.body.0.weight", ()),
    "srn": ("g_net/enc1_1/weights", ()),
}


def load_published(name: str, source: str | os.PathLike | dict, **options) -> nn.Module:
    """A network with the authors' weights, in eval mode, with the published behaviour.

    name: a key of PUBLISHED. source: the authors' file or its state dict. options: constructor
    arguments that the weights do not tell, e.g. `align_corners=False`. Sizes are read off the
    weights. Raises UserError if an entry is missing, extra or misshaped.
    """
    if name not in PUBLISHED:
        raise UserError(
            f"no published form of {name!r} is known: choose from {', '.join(PUBLISHED)}"
        )
    if isinstance(source, dict):
        state, source = (
            unwrap({key: _tensor(value) for key, value in source.items()}),
            "the state dict",
        )
    else:
        state = read_state(source)
    return from_state(name, state, source, **options)


def read_state(source: str | os.PathLike) -> dict[str, Tensor]:
    """The state dict in a file, or in a folder of files that each hold a part of a network (see
    parts_of).
    """
    if parts := parts_of(Path(source)):
        return {
            prefix + key: value
            for name, prefix in parts.items()
            for key, value in load_state(Path(source, name)).items()
        }
    return load_state(source)


def parts_of(folder: Path) -> dict[str, str]:
    """{file: prefix of its entries} where a folder holds a network published in parts (Jin's four
    files), else nothing.
    """
    if not folder.is_dir():
        return {}
    for module, _ in NETWORKS.values():
        files = getattr(import_module(module), "PUBLISHED_PARTS", {})
        if files and all((folder / name).is_file() for name in files):
            return files
    return {}


def from_state(
    name: str, state: dict[str, Tensor], source: str | os.PathLike, **options
) -> nn.Module:
    """As load_published, of a state dict that was read already; `source` names it in errors."""
    for prefix in PUBLISHED[name][1]:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    module = import_module(NETWORKS[name][0])
    hint = getattr(module, "PUBLISHED_HINT", "")
    if PUBLISHED[name][0] not in state:
        raise UserError(
            f"{source} is not a published {name} checkpoint: it has no entry "
            f"{PUBLISHED[name][0]}. {hint}".rstrip(" .")
        )
    arguments = module.published_arguments(state) if hasattr(module, "published_arguments") else {}
    network = build(name, **{**arguments, **options})
    extras = getattr(module, "PUBLISHED_EXTRAS", ())
    state = {key: value for key, value in state.items() if not key.startswith(extras)}
    try:
        if hasattr(module, "published_state"):
            state = module.published_state(state, network)
        else:
            state = rename(state, module.PUBLISHED_KEYS)
        load_strict(network, state, source)
    except UserError as error:
        words = str(error) if str(source) in str(error) else f"{source}: {error}"
        raise UserError(f"{words} {hint}".rstrip()) from error
    return network.eval()


def identify(state: dict[str, Tensor], source: str | os.PathLike) -> tuple[str, dict[str, Tensor]]:
    """The name of the published network whose keys a state dict has, and its entries.

    These are all, or those with one of PREFIXES where a program stored others beside them (its
    loss's network, a metric).
    """
    for common in ("", *PREFIXES):
        for name, (key, prefixes) in PUBLISHED.items():
            if any(common + prefix + key in state for prefix in ("", *prefixes)):
                return name, {
                    key.removeprefix(common): value
                    for key, value in state.items()
                    if key.startswith(common)
                }
    raise UserError(
        f"{source} holds none of the networks known here ({', '.join(PUBLISHED)}); its first "
        f"entries are {', '.join(list(state)[:3])}"
    )


def rename(state: dict[str, Tensor], table: list[tuple[str, str]]) -> dict[str, Tensor]:
    """Replace each key's prefix by the first pair of `table` that fits, then every part that a pair
    `*part` names, wherever it stands.

    Other keys stay as they are (the strict load then names them).
    """
    prefixes = [pair for pair in table if not pair[0].startswith("*")]
    parts = [(theirs[1:], ours) for theirs, ours in table if theirs.startswith("*")]
    renamed = {}
    for key, value in state.items():
        theirs, ours = next((pair for pair in prefixes if key.startswith(pair[0])), ("", ""))
        key = ours + key.removeprefix(theirs)
        for theirs, ours in parts:
            key = key.replace(theirs, ours)
        renamed[key] = value
    return renamed


def _tensor(value: object) -> object:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
