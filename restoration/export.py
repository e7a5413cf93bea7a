"""A network as one file for other programs: ONNX, or PyTorch's .pt2.

What is exported takes and gives images [1,3,H,W], RGB in [0,1], gamma-encoded. Metadata in the file
say what they must be (`metadata_of`).
"""

import importlib.util
import json
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from models.cdvd_tsp import CDVDTSP
from models.contracts import ImageNetwork
from models.guided_nafnet import GuidedNAFNet
from models.pwc_net import PWCNet
from utils.errors import UserError
from utils.files import atomic_path

TRACED = 4  # sides of the images that a network of any size is traced with, in its multiples
OPSET = 20  # of ONNX: the first whose GridSample is the one that warps use
NEEDED = ("onnx", "onnxscript")  # for ONNX
MIN_SIDE = 64  # px, of the traced images


class Options(Protocol):
    """What a method's export options say."""

    format: str
    output: Path | None
    size: list[int] | None
    local_statistics: bool


class Exportable(nn.Module):
    """A network of images by name, as it is exported.

    inputs: {name: channels}; output: its name; multiple: H and W are multiples of it.
    """

    inputs: dict[str, int]
    output: str
    multiple: int
    network: nn.Module


class Picture(Exportable):
    """A single-image network; raises UserError for one that can't be exported."""

    output = "restored"

    def __init__(self, network: ImageNetwork):
        super().__init__()
        if isinstance(network, GuidedNAFNet):
            raise UserError(
                "a NAFNet that IRP guides can't be exported, as it counts a histogram of the image"
            )
        self.network = network
        self.inputs = {"blurry": 3}
        self.multiple = network.multiple

    def forward(self, blurry: Tensor) -> Tensor:
        return self.network(blurry)


class Flow(Exportable):
    """PWC-Net: flow [1,2,H,W] in px that says where each pixel of `first` lies in `second`."""

    output = "flow"
    multiple = 64  # other sizes are resized to it; those that are need no resizing

    def __init__(self, network: PWCNet):
        super().__init__()
        self.network = network.use_plain_correlation()
        self.inputs = {"first": 3, "second": 3}

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.network(first, second)


class Stage(Exportable):
    """A stage of a cascade with learned flow; T stages are T rounds of calls over the frames."""

    output = "restored"

    def __init__(self, network: CDVDTSP):
        super().__init__()
        network.flow.use_plain_correlation()
        self.network = _not_recurrent(network)
        self.inputs = {"previous": 3, "centre": 3, "following": 3}
        self.multiple = max(network.multiple, 64)

    def forward(self, previous: Tensor, centre: Tensor, following: Tensor) -> Tensor:
        return self.network.restore_triplet(previous, centre, following)


class FlowStage(Exportable):
    """A stage of a cascade behind its flow, which OpenCV's DIS gives: [1,2,H,W] in px, from the
    centre to either neighbour.
    """

    output = "restored"

    def __init__(self, network: CDVDTSP):
        super().__init__()
        self.network = _not_recurrent(network)
        flows = {"flow_to_previous": 2, "flow_to_following": 2}
        self.inputs = {"previous": 3, "centre": 3, "following": 3, **flows}
        self.multiple = network.multiple

    def forward(
        self,
        previous: Tensor,
        centre: Tensor,
        following: Tensor,
        flow_to_previous: Tensor,
        flow_to_following: Tensor,
    ) -> Tensor:
        triplet = (previous, centre, following)
        flow = torch.cat((flow_to_previous, flow_to_following))
        return self.network.reconstruct(triplet, flow, previous)


def write(exportable: Exportable, weights: Path, options: Options) -> Path:
    """Write the file that the options ask for, say where it is, and return its path.

    Raises UserError for a size that the network does not take, and for missing packages.
    """
    name = weights.name if weights.is_dir() else weights.stem
    path = options.output or Path(f"{name}.{options.format}")
    _check(exportable, path, options)
    exportable.eval().requires_grad_(False)
    local = exportable.network
    if hasattr(local, "use_local_statistics"):
        local.use_local_statistics(options.local_statistics)
    metadata = metadata_of(exportable, weights, options)
    path.parent.mkdir(parents=True, exist_ok=True)
    program = _traced(exportable, options)
    with atomic_path(path) as temporary:
        if options.format == "onnx":
            _save_onnx(exportable, program, temporary, metadata)
        else:
            extra = {"metadata.json": json.dumps(metadata, indent=1)}
            torch.export.save(program, temporary, extra_files=extra)
    inputs = ", ".join(f"{key} [1,{channels},H,W]" for key, channels in exportable.inputs.items())
    size = metadata["size"]
    sides = f"multiples of {exportable.multiple}" if size == "any" else size
    print(f"wrote {path}: {inputs} -> {exportable.output}; H and W: {sides}")
    return path


def metadata_of(exportable: Exportable, weights: Path, options: Options) -> dict[str, str]:
    """What a user of the file must know, by name."""
    size = "any"
    if options.size:
        size = f"{options.size[0]}x{options.size[1]}"
    return {
        "network": type(exportable.network).__name__,
        "part": type(exportable).__name__,
        "weights": weights.name,
        "multiple": str(exportable.multiple),
        "size": size,  # height x width
        "scale": "1",  # of the result's sides to the input's
        "range": "RGB in [0,1], gamma-encoded, not clamped; flow in px of the image",
        "local_statistics": str(options.local_statistics).lower(),
    }


def _not_recurrent(network: CDVDTSP) -> CDVDTSP:
    if network.recurrent:
        raise UserError("a recurrent cascade can't be exported: each result needs the one before")
    return network


def _check(exportable: Exportable, path: Path, options: Options) -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if options.format == "onnx" and missing:
        raise UserError(f"{', '.join(missing)} is missing: pip install -r requirements-export.txt")
    if options.format == "pt2" and not isinstance(exportable, Picture):
        raise UserError(
            "torch can't write a cascade's stage or flow as .pt2 (its blocks without autocast): "
            "give --format onnx"
        )
    if path.suffix != f".{options.format}":
        raise UserError(f"--output {path} must end in .{options.format}, as --format says")
    if options.local_statistics and not options.size:
        raise UserError(
            "--local_statistics needs --size HEIGHT WIDTH: windows are laid out for one size"
        )
    sides = options.size or [exportable.multiple] * 2
    if len(sides) != 2 or any(side < 1 or side % exportable.multiple for side in sides):
        raise UserError(
            f"--size {' '.join(map(str, sides))}: give height and width, both multiples of "
            f"{exportable.multiple}"
        )


def _examples(exportable: Exportable, size: list[int] | None) -> tuple[Tensor, ...]:
    """Images to trace the network with; of a network of any size not square, so that height and
    width are not taken for one.
    """
    if not size:
        blocks = max(TRACED, -(-MIN_SIDE // exportable.multiple))
        size = [blocks * exportable.multiple, (blocks + 1) * exportable.multiple]
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.rand(1, channels, *size, generator=generator)
        for channels in exportable.inputs.values()
    )


def _traced(exportable: Exportable, options: Options) -> torch.export.ExportedProgram:
    shapes = None
    if not options.size:
        height, width = (
            exportable.multiple * torch.export.Dim(name, min=2, max=4096)
            if exportable.multiple > 1
            else torch.export.Dim(name, min=32, max=2**14)
            for name in ("height", "width")
        )
        shapes = {name: {2: height, 3: width} for name in exportable.inputs}
    with torch.no_grad():
        return torch.export.export(
            exportable, _examples(exportable, options.size), dynamic_shapes=shapes
        )


def _save_onnx(
    exportable: Exportable,
    program: torch.export.ExportedProgram,
    path: Path,
    metadata: dict[str, str],
) -> None:
    import onnx

    found = torch.onnx.export(
        program,
        input_names=list(exportable.inputs),
        output_names=[exportable.output],
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    model = found.model_proto
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)
