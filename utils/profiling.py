"""Where the time of training steps goes, as a trace for chrome://tracing or ui.perfetto.dev."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

FIRST = 5  # steps that are left out: caches fill, kernels are chosen
STEPS = 10


@contextlib.contextmanager
def profiled(
    path: Path | None, device: torch.device, done: Callable[[Path], object]
) -> Iterator[Callable[[], None]]:
    """Gives what is to be called after every step; writes a trace of STEPS steps to a JSON file.

    path: None profiles nothing. done is called with it when the trace is written.
    """
    if path is None:
        yield lambda: None
        return

    def write(profile: torch.profiler.profile) -> None:
        profile.export_chrome_trace(str(path))
        done(path)

    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    schedule = torch.profiler.schedule(wait=FIRST - 1, warmup=1, active=STEPS, repeat=1)
    with torch.profiler.profile(
        activities=kinds, schedule=schedule, on_trace_ready=write, acc_events=True
    ) as profile:
        yield profile.step
