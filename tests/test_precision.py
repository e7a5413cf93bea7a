"""Mixed precision: it holds for every frame of a video, and for every network at awkward sizes."""

import ast
from pathlib import Path

import pytest
import torch
from torch import nn

from models import build
from models.irp import brighten
from models.published import load_published
from restoration.video import VideoRestorer
from utils.device import autocast, each_in_inference

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
SIZES = [
    (180, 320), (36, 64), (100, 76), (52, 84), (33, 47), (64, 128), (40, 200), (97, 65), (48, 48), (72, 56), (128, 36), (61, 35),
]  # fmt: skip
SMALL_CASCADE = {"width": 8, "blocks": 1, "kernel_size": 3}
SMALL_NAFNET = {"width": 8, "encoder": [1, 1], "middle": 1, "decoder": [1, 1]}
# name -> (network, arguments)
VIDEO_NETWORKS = {
    "cdvd_tsp": ("cdvd_tsp", SMALL_CASCADE),
    "one stage, DIS": (
        "cdvd_tsp",
        {**SMALL_CASCADE, "stages": 1, "flow": "dis", "downscale": 2, "global_skip": True},
    ),
    "NAFNet body": (
        "cdvd_tsp",
        {"stages": 1, "flow": "dis", "body": "naf", "width": 8, "blocks": 1, "downscale": 2},
    ),
    "recurrent": ("cdvd_tsp", {**SMALL_CASCADE, "stages": 1, "flow": "dis", "recurrent": True}),
}
IMAGE_NETWORKS = {
    "deep_deblur": ("deep_deblur", {"width": 16, "blocks": 1}),
    "guided_nafnet": (
        "guided_nafnet",
        {**SMALL_NAFNET, "irp": {"backbone": "light", "channels": 64}},
    ),
    "light_dehaze": ("light_dehaze", {"width": 12}),
    "mimo_unet": ("mimo_unet", {"width": 8, "blocks": 1}),
    "nafnet": ("nafnet", SMALL_NAFNET),
    "no_blur": ("no_blur", {"width": 8}),
    "restormer": ("restormer", {"width": 16, "blocks": [1, 1, 1, 1], "refinement": 1}),
    "srn": ("srn", {"width": 8}),
    "srn lstm": ("srn", {"variant": "lstm", "width": 8}),
}
OTHER_NETWORKS = {
    "hypercut": ("hypercut", {"width": 8, "blocks": 1}),
    "irp": ("irp", {"backbone": "light", "channels": 64}),
    "jin": ("jin", {"width": 2}),
    "purohit": ("purohit", {"width": 16, "flow_channels": [8, 8, 16]}),
    "pwc_net": ("pwc_net", {}),
}


def network_of(table: dict, name: str) -> nn.Module:
    torch.manual_seed(0)
    network, arguments = table[name]
    return build(network, **arguments).eval()


def outputs_seen(network: nn.Module) -> list[torch.dtype]:
    """The dtypes that the network's convolutions give from now on, in order."""
    seen = []

    def note(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        seen.append(output.dtype)

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    return seen


@pytest.mark.parametrize("name", VIDEO_NETWORKS)
def test_every_frame_of_a_video_is_computed_in_the_asked_precision(name):
    network = network_of(VIDEO_NETWORKS, name)
    seen = outputs_seen(network.reconstruction)
    frames = list(torch.rand(7, 3, 32, 48))
    restored = VideoRestorer(network, CPU, torch.bfloat16).stream(frames)
    layers = None
    for count, frame in enumerate(restored, 1):
        assert frame.dtype == torch.float32
        assert set(seen) == {torch.bfloat16}, f"frame {count}"
        if count > 1:  # the first result needs several frames
            assert layers in (None, len(seen)), "as many layers for every frame"
            layers = len(seen)
        seen.clear()
        assert not torch.is_inference_mode_enabled() and not torch.is_autocast_enabled("cpu")
    assert count == 7


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
def test_the_published_cascade_streams_in_bf16_at_awkward_sizes(golden, size):
    """In bf16 and in float32, two frames of each: near each other, and never a mixture that the
    correlation refuses.
    """
    network = load_published("cdvd_tsp", golden("cdvd_tsp").state())
    torch.manual_seed(0)
    frames = list(torch.rand(2, 3, *size))
    for frame in VideoRestorer(network, CPU, torch.bfloat16).stream(frames):
        assert frame.shape == (3, *size) and frame.isfinite().all()


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_image_networks_are_right_in_bf16_at_awkward_sizes(name):
    network = network_of(IMAGE_NETWORKS, name)
    torch.manual_seed(1)
    for size in SIZES[1:]:
        image = torch.rand(1, 3, *size)
        with torch.inference_mode():
            exact = network(image)
            with autocast(CPU, torch.bfloat16):
                rounded = network(image).float()
        error = (rounded - exact).square().mean().sqrt() / exact.square().mean().sqrt()
        assert rounded.shape == image.shape and error < 0.05, (size, float(error))


def answer(name: str, network: nn.Module, size: tuple[int, int]) -> torch.Tensor:
    """What a network of another kind says of random pictures of about that size (enlarged to what
    it takes).
    """
    size = [max(-(-side // 40) * 40, 80) for side in size]
    torch.manual_seed(1)
    pictures = torch.rand(1, 7, 3, *size)
    calls = {
        "hypercut": lambda: network.vectors(pictures[:, :2].flatten(1, 2)),
        "irp": lambda: network(pictures[:, 0], brighten(pictures[:, 0])),
        "jin": lambda: network(pictures[:, 0]),
        "purohit": lambda: network(pictures[:, 0], pictures[:, 1]),
        "pwc_net": lambda: network(pictures[:, 0], pictures[:, 1]),
    }
    return calls[name]().float()


@pytest.mark.parametrize("name", OTHER_NETWORKS)
def test_other_networks_are_right_in_bf16_at_awkward_sizes(name):
    network = network_of(OTHER_NETWORKS, name)
    for size in SIZES[1:]:
        with torch.inference_mode():
            exact = answer(name, network, size)
            with autocast(CPU, torch.bfloat16):
                rounded = answer(name, network, size)
        error = (rounded - exact).square().mean().sqrt() / exact.square().mean().sqrt()
        assert rounded.shape == exact.shape and error < 0.05, (size, float(error))


def test_what_is_computed_step_by_step_sees_the_modes_and_the_consumer_does_not():
    def steps():
        for _ in range(3):
            yield torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")

    for modes in each_in_inference(steps(), CPU, torch.bfloat16):
        assert modes == (True, True)
        assert not torch.is_inference_mode_enabled() and not torch.is_autocast_enabled("cpu")
        with torch.inference_mode():  # a consumer with a mode of its own changes nothing
            pass


MODES = {"inference_mode", "no_grad", "enable_grad", "set_grad_enabled", "autocast", "inference"}


def modes_held_across_a_yield(source: str) -> list[str]:
    """Names of the generators that hold one of torch's modes open while they give away a value
    (context managers may).
    """
    found = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        decorators = {names_in(node) for node in function.decorator_list}
        own = [node for part in function.body for node in own_nodes(part)]
        held = [
            item.context_expr
            for node in own
            if isinstance(node, ast.With) and yields(node)
            for item in node.items
        ]
        held_modes = [node for node in held if names_in(node) in MODES]
        if "contextmanager" in decorators:
            continue
        if held_modes or (
            decorators & MODES and any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in own)
        ):
            found.append(function.name)
    return found


def names_in(node: ast.expr) -> str:
    """The last name of a call or attribute: inference_mode of torch.inference_mode()."""
    node = node.func if isinstance(node, ast.Call) else node
    return getattr(node, "attr", getattr(node, "id", ""))


def own_nodes(node: ast.AST) -> list[ast.AST]:
    """The node and all below it but what belongs to functions inside."""
    if isinstance(node, (ast.FunctionDef, ast.Lambda)):
        return []
    return [node, *(below for child in ast.iter_child_nodes(node) for below in own_nodes(child))]


def yields(node: ast.AST) -> bool:
    return any(isinstance(below, (ast.Yield, ast.YieldFrom)) for below in own_nodes(node))


def test_no_generator_holds_a_mode_of_torch_across_a_yield():
    folders = ("models", "restoration", "methods", "data", "losses", "utils", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert {
        str(path): names for path in files if (names := modes_held_across_a_yield(path.read_text()))
    } == {}


@pytest.mark.parametrize(
    "source",
    [
        "@torch.inference_mode()\ndef stream(frames):\n    for frame in frames:\n        yield "
        "frame",
        "def stream(frames):\n    with autocast(device, dtype):\n        yield from frames",
        "def stream(frames):\n    with open(x), torch.no_grad():\n        for frame in frames:\n "
        "           yield frame",
    ],
)
def test_a_planted_generator_is_seen(source):
    assert modes_held_across_a_yield(source) == ["stream"]
