"""The parts of gpu_check: each asks one question and notes what it found in a Check."""

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.gpu_contracts import Check, Part
from benchmarks.timing import median_s
from models import build, sizes
from models.contracts import ImageNetwork, SequenceNetwork, VideoNetwork
from models.correlation import correlation
from models.correlation_cupy import obstacle_to_cupy
from models.irp import brighten
from restoration import ImageRestorer, VideoRestorer
from utils.checkpoint import load_checkpoint
from utils.config import ROOT
from utils.device import DTYPES, autocast, available_memory, choose_precision

SIDE = 256  # px, of the images that results are compared on
LOWEST_PSNR = {"fp32": 75.0, "tf32": 50.0, "bf16": 30.0, "fp16": 45.0}  # dB, to float32 on the CPU
SMALL = {  # of the networks that a test on a CPU takes: (network, arguments)
    "NAFNet": ("nafnet", {"width": 4, "encoder": [1], "middle": 1, "decoder": [1]}),
    "CDVD-TSP": ("cdvd_tsp", {"stages": 1, "width": 4, "blocks": 1, "kernel_size": 3}),
    "IRP": ("irp", {"backbone": "light", "channels": 16}),
}
OTHERS = {"PWC-Net": ("pwc_net", {}), "HyperCUT": ("hypercut", {}), "IRP": ("irp", {})}


def networks_of(check: Check) -> dict[str, tuple[str, dict]]:
    """The networks that are tried, with published sizes."""
    if check.tiny:
        return SMALL
    found = {}
    for kind in (ImageNetwork, VideoNetwork, SequenceNetwork):
        found |= sizes(kind)
    return {**found, **OTHERS}


def ready(name: str, arguments: dict) -> nn.Module:
    """A network with fixed random weights, which say as much about arithmetic as trained ones."""
    torch.manual_seed(0)
    return build(name, **arguments).eval()


def answer_of(network: nn.Module, name: str, image: Tensor) -> Tensor:
    """What any network says of an image [1,3,H,W] and its mirrored neighbours, float32."""
    other = image.flip(-1)
    if isinstance(network, VideoNetwork):
        clip = torch.stack([image, other] * network.frames, 1)[:, : network.frames]
        return network.restore_clip(clip).float()
    if name == "hypercut":
        return network(torch.stack([image, other, image, other, image, other, image], 1)).float()
    if name == "irp":
        return network(image, brighten(image, 2.0)).float()
    if name == "pwc_net" or getattr(network, "needs_centre", False):
        return network(image, other).float()
    return network(image).float()


def machine(check: Check) -> None:
    """Driver, card and versions."""
    versions = {"torch": torch.__version__, "CUDA of torch": torch.version.cuda}
    versions["cuDNN"] = torch.backends.cudnn.version()
    versions["Python"] = sys.version.split()[0]
    if check.device.type == "cuda":
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            memory = card.total_memory / 2**30
            versions[f"cuda:{index}"] = f"{card.name}, {card.major}.{card.minor}, {memory:.0f} GB"
        versions["driver"] = _driver()
        maps = torch.zeros(1, 1, 2, 2, device=check.device)
        versions["correlation kernels"] = obstacle_to_cupy(maps) or "compile and run"
        check.expect(not obstacle_to_cupy(maps), versions["correlation kernels"])
    check.rows = [{"what": name, "found": str(value)} for name, value in versions.items()]


def _driver() -> str:
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(words, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown ({error})"
    return found.stdout.split("\n")[0]


def networks(check: Check) -> None:
    """Every network on the device against float32 on the CPU."""
    side = 64 if check.tiny else SIDE
    torch.manual_seed(1)
    image = torch.rand(1, 3, side, side)
    known = networks_of(check)
    for title in check.each(known):
        name, arguments = known[title]
        network = ready(name, arguments)
        multiple = getattr(network, "multiple", 1)
        cropped = image[..., : side // multiple * multiple, : side // multiple * multiple]
        with torch.inference_mode():
            expected = answer_of(network, name, cropped)
        network = network.to(check.device, memory_format=torch.channels_last)
        for precision in ("fp32", "bf16") if check.tiny else LOWEST_PSNR:
            row = {"network": title, "precision": precision}
            dtype = choose_precision(precision, check.device)
            with torch.inference_mode(), autocast(check.device, dtype):
                found = answer_of(network, name, cropped.to(check.device)).cpu()
            row |= compared(found, expected)
            check.rows.append(row)
            enough = row["psnr"] >= LOWEST_PSNR[precision]
            check.expect(enough, f"{title} in {precision}: {row['psnr']:.1f} dB to the CPU")
        choose_precision("fp32", check.device)


def compared(found: Tensor, expected: Tensor) -> dict[str, float]:
    """Largest difference, and PSNR where the largest value expected is the peak, dB."""
    difference = (found - expected).abs()
    peak = expected.abs().max().clamp(min=1e-12)
    error = (difference.double() / peak).square().mean().clamp(min=1e-20)
    return {"difference": float(difference.max()), "psnr": float(-10 * error.log10())}


def kernels(check: Check) -> None:
    """The cost volume and its gradients against the plain form."""
    shapes = [(1, 33, 45, 83), (2, 19, 11, 13)]
    if check.tiny:
        shapes = [(1, 3, 5, 7)]
    tolerance = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 1e-1}
    impl = "cupy" if check.device.type == "cuda" else "auto"
    for shape, dtype in product(shapes, tolerance):
        torch.manual_seed(0)
        maps = [torch.randn(shape, device=check.device).to(dtype) for _ in range(2)]
        results = []
        for form, kind in ((impl, dtype), ("reference", torch.float32)):
            own = [values.detach().to(kind).requires_grad_() for values in maps]
            volume = correlation(*own, 4, form)
            torch.manual_seed(1)
            volume.backward(torch.randn(volume.shape, device=check.device).to(dtype).to(kind))
            results.append([volume.detach().float(), own[0].grad.float(), own[1].grad.float()])
        worst = max(float((a - b).abs().max()) for a, b in zip(*results))
        check.rows.append({"shape": str(shape), "dtype": str(dtype), "difference": worst})
        check.expect(worst <= tolerance[dtype], f"{shape} {dtype}: {worst:.2g} off")
    maps = [torch.randn(1, 2, 4, 6, device=check.device, requires_grad=True) for _ in range(2)]
    with warnings.catch_warnings():
        # it asks for float64; a function linear in either map has exact wide differences
        warnings.simplefilter("ignore", UserWarning)
        torch.autograd.gradcheck(
            lambda *both: correlation(*both, 2, impl), maps, eps=0.1, atol=1e-3, rtol=1e-3
        )


def streams(check: Check) -> None:
    """Frame by frame gives what whole clips give."""
    tolerance = 1e-4
    found = {"CDVD-TSP": ("cdvd_tsp", {"width": 8, "blocks": 1, "kernel_size": 3})}
    if not check.tiny:
        found |= {"CDVD-TSP, published": ("cdvd_tsp", {})}
    for title in check.each(found):
        network = ready(*found[title]).to(check.device)
        torch.manual_seed(1)
        clip = torch.rand(1, network.frames + 2, 3, 64, 64, device=check.device)
        with torch.inference_mode():
            windows = network.restore_clip(clip)
            streamed = torch.stack(list(network.stream(clip.unbind(1))), 1)
        worst = float((windows - streamed).abs().max())
        check.rows.append({"network": title, "difference": worst})
        check.expect(worst <= tolerance, f"{title}: {worst:.2g} off")


def compiled(check: Check) -> None:
    """torch.compile gives what eager gives."""
    backend = "aot_eager" if check.tiny else "inductor"
    image = torch.rand(1, 3, 64, 64, device=check.device)
    for title in check.each(["NAFNet"]):
        network = ready(*SMALL[title]).to(check.device)
        with torch.inference_mode():
            expected = network(image)
            found = torch.compile(network, backend=backend)(image)
        worst = float((found - expected).abs().max())
        check.rows.append({"network": title, "difference": worst})
        check.expect(worst <= 1e-4, f"{title}: {worst:.2g} off")
    torch.compiler.reset()


def processes(check: Check) -> None:
    """Training on all GPUs, and going on with another number of them, is training on one."""
    count = torch.cuda.device_count() if check.device.type == "cuda" else 2
    if count == 1:
        check.note = "one GPU: several can't be compared"
        count = 1
    with tempfile.TemporaryDirectory() as folder:
        for name, parts in check_runs(count).items():
            for number, steps in parts:
                _train(Path(folder) / name, number, steps, check.device)
        expected = _weights(Path(folder) / "one")
        for name in check_runs(count):
            worst = float((_weights(Path(folder) / name) - expected).abs().max())
            check.rows.append({"run": name, "difference": worst})
            check.expect(worst <= 1e-3, f"{name}: weights {worst:.2g} off")


def check_runs(count: int) -> dict[str, list[tuple[int, int]]]:
    """{run: (processes, steps at the end) one after the other}."""
    runs = {"one": [(1, 8)], "one, resumed": [(1, 4), (1, 8)]}
    if count > 1:
        runs[f"{count}"] = [(count, 8)]
        runs[f"one, then {count}"] = [(1, 4), (count, 8)]
    return runs


def _train(folder: Path, count: int, steps: int, device: torch.device) -> None:
    program = ["-m", "benchmarks.gpu_training", folder, str(steps), device.type]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    words = [sys.executable, *(launcher if count > 1 else []), *program]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=240)
    if done.returncode:
        raise RuntimeError(f"{count} processes failed:\n{done.stderr[-2000:]}")


def _weights(folder: Path) -> Tensor:
    network = load_checkpoint(folder / "last.pt")["network"]
    return torch.cat([value.flatten().float() for value in network.values()])


def memory(check: Check) -> None:
    """The memory estimates are upper bounds, at most half as much again as is used."""
    known = {name: entry for name, entry in networks_of(check).items() if name in _images(check)}
    for title, precision in product(check.each(known), ("fp32", "bf16")):
        network = ready(*known[title]).to(check.device, memory_format=torch.channels_last)
        restorer = ImageRestorer(network, check.device, DTYPES[precision])
        side = 64 if check.tiny else 640
        estimate = restorer.bytes_needed((side, side))
        row = {"network": title, "precision": precision, "estimate GB": estimate / 2**30}
        if check.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(check.device)
            before = torch.cuda.memory_allocated(check.device)
            restorer.restore(torch.rand(3, side, side))
            used = torch.cuda.max_memory_allocated(check.device) - before
            row |= {"used GB": used / 2**30, "ratio": estimate / used}
            check.expect(1 <= row["ratio"] <= 1.5, f"{title} in {precision}: {row['ratio']:.2f}")
        else:
            restorer.restore(torch.rand(3, side, side))
        check.rows.append(row)
    check.note = f"{available_memory(check.device) / 2**30:.1f} GB are free"


def _images(check: Check) -> set[str]:
    return {"NAFNet"} if check.tiny else set(sizes(ImageNetwork))


def marked_tests(check: Check) -> None:
    """The tests that are marked `gpu`."""
    chosen = ["tests/models/test_correlation_cuda.py"]
    if check.tiny:
        chosen.append("--collect-only")
    words = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "gpu", *chosen]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=240)
    check.note = done.stdout.strip().splitlines()[-1]
    check.expect(done.returncode == 0, done.stdout[-1500:])


def speed(check: Check) -> None:
    """Frames, images and samples per second; nothing is judged."""
    timed: dict[str, Callable[[], dict]] = {}
    precision = "bf16"
    videos = {"shipped": None} if check.tiny else {"shipped": None, **sizes(VideoNetwork)}
    frames = [(48, 64)] if check.tiny else [(720, 1280), (1080, 1920)]
    for (title, entry), size in product(videos.items(), frames):
        timed[f"{title}, {size[1]}x{size[0]}"] = partial(_video_rate, check, entry, size)
    images = {"NAFNet": SMALL["NAFNet"]} if check.tiny else sizes(ImageNetwork)
    for (title, entry), side in product(images.items(), (48,) if check.tiny else (256, 512, 720)):
        timed[f"{title}, {side}x{side}"] = partial(_image_rate, check, entry, side)
    for title, entry in images.items():
        timed[f"training {title}"] = partial(_training_rate, check, entry)
    for name in check.each(timed):
        check.rows.append({"what": f"{name}, {precision}", **timed[name]()})
    if check.device.type == "cuda":
        from benchmarks.correlation import bandwidth

        for row in bandwidth(5):
            words = f"correlation, {row['channels']} channels, {row['dtype']}"
            rate = f"{row['GB/s']:.0f} GB/s, {row['of_copy']:.2f} of copying"
            check.rows.append({"what": words, "rate": rate})


def _video_rate(check: Check, entry: tuple[str, dict] | None, size: tuple[int, int]) -> dict:
    if entry is None:
        restorer = VideoRestorer.load(device=check.device.type, precision="bf16")
    else:
        network = ready(*entry).to(check.device, memory_format=torch.channels_last)
        restorer = VideoRestorer(network, check.device, torch.bfloat16)
    restorer.plan_memory(size)
    count = 3 if check.tiny else 12
    frames = [torch.rand(3, *size) for _ in range(2)] * (count // 2 + 1)
    seconds = median_s(lambda: list(restorer.stream(frames[:count])), 1, check.device.type)
    return {"rate": f"{count / seconds:.2f} frames/s"}


def _image_rate(check: Check, entry: tuple[str, dict], side: int) -> dict:
    network = ready(*entry).to(check.device, memory_format=torch.channels_last)
    image = torch.rand(1, 3, side, side, device=check.device)
    image = image.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), autocast(check.device, torch.bfloat16):
        seconds = median_s(partial(network, image), 3, check.device.type)
    return {"rate": f"{1 / seconds:.2f} images/s"}


def _training_rate(check: Check, entry: tuple[str, dict]) -> dict:
    network = ready(*entry).train().to(check.device, memory_format=torch.channels_last)
    count = 1 if check.tiny else 4
    images = torch.rand(count, 3, 64 if check.tiny else SIDE, 64 if check.tiny else SIDE)
    images = images.to(check.device, memory_format=torch.channels_last)

    def step() -> None:
        with autocast(check.device, torch.bfloat16):
            loss = sum(scale.float().square().mean() for scale in network.forward_scales(images))
        loss.backward()

    return {"rate": f"{count / median_s(step, 3, check.device.type):.2f} samples/s"}


PARTS = {
    "machine": Part("driver, card, versions", 10, machine),
    "networks": Part("does every network give what it gives on the CPU?", 150, networks),
    "kernels": Part("do the CUDA kernels give the plain form's values?", 30, kernels),
    "streams": Part("does streaming give what whole clips give?", 20, streams),
    "compiled": Part("does torch.compile give what eager gives?", 60, compiled),
    "processes": Part("do all GPUs together train as one?", 90, processes),
    "memory": Part("are the memory estimates right?", 60, memory),
    "tests": Part("do the tests that are marked gpu pass?", 60, marked_tests),
    "speed": Part("how fast is it?", 120, speed),
}
