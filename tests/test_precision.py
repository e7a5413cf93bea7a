"""Mixed precision: it holds for every frame of a video, and for every network at awkward sizes."""

import ast
from collections.abc import Iterable
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
# fmt: off
SIZES = [  # (height, width)
    (180, 320), (36, 64), (100, 76), (52, 84), (33, 47), (64, 128),
    (40, 200), (97, 65), (48, 48), (72, 56), (128, 36), (61, 35),
]
# fmt: on
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


def relative_error(values: torch.Tensor, reference: torch.Tensor) -> float:
    """Root mean square of the difference over that of the reference."""
    difference = (values - reference).square().mean().sqrt()
    return float(difference / reference.square().mean().sqrt())


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
    """Two frames: no mixture of bf16 and float32 reaches the correlation, which would refuse it."""
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
        assert rounded.shape == image.shape
        assert relative_error(rounded, exact) < 0.05, size


def answer(name: str, network: nn.Module, size: tuple[int, int]) -> torch.Tensor:
    """What a network of another kind says of random images.

    They are about that size, enlarged to what the network takes.
    """
    size = [max(-(-side // 40) * 40, 80) for side in size]
    torch.manual_seed(1)
    first, second = torch.rand(2, 1, 3, *size)
    if name == "hypercut":
        return network.vectors(torch.cat((first, second), 1)).float()
    if name == "jin":
        return network(first).float()
    if name == "irp":
        second = brighten(first)
    return network(first, second).float()


@pytest.mark.parametrize("name", OTHER_NETWORKS)
def test_other_networks_are_right_in_bf16_at_awkward_sizes(name):
    network = network_of(OTHER_NETWORKS, name)
    for size in SIZES[1:]:
        with torch.inference_mode():
            exact = answer(name, network, size)
            with autocast(CPU, torch.bfloat16):
                rounded = answer(name, network, size)
        assert rounded.shape == exact.shape
        assert relative_error(rounded, exact) < 0.05, size


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
    """Names of the generators that hold one of torch's modes open while they give away a value.

    Context managers may.
    """
    found = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        decorators = {names_in(node) for node in function.decorator_list}
        if "contextmanager" in decorators:
            continue
        own = nodes_of(function.body)
        is_generator = any(map(is_yield, own))
        if (is_generator and decorators & MODES) or any(map(holds_a_mode, own)):
            found.append(function.name)
    return found


def holds_a_mode(node: ast.AST) -> bool:
    """Is this a `with` of one of torch's modes that has a yield inside?"""
    if not isinstance(node, ast.With):
        return False
    modes = {names_in(item.context_expr) for item in node.items} & MODES
    return bool(modes) and any(map(is_yield, nodes_of([node])))


def names_in(node: ast.expr) -> str:
    """The last name of a call or attribute: inference_mode of torch.inference_mode()."""
    if isinstance(node, ast.Call):
        node = node.func
    return getattr(node, "attr", getattr(node, "id", ""))


def nodes_of(statements: Iterable[ast.AST]) -> list[ast.AST]:
    """The nodes and all below them but what belongs to functions inside."""
    found = []
    for node in statements:
        if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            found.append(node)
            found += nodes_of(ast.iter_child_nodes(node))
    return found


def is_yield(node: ast.AST) -> bool:
    return isinstance(node, (ast.Yield, ast.YieldFrom))


def test_no_generator_holds_a_mode_of_torch_across_a_yield():
    found = {}
    for folder in ("models", "restoration", "methods", "data", "losses", "utils", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            found[str(path)] = modes_held_across_a_yield(path.read_text())
    assert {path: names for path, names in found.items() if names} == {}


DECORATED = """
@torch.inference_mode()
def stream(frames):
    for frame in frames:
        yield frame
"""
DELEGATING = """
def stream(frames):
    with autocast(device, dtype):
        yield from frames
"""
SECOND_OF_TWO = """
def stream(frames):
    with open(x), torch.no_grad():
        for frame in frames:
            yield frame
"""


@pytest.mark.parametrize("source", [DECORATED, DELEGATING, SECOND_OF_TWO])
def test_a_planted_generator_is_seen(source):
    assert modes_held_across_a_yield(source) == ["stream"]
