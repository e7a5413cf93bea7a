"""export.py: other programs compute from its files what PyTorch computes."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from models import build
from restoration.export import FlowStage, Picture, write
from tests.test_precision import IMAGE_NETWORKS, SMALL_CASCADE
from utils.errors import UserError

onnx = pytest.importorskip("onnx", reason="needs requirements-export.txt")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs requirements-export.txt")

CASCADE = {**SMALL_CASCADE, "stages": 1, "downscale": 2, "global_skip": True}
EXPORTABLE = {  # what the others are made of, too; each takes seconds
    "light_dehaze": (Picture, IMAGE_NETWORKS["light_dehaze"]),
    "nafnet": (Picture, IMAGE_NETWORKS["nafnet"]),
    "behind OpenCV's flow": (FlowStage, ("cdvd_tsp", {**CASCADE, "flow": "dis"})),
}
BLOCKS = ((3, 5), (6, 4))  # sides of two sizes, in units of at least 24 px


def options(path, **others):
    values = {"format": path.suffix[1:], "output": path, "size": None, "local_statistics": False}
    return SimpleNamespace(**values | others)


def exportable(name):
    torch.manual_seed(0)
    kind, (network, arguments) = EXPORTABLE[name]
    return kind(build(network, **arguments).eval())


def images_for(part, blocks):
    unit = -(-24 // part.multiple) * part.multiple
    torch.manual_seed(1)
    size = [block * unit for block in blocks]
    return [torch.rand(1, channels, *size) for channels in part.inputs.values()]


def run(path, part, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {name: image.numpy() for name, image in zip(part.inputs, images)}
    return session.run([part.output], given)[0]


@pytest.mark.parametrize("name", EXPORTABLE)
def test_onnx_runtime_gives_the_result_of_torch_at_two_sizes(name, tmp_path):
    part = exportable(name)
    path = write(part, tmp_path / "small.safetensors", options(tmp_path / "net.onnx"))
    for blocks in BLOCKS:
        images = images_for(part, blocks)
        with torch.no_grad():
            expected = part(*images).numpy()
        assert np.abs(run(path, part, images) - expected).max() < 1e-4
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert metadata["multiple"] == str(part.multiple) and metadata["size"] == "any"
    assert metadata["network"] == type(part.network).__name__ and metadata["scale"] == "1"


def test_a_photo_network_runs_in_opencv(tmp_path):
    """At a fixed size, which OpenCV 4 asks for."""
    part = exportable("nafnet")
    path = write(part, tmp_path / "w.pth", options(tmp_path / "net.onnx", size=[64, 96]))
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = part(image).numpy()
    network = cv2.dnn.readNetFromONNX(str(path))
    network.setInput(image.numpy())
    assert np.abs(network.forward() - expected).max() < 1e-4


def test_parts_of_a_cascade_are_written_as_onnx_alone(tmp_path):
    part = exportable("behind OpenCV's flow")
    with pytest.raises(UserError, match="give --format onnx"):
        write(part, tmp_path / "w.pth", options(tmp_path / "net.pt2", size=[64, 64]))


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"local_statistics": True}, "--local_statistics needs --size HEIGHT WIDTH"),
        ({"size": [64, 66]}, "both multiples of 4"),
        ({"format": "pt2"}, "must end in .pt2"),
    ],
)
def test_what_can_not_be_exported_is_said(others, said, tmp_path):
    with pytest.raises(UserError, match=said):
        write(exportable("nafnet"), tmp_path / "w.pth", options(tmp_path / "net.onnx", **others))


def test_networks_that_can_not_be_exported_are_named():
    network, arguments = IMAGE_NETWORKS["guided_nafnet"]
    with pytest.raises(UserError, match="IRP guides can't be exported"):
        Picture(build(network, **arguments))
    recurrent = build("cdvd_tsp", **{**CASCADE, "flow": "dis", "recurrent": True})
    with pytest.raises(UserError, match="recurrent cascade can't be exported"):
        FlowStage(recurrent)
