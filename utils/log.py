"""What a run says on the screen and leaves in its folder."""

import csv
import time
from pathlib import Path

SAY_EVERY_S = 10


class RunLog:
    """The log of a training run: lines in log.txt and on the screen, TensorBoard events, metrics.csv and curve.png."""

    def __init__(self, folder: Path):
        from torch.utils.tensorboard import SummaryWriter  # seconds to import, and only training needs it

        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.events = SummaryWriter(str(folder / "tensorboard"))
        self.sums: dict[str, float] = {}
        self.count = 0
        self.said = time.monotonic()

    def say(self, line: str) -> None:
        print(line, flush=True)
        with open(self.folder / "log.txt", "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def losses(self, step: int, losses: dict[str, float], rate: float) -> None:
        """Count one step; every ten seconds say the means since the last time."""
        self.count += 1
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        elapsed = time.monotonic() - self.said
        if elapsed < SAY_EVERY_S:
            return
        means = {name: value / self.count for name, value in self.sums.items()}
        for name, value in means.items():
            self.events.add_scalar(f"loss/{name}", value, step)
        self.events.add_scalar("learning rate", rate, step)
        text = "  ".join(f"{name} {value:.5f}" for name, value in means.items())
        self.say(f"step {step}  {text}  lr {rate:.2e}  {self.count / elapsed:.2f} steps/s")
        self.sums, self.count, self.said = {}, 0, time.monotonic()

    def metrics(self, step: int, metrics: dict[str, float]) -> None:
        """Write one validation's metrics and redraw the curve."""
        if not metrics:
            return
        for name, value in metrics.items():
            self.events.add_scalar(f"validation/{name}", value, step)
        self.say(f"step {step}  validation  " + "  ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
        path = self.folder / "metrics.csv"
        new = not path.exists()
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", *metrics])
            writer.writerow([step, *metrics.values()])
        draw_curve(path, self.folder / "curve.png")

    def close(self, step: int, interrupted: bool) -> None:
        self.say(f"{'interrupted' if interrupted else 'stopped'} at step {step}; saved in {self.folder}")
        self.events.close()


def draw_curve(table: Path, picture: Path) -> None:
    """Draw every column of a metrics.csv against its first, the step."""
    from matplotlib.figure import Figure  # the object interface needs no display and no global state

    with open(table, newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    steps = [int(row[0]) for row in rows]
    for column, name in enumerate(head[1:], 1):
        axes.plot(steps, [float(row[column]) for row in rows], marker=".", label=name)
    axes.set_xlabel("optimiser step")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(picture, dpi=120)
