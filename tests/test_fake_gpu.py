"""Everything runs on a fake GPU: no tensor is on the wrong device, and types are as asked for.

Shapes, types and devices are real, values are not there. What can't be tried so: backward passes
(autograd asks for a CUDA context), streams and events, the search of DIS flow (OpenCV, on the
CPU), kernels.
"""

import contextlib
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses import LOSSES, weighted_losses
from losses.order import ordering
from methods.blur2vid.train import UnfoldTask
from methods.hypercut.train import OrderingTask
from methods.image_deblur.train import AdversarialPair, DeblurTask
from methods.irp.train import PotentialTask
from methods.video_deblur.train import VideoTask
from models import build
from models.dis_flow import DISFlow
from models.irp import brighten
from restoration import ImageRestorer, VideoRestorer
from tests.fake_gpu import MixedDevices, fake_autocast, fake_gpu, in_channels_last, on_gpu
from tests.test_precision import IMAGE_NETWORKS, OTHER_NETWORKS, VIDEO_NETWORKS
from utils.sampling import random_generator

GPU = torch.device("cuda", 0)
NETWORKS = {**IMAGE_NETWORKS, **OTHER_NETWORKS}


@pytest.fixture(autouse=True)
def without_a_driver(monkeypatch):
    """What asks for values, streams or events has a stand-in of the same shapes and devices."""

    def search(self, first, second, size):
        assert first[0].device.type == second[0].device.type == "cpu"
        return torch.zeros(len(first[0]), 2, *size)

    monkeypatch.setattr(DISFlow, "flow_between", search)
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda values, **options: values)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)  # Upload's
    monkeypatch.setattr("restoration.video.downloaded", lambda results: map(Tensor.cpu, results))
    for module in ("image", "sequence", "video"):  # whether results are of one colour
        monkeypatch.setattr(f"restoration.{module}.range_of", lambda image: 0.0)
        monkeypatch.setattr(f"restoration.{module}.checked", lambda restored, *others: restored)


@pytest.fixture
def autocast_on(monkeypatch):
    """The restorers' mixed precision, which torch.autocast would switch off without a driver."""

    def autocast(device, dtype):
        if device.type == "cuda":
            return fake_autocast(dtype)
        return contextlib.nullcontext()

    monkeypatch.setattr("utils.device.autocast", autocast)


def built(name: str, arguments: dict) -> nn.Module:
    with on_gpu:
        return in_channels_last(build(name, **arguments).eval())


def on_card(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="cuda")


def answer(name: str, network: nn.Module) -> torch.Tensor:
    """What a network of NETWORKS says of images of 80 x 120 px."""
    first = on_card(1, 3, 80, 120).contiguous(memory_format=torch.channels_last)
    second = on_card(1, 3, 80, 120)
    if name in IMAGE_NETWORKS:
        return network(first)
    if name == "hypercut":
        return network(on_card(1, 7, 3, 80, 120))
    if name == "jin":
        return network(first)
    if name == "irp":
        second = brighten(first, on_card(1))
    return network(first, second)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, torch.bfloat16) for name in NETWORKS if name != "jin"),  # whose fake run is slow
        *(("pwc_net", dtype) for dtype in (torch.float32, torch.float16)),
        *(("nafnet", dtype) for dtype in (torch.float32, torch.float16)),
        *(("irp", dtype) for dtype in (torch.float32, torch.float16)),
    ],
)
def test_networks_run_on_the_gpu_in_every_precision(name, dtype):
    with fake_gpu() as watch, torch.no_grad():
        network = built(*NETWORKS[name])
        watch.dtypes.clear()
        with fake_autocast(dtype):
            result = answer(name, network)
    assert result.device.type == "cuda"
    assert dtype in watch.dtypes["aten.convolution"]


@pytest.mark.parametrize(("tile", "ensemble"), [(0, True), (32, False)])
def test_pictures_are_restored_with_local_statistics_flips_and_tiles(tile, ensemble, autocast_on):
    with fake_gpu() as watch:
        network = built(*IMAGE_NETWORKS["nafnet"]).use_local_statistics()
        restorer = ImageRestorer(
            network,
            GPU,
            torch.bfloat16,
            ensemble=ensemble,
            gamma=2.2,
            tile=tile,
            overlap=8,
            memory=1e9,
        )
        restored = restorer.restore(torch.empty(3, 40, 56))
    assert restored.shape == (3, 40, 56) and restored.device.type == "cpu"
    assert restored.dtype == torch.float32
    assert torch.bfloat16 in watch.dtypes["aten.conv2d"] | watch.dtypes.get(
        "aten.convolution", set()
    )


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, torch.bfloat16) for name in VIDEO_NETWORKS), ("cdvd_tsp", torch.float32)],
)
def test_videos_are_restored(name, dtype, autocast_on):
    count = 3
    with fake_gpu():
        restorer = VideoRestorer(built(*VIDEO_NETWORKS[name]), GPU, dtype)
        frames = [torch.empty(3, 36, 52) for _ in range(count)]
        restored = list(restorer.stream(frames))
    assert [frame.shape for frame in restored] == [(3, 36, 52)] * count
    assert {frame.device.type for frame in restored} == {"cpu"}


def test_the_cascade_shows_flow_and_prior_and_restores_in_tiles():
    with fake_gpu(), torch.no_grad():
        network = built(*VIDEO_NETWORKS["cdvd_tsp"])
        network.tile = 396
        shown = network.previews(*(on_card(1, 3, 400, 420) for _ in range(3)))
        restored = network.restore_triplet(*(on_card(1, 3, 400, 420) for _ in range(3)))
    assert restored.shape == (1, 3, 400, 420)
    assert {values.device.type for values in shown.values()} == {"cuda"}


def generators() -> list[torch.Generator]:
    return [random_generator(1, number) for number in range(2)]


def video_step(name: str) -> dict:
    network = built(*VIDEO_NETWORKS[name]).train()
    task = SimpleNamespace(
        network=network,
        loss=dict.fromkeys(LOSSES, 1.0),
        config=SimpleNamespace(warm_start=0, psnr_floor=1e-3),
    )
    clip = on_card(2, network.frames, 3, 64, 64)
    return VideoTask.step(task, {"blurry": clip, "sharp": clip}, generators(), 0)


def image_step(name: str, adversarial: bool = False) -> dict:
    with on_gpu:
        network = build(*IMAGE_NETWORKS[name][:1], **IMAGE_NETWORKS[name][1])
        pair = AdversarialPair(network) if adversarial else network
    size = 256 if adversarial else 64
    loss = {**dict.fromkeys(LOSSES, 1.0), **({"ADV": 1.0} if adversarial else {})}
    config = SimpleNamespace(gamma_factor=2.2, psnr_floor=1e-3)
    task = SimpleNamespace(
        network=pair, restorer=network, forward=network.forward_scales, loss=loss, config=config
    )
    task._as_seen = lambda image: DeblurTask._as_seen(task, image)
    images = on_card(2, 3, size, size)
    return DeblurTask.step(task, {"blurry": images, "sharp": images}, generators(), 0)


def order_step() -> dict:
    task = SimpleNamespace(network=built(*OTHER_NETWORKS["hypercut"]))
    return OrderingTask.step(task, {"frames": on_card(2, 7, 3, 48, 48)}, generators(), 0)


def unfold_step(name: str, loss: str) -> dict:
    ordering_network = built(*OTHER_NETWORKS["hypercut"]) if loss == "hypercut" else None
    config = SimpleNamespace(loss_type=loss, centre_loss=True, flow_weight=1.0, alpha=0.5)
    task = SimpleNamespace(
        network=built(*OTHER_NETWORKS[name]), indices=list(range(7)), config=config
    )
    task.ordering = ordering_network
    task._order_scores = lambda predicted: UnfoldTask._order_scores(task, predicted)
    task._centre = lambda images, truth: truth[:, 3]
    batch = {"blurry": on_card(2, 3, 80, 80), "frames": on_card(2, 7, 3, 80, 80)}
    return UnfoldTask.step(task, batch, generators(), 0)


def potential_step() -> dict:
    config = SimpleNamespace(fresh_path=None, within=1.0, auxiliary_weight=0.0)
    task = SimpleNamespace(predictor=built(*OTHER_NETWORKS["irp"]), config=config)
    batch = {"image": on_card(2, 2, 3, 64, 64), "ratio": on_card(2, 2), "label": on_card(2, 2)}
    return PotentialTask.step(task, batch, generators(), 0)


STEPS = {
    "video, cascade": lambda: video_step("cdvd_tsp"),
    "video, recurrent": lambda: video_step("recurrent"),
    "image": lambda: image_step("nafnet"),
    "image, several scales": lambda: image_step("mimo_unet"),
    "image, guided": lambda: image_step("guided_nafnet"),
    "image, adversarial": lambda: image_step("deep_deblur", adversarial=True),
    "order": order_step,
    "unfold, Jin": lambda: unfold_step("jin", "naive"),
    "unfold, Purohit": lambda: unfold_step("purohit", "hypercut"),
    "potential": potential_step,
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, torch.bfloat16) for name in STEPS), ("video, cascade", torch.float32)],
)
def test_training_steps_reach_their_losses(name, dtype):
    """With gradients asked for; the graph is cut there, as backward wants a card."""
    with fake_gpu(), fake_autocast(dtype):
        losses = STEPS[name]()
    for loss in losses.values():
        assert loss.device.type == "cuda" and loss.dtype == torch.float32 and loss.ndim == 0
        assert loss.requires_grad


def test_losses_run_on_the_gpu():
    with fake_gpu():
        images = on_card(2, 3, 24, 32)
        values = weighted_losses(dict.fromkeys(LOSSES, 1.0), images, images, generators())
        values |= dict(zip(("apart", "together"), ordering(on_card(2, 6))))
    assert len(values) == len(LOSSES) + 2
    assert {value.device.type for value in values.values()} == {"cuda"}


PLANTED = {
    "a convolution": lambda gpu, cpu: F.conv2d(gpu, torch.empty(4, 3, 3, 3)),
    "the input of a convolution": lambda gpu, cpu: F.conv2d(cpu, gpu.new_empty(4, 3, 3, 3)),
    "an addition": lambda gpu, cpu: gpu + cpu,
    "cat": lambda gpu, cpu: torch.cat((gpu, cpu)),
    "positions without a device": lambda gpu, cpu: gpu.index_select(-1, torch.arange(4)),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_mistakes_are_seen(name):
    with fake_gpu(), pytest.raises((MixedDevices, RuntimeError), match="(?i)device|cpu"):
        PLANTED[name](on_card(1, 3, 8, 8), torch.empty(1, 3, 8, 8))


def test_mixed_precision_that_was_lost_is_seen():
    """The same convolution in and out of the block that stands for autocast."""
    with fake_gpu():
        image = on_card(1, 3, 8, 8)
        kernel = on_card(4, 3, 3, 3)
        with fake_autocast(torch.bfloat16):
            inside = F.conv2d(image, kernel)
        assert inside.dtype == torch.bfloat16
        assert F.conv2d(image, kernel).dtype == torch.float32


@pytest.mark.parametrize("name", ["nafnet"])
def test_memory_estimates_are_upper_bounds(name):
    """Of the tensors in use at once, at a size of which the weights are no large part."""
    from utils.device import memory_factor

    network_name, arguments = NETWORKS[name]
    side = 256
    for dtype in (torch.float32, torch.bfloat16):
        with fake_gpu() as watch, torch.no_grad():
            network = built(network_name, arguments).use_local_statistics()
            image = on_card(1, 3, side, side).contiguous(memory_format=torch.channels_last)
            before = watch.used
            watch.peak = 0
            with fake_autocast(dtype):
                network(image)
        needed = (watch.peak - before) / side**2
        allowed = network.bytes_per_pixel * memory_factor(GPU, dtype)
        assert 0 < needed <= allowed, (dtype, needed, allowed)
