"""The keys of Shift-Net's published files and ours (models/shift_net.py).

Theirs name one PReLU once for every block that shares it, ours once. Rules of the authors' keys:
blocks of a level run in the order of their suffix (none, _1, _2), steps of a shift block likewise;
within a step .0 is the fusion of trunk and shifted channels, .1 the second one.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from utils.errors import UserError

# Parts of an attention block, of a fusion's body: theirs -> ours.
BLOCK = {
    "body.0": "conv1", "body.2": "conv2", "CA.conv_du.0": "attention.squeeze",
    "CA.conv_du.2": "attention.excite",
}  # fmt: skip
BODY = {
    "body.0": "expand", "body.1.conv_2": "local", "body.3.conv_1": "wide",
    "body.3.conv_2": "near", "body.4": "gate", "body.6.conv_du.0": "attention.squeeze",
    "body.6.conv_du.2": "attention.excite", "body.7": "project",
}  # fmt: skip
# Blocks of a U-Net: theirs -> ours.
UNET_BLOCKS = {
    "encoder_level1.0": "encoder.0.0",
    **{f"encoder_level2.{index}": f"encoder.1.{index}" for index in range(3)},
    **{f"encoder_level3.{index}": f"encoder.2.{index}" for index in range(3)},
    "decoder_level1.0": "decoder.0.0",
    **{f"decoder_level2.{index}": f"decoder.1.{index}" for index in range(3)},
    **{f"decoder_level3.{index}": f"decoder.2.{index}" for index in range(3)},
    "skip_attn1": "skip.0",
    "skip_attn2": "skip.1",
}
SAMPLING = {"down12.down": "down.0", "down23.down": "down.1", "up21.up.1": "up.0.conv"}
SAMPLING |= {"up32.up.1": "up.1.conv"}
OUTSIDE = {
    "feat_extract.0": "inward", "conv_trans": "transition", "rconcat": "outward",
    "conv_last": "ending", "stage1.down01.0": "fusion.shrink_conv",
    "stage1.upsample0.upsample_conv": "fusion.enlarge_conv", "stage1.conv_hr0": "fusion.join",
}  # fmt: skip
OWN_SLOPES = {
    "feat_extract.1.body.1.weight": "inward_slope",
    "stage1.down01.1.weight": "fusion.shrink_slope",
    "lrelu.weight": "unused.slope",
}


def our_entries(state: dict[str, Tensor], form: Any) -> dict[str, Tensor]:
    """Our entries of the authors' state dict for a Variant; unknown entries stay as they are.

    Raises UserError for slopes that differ although they belong to one shared PReLU.
    """
    modules, shared = _tables(form)
    known = set()
    ours = {}
    for key, theirs in shared.items():
        if not all(name in state for name in theirs):
            continue  # the strict load names what is missing
        if any(not torch.equal(state[name], state[theirs[0]]) for name in theirs):
            raise UserError(
                f"the slopes {theirs[0]} ... {theirs[-1]} differ, though they are one PReLU's"
            )
        ours[key] = state[theirs[0]]
        known.update(theirs)
    for key, value in state.items():
        if key in known:
            continue
        module, _, entry = key.rpartition(".")
        if key in OWN_SLOPES:
            ours[OWN_SLOPES[key]] = value
        elif key in modules:  # beta, a parameter without a module of its own
            ours[modules[key]] = value
        else:
            ours[f"{modules.get(module, module)}.{entry}"] = value
    return ours


def _tables(form: Any) -> tuple[dict[str, str], dict[str, list[str]]]:
    """({their module: ours}, {our shared slope: their keys})."""
    modules = dict(OUTSIDE)
    shared: dict[str, list[str]] = {}
    for theirs, ours in _unets(form):
        modules |= _joined(theirs, ours, SAMPLING)
        blocks = {f"{theirs}.{block}": f"{ours}.{own}" for block, own in UNET_BLOCKS.items()}
        for block, own in blocks.items():
            modules |= _joined(block, own, BLOCK)
        shared[f"{ours}.slope"] = [f"{block}.body.1.weight" for block in blocks]
    levels = len(form.encoder)
    modules |= _joined("stage1", "fusion", SAMPLING)
    blocks = dict(_fusion_blocks(form))
    for block, own in {**blocks, "feat_extract.1": "inward_block"}.items():
        modules |= _joined(block, own, BLOCK)
    slopes = [f"{block}.body.1.weight" for block in blocks]
    shared["fusion.slope"] = ["stage1.act.weight", *slopes]
    for level in range(levels):
        if form.shifts:
            modules |= _steps("encoder", level, form.encoder[level], form.steps)
        modules |= _steps("decoder", level, form.decoder[level], form.steps)
    return modules, shared


def _joined(theirs: str, ours: str, parts: dict[str, str]) -> dict[str, str]:
    return {f"{theirs}.{part}": f"{ours}.{own}" for part, own in parts.items()}


def _unets(form: Any) -> Iterator[tuple[str, str]]:
    for theirs, ours in (("orb", "first"), ("rorb", "last")):
        for index in range(form.unets):
            yield f"{theirs}{index + 1}", f"{ours}.{index}"
        for index in range(form.spare):
            yield f"{theirs}{form.unets + index + 1}", f"unused.{ours}.{index}"


def _fusion_blocks(form: Any) -> Iterator[tuple[str, str]]:
    """The attention blocks of the fusion."""
    if not form.shifts:
        for level, count in enumerate(form.encoder):
            for index in range(count):
                yield (
                    f"stage1.encoder_level{level + 1}{_suffix(index)}",
                    (f"fusion.encoder.{level}.{index}"),
                )
    yield "stage1.concat", "fusion.entry"
    for level in range(len(form.encoder) - 1):
        yield f"stage1.skip_attn{level + 1}", f"fusion.skip.{level}"
    yield "stage1.skip_conv", "fusion.outer_skip"
    yield "stage1.out_conv", "fusion.exit"


def _steps(side: str, level: int, count: int, steps: int) -> dict[str, str]:
    """The modules of a level's shift blocks."""
    modules: dict[str, str] = {}
    for index in range(count * steps):
        block, step = divmod(index, steps)
        theirs = f"stage1.{side}_level{level + 1}{_suffix(block)}.encoder_level1{_suffix(step)}"
        ours = f"fusion.{side}.{level}.steps.{index}"
        modules[f"{theirs}.0.conv1"] = f"{ours}.smooth"
        for fusion in (0, 1):
            for part in ("norm", "beta"):
                modules[f"{theirs}.{fusion}.{part}"] = f"{ours}.{part}{fusion + 1}"
            modules |= _joined(f"{theirs}.{fusion}", f"{ours}.body{fusion + 1}", BODY)
    return modules


def _suffix(index: int) -> str:
    return f"_{index}" if index else ""
