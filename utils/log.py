"""What a run says on the screen and leaves in its folder."""

import csv
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from utils.contact_sheet import contact_sheet_of_rows
from utils.device import run_description
from utils.files import save_figure, write_text
from utils.progress import duration
from utils.progress import rate as per_second

SAY_EVERY_S = 10
LONG_S = 12 * 3600  # a training that takes longer on a CPU is warned of
_COMPANIONS = ("_stage1", "_input")  # of a figure, in its panel


class RunLog:
    """The log of a training run.

    Lines in log.txt and on the screen, config.yaml, TensorBoard events, loss.csv, metrics.csv,
    curve.png, validation.jpg. folder None: a silent log, for the processes that only help. steps,
    minutes: of the whole run and its time budget (0: none). on_cpu: say what a long run costs.
    """

    def __init__(
        self, folder: Path | None, steps: int = 0, minutes: float = 0.0, on_cpu: bool = False
    ):
        self.folder = folder
        self.steps = steps
        self.minutes = minutes
        self.warns = on_cpu
        self.begun = time.monotonic()
        self.first: int | None = None  # steps done before this process
        self.events = None
        self.sums: dict[str, float] = {}
        self.count = 0
        self.said = time.monotonic()
        if folder:
            # seconds to import, and only training needs it
            from torch.utils.tensorboard import SummaryWriter

            folder.mkdir(parents=True, exist_ok=True)
            self.events = SummaryWriter(str(folder / "tensorboard"))

    def say(self, line: str) -> None:
        if self.folder:
            print(line, flush=True)
            with open(self.folder / "log.txt", "a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def write_config(self, config: str, device: torch.device) -> None:
        """Write config.yaml, after saying which options are not those the run was started with."""
        path = self.folder / "config.yaml"
        if path.exists():
            before = path.read_text(encoding="utf-8").splitlines()
            new = [line for line in config.splitlines() if line not in before]
            changed = [line for line in new if not line.startswith(("resume:", "max_minutes:"))]
            if changed:
                self.say(f"note: other options than before: {'; '.join(changed)}")
        write_text(path, config + run_description(device))

    def losses(self, step: int, losses: dict[str, float], rate: float) -> None:
        """Count one step; every ten seconds say the means since the last time, and what is left."""
        if self.first is None:
            self.first = step - 1
        self.count += 1
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if time.monotonic() - self.said > SAY_EVERY_S:
            self._say_losses(step, rate)

    def _say_losses(self, step: int, rate: float | None = None) -> None:
        if not self.folder or not self.count:
            return
        elapsed = time.monotonic() - self.said
        means = {name: value / self.count for name, value in self.sums.items()}
        for name, value in means.items():
            self.events.add_scalar(f"loss/{name}", value, step)
        _append(self.folder / "loss.csv", {"step": step, **means})
        words = [f"step {step}", "loss", *(f"{name} {value:.5f}" for name, value in means.items())]
        if rate is not None:
            self.events.add_scalar("learning rate", rate, step)
            words.append(f"lr {rate:.2e}")
        words.append(f"{self.count / elapsed:.2f} steps/s")
        if rate is not None and step < self.steps:
            words.append(f"about {duration(self._seconds_left(step))} left")
        self.say("  ".join(words))
        self._say_cost(step)
        self.sums = {}
        self.count = 0
        self.said = time.monotonic()

    def _seconds_left(self, step: int) -> float:
        """To the last step, at the mean rate of this process with validations, or to the end of the
        time budget.
        """
        spent = time.monotonic() - self.begun
        left = spent / (step - self.first) * (self.steps - step)
        return min(left, 60 * self.minutes - spent) if self.minutes else left

    def _say_cost(self, step: int) -> None:
        """Say once, after the first steps on a CPU, what a run without time budget costs."""
        left = self._seconds_left(step)
        if self.warns and not self.minutes and left > LONG_S:
            pace = per_second((self.steps - step) / left, "step")
            self.say(
                f"note: {self.steps - step:,} steps at {pace} are {duration(left)} on this CPU. "
                "--max_minutes N ends a run in time; --config default, the recipe of the shipped "
                "network, and smaller --batch_size and --patch_size need less; --explain tells the "
                "hours before a start. Ctrl-C saves and stops"
            )
        self.warns = False

    def validation(
        self, step: int, metrics: dict[str, float], examples: dict[str, dict[str, np.ndarray]]
    ) -> None:
        """Write a validation's metrics and pictures {name: {label: 8-bit [H,W,3]}}; draw curves."""
        if not self.folder or not metrics:
            return
        for name, value in metrics.items():
            self.events.add_scalar(f"validation/{name}", value, step)
        figures = [f"{name} {value:.3f}" for name, value in metrics.items()]
        self.say("  ".join([f"step {step}", "validation", *figures]))
        _append(self.folder / "metrics.csv", {"step": step, **metrics})
        draw_curves(self.folder)
        if examples:
            contact_sheet_of_rows(self.folder / "validation.jpg", examples)
        for name, pictures in examples.items():
            image = np.concatenate(list(pictures.values()), 1)
            self.events.add_image(f"validation/{name}", image, step, dataformats="HWC")

    def close(self, step: int, interrupted: bool) -> None:
        """Say how the run ended and where its results are."""
        if not self.folder:
            return
        self._say_losses(step)
        draw_curves(self.folder)
        ended = "interrupted" if interrupted else "stopped"
        line = f"{ended} at step {step}; saved in {self.folder}"
        if not (self.folder / "best.safetensors").exists():
            line += "; no validation yet, so the weights are last.safetensors"
        self.say(line)
        self.events.close()


def draw_curves(folder: Path) -> None:
    """Draw curve.png: every column of metrics.csv and loss.csv against the step, in its panel.

    Figures of the first stage and of the input (NAME_stage1, NAME_input) stand in the panel of
    NAME.
    """
    # the object interface needs no display and no global state
    from matplotlib.figure import Figure

    curves = _read_curves(folder / "metrics.csv", "") | _read_curves(folder / "loss.csv", "loss ")
    if not curves:
        return
    drawn = panels_of(list(curves))
    height = -(-len(drawn) // 2)
    figure = Figure(figsize=(10, 2.4 * height), dpi=100, layout="constrained")
    panels = figure.subplots(height, 2, squeeze=False, sharex=True).flat
    for panel, (title, together) in zip(panels, drawn.items()):
        for name in together:
            steps, values = zip(*curves[name])
            panel.plot(steps, values, marker="." if len(steps) < 100 else "", label=name)
        panel.set_title(title, fontsize=10)
        panel.grid(alpha=0.3)
        if len(together) > 1:
            panel.legend(fontsize=8)
    for panel in panels[max(len(drawn) - 2, 0) : len(drawn)]:
        panel.tick_params(labelbottom=True)
    for panel in panels[len(drawn) :]:
        panel.set_visible(False)
    figure.supxlabel("optimiser step")
    save_figure(folder / "curve.png", figure)


def panels_of(names: Sequence[str]) -> dict[str, list[str]]:
    """{title: curves} of the panels in which curves are drawn; see draw_curves."""
    companions = {name + ending for name in names for ending in _COMPANIONS}
    panels = {}
    for name in names:
        if name not in companions:
            panels[name] = [name + end for end in ("", *_COMPANIONS) if name + end in names]
    return panels


def _read_curves(table: Path, prefix: str) -> dict[str, list[tuple[int, float]]]:
    """{prefix and column: [(step, value)]} of a CSV table, if it is there."""
    if not table.exists():
        return {}
    with open(table, newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    curves = {}
    for column, name in enumerate(head[1:], 1):
        curves[prefix + name] = [(int(row[0]), float(row[column])) for row in rows]
    return curves


def _append(table: Path, row: dict[str, float]) -> None:
    """One line more of a CSV table."""
    new = not table.exists()
    with open(table, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(row)
        writer.writerow(row.values())
