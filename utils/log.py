"""What a run says on the screen and leaves in its folder."""

import csv
import time
from pathlib import Path

import numpy as np

from utils.files import atomic_path
from utils.report import contact_sheet_of_rows

SAY_EVERY_S = 10


class RunLog:
    """The log of a training run: lines in log.txt and on the screen, TensorBoard events, loss.csv,
    metrics.csv, curve.png, validation.png.

    folder None: a silent log, for the processes that only help.
    """

    def __init__(self, folder: Path | None):
        self.folder, self.events = folder, None
        self.sums: dict[str, float] = {}
        self.count = 0
        self.said = time.monotonic()
        if folder:
            from torch.utils.tensorboard import (
                SummaryWriter,
            )  # seconds to import, and only training needs it

            folder.mkdir(parents=True, exist_ok=True)
            self.events = SummaryWriter(str(folder / "tensorboard"))

    def say(self, line: str) -> None:
        if self.folder:
            print(line, flush=True)
            with open(self.folder / "log.txt", "a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def losses(self, step: int, losses: dict[str, float], rate: float) -> None:
        """Count one step; every ten seconds say the means since the last time."""
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
        text = "loss  " + "  ".join(f"{name} {value:.5f}" for name, value in means.items())
        if rate is not None:
            self.events.add_scalar("learning rate", rate, step)
            text += f"  lr {rate:.2e}"
        self.say(f"step {step}  {text}  {self.count / elapsed:.2f} steps/s")
        self.sums, self.count, self.said = {}, 0, time.monotonic()

    def validation(
        self, step: int, metrics: dict[str, float], examples: dict[str, dict[str, np.ndarray]]
    ) -> None:
        """Write one validation's metrics and pictures (name -> label -> [H,W,3] 8-bit), and redraw
        the curve.
        """
        if not self.folder or not metrics:
            return
        for name, value in metrics.items():
            self.events.add_scalar(f"validation/{name}", value, step)
        self.say(
            f"step {step}  validation  "
            + "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        )
        _append(self.folder / "metrics.csv", {"step": step, **metrics})
        draw_curves(self.folder)
        if examples:
            contact_sheet_of_rows(self.folder / "validation.png", examples)
            for name, pictures in examples.items():
                self.events.add_image(
                    f"validation/{name}",
                    np.concatenate(list(pictures.values()), 1),
                    step,
                    dataformats="HWC",
                )

    def close(self, step: int, interrupted: bool) -> None:
        if self.folder:
            self._say_losses(step)
            draw_curves(self.folder)
            weights = (
                ""
                if (self.folder / "best.safetensors").exists()
                else "; no validation yet, so the weights are last.safetensors"
            )
            self.say(
                f"{'interrupted' if interrupted else 'stopped'} at step {step}; saved in "
                f"{self.folder}{weights}"
            )
            self.events.close()


def draw_curves(folder: Path) -> None:
    """Draw every column of metrics.csv and loss.csv against the step, each in its own panel, as
    curve.png.
    """
    from matplotlib.figure import (
        Figure,
    )  # the object interface needs no display and no global state

    curves = {}
    for table in ("metrics.csv", "loss.csv"):
        if (folder / table).exists():
            with open(folder / table, newline="", encoding="utf-8") as file:
                head, *rows = csv.reader(file)
            prefix = "loss " if table == "loss.csv" else ""
            for column, name in enumerate(head[1:], 1):
                curves[prefix + name] = [(int(row[0]), float(row[column])) for row in rows]
    if not curves:
        return
    height = -(-len(curves) // 2)
    figure = Figure(figsize=(10, 2.4 * height), layout="constrained")
    panels = figure.subplots(height, 2, squeeze=False, sharex=True).flat
    for panel, (name, points) in zip(panels, curves.items()):
        panel.plot(*zip(*points), marker="." if len(points) < 100 else "")
        panel.set_title(name, fontsize=10)
        panel.grid(alpha=0.3)
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    figure.supxlabel("optimiser step")
    with atomic_path(folder / "curve.png") as temporary:
        figure.savefig(temporary, dpi=100)


def _append(table: Path, row: dict[str, float]) -> None:
    """One line more of a CSV table."""
    new = not table.exists()
    with open(table, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(row)
        writer.writerow(row.values())
