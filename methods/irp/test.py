"""Score a predictor: correlation of its values with the labels, beside measures of sharpness."""

from collections.abc import Sequence
from pathlib import Path

from data.irp import Shot
from methods.common.precision import exact
from methods.irp.config import TestConfig
from methods.irp.pictures import as_bright
from methods.irp.predict import load
from methods.irp.sample import stacks_or_sample
from utils.config import ROOT, to_yaml
from utils.device import arithmetic
from utils.evaluation.potential_scores import score_potentials
from utils.evaluation.published_runs import run_table
from utils.evaluation.scoring import Scores
from utils.evaluation.sharpness import MEASURES
from utils.evaluation.tables import RunRecord, count_parameters, paper_row
from utils.files import save_figure, write_text
from utils.image import read_8bit
from utils.progress import Progress
from utils.report import write_report

TABLES = Path(__file__).with_name("tables.yaml")
FOLDER = ROOT / "experiment" / "irp_test"


def main(config: TestConfig) -> Scores | None:
    """Returns the scores (None for --table)."""
    if config.table:
        run_table(TABLES, config, FOLDER, score)
        return None
    return score(config)


def score(config: TestConfig) -> Scores:
    """Score, write and print; returns the scores."""
    predictor = load(config.weights, config.device, exact(config).precision)
    stacks = stacks_or_sample(config.data_path)
    shots = stacks.of(config.partition)
    values = {"irp": predictor.all(shots, config.workers)}
    if config.baselines:
        values |= _measured(shots)
    remark = f"partition {config.partition}"
    if stacks.remark:
        remark += f"; {stacks.remark}"
    scores = Scores(
        "irp",
        _rows(shots, values),
        predictor.weights,
        stacks.root,
        remark,
        paper_row(TABLES, predictor.weights, config.data_path),
        _figures(shots, values),
        arithmetic=arithmetic(predictor.device, predictor.dtype),
        record=RunRecord(count_parameters(predictor.network)),
    )
    folder = config.output_dir or FOLDER
    scores.write(folder)
    write_text(folder / "config.yaml", to_yaml(config))
    _draw(folder / "scatter.png", shots, values["irp"])
    print(scores.table())
    if config.report:
        title = "IRP: how well restoration is foretold"
        pictures = {"predicted potential against the label": read_8bit(folder / "scatter.png")}
        write_report(folder / "report.html", title, [], scores.metadata, scores.table(), pictures)
    print(f"results: {folder} (look at scatter.png)")
    return scores


def _measured(shots: Sequence[Shot]) -> dict[str, list[float]]:
    """The values of every measure of sharpness, of the shots brightened as IRP sees them."""
    values: dict[str, list[float]] = {name: [] for name in MEASURES}
    for shot in Progress(shots, "measuring", unit="shot", leave=False):
        picture = as_bright(read_8bit(shot.path), shot.ratio)
        for name, measure in MEASURES.items():
            values[name].append(measure(picture))
    return values


def _figures(shots: Sequence[Shot], values: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """The figures of protocol `irp` of every column of values."""
    scenes = [shot.scene for shot in shots]
    labels = [shot.label for shot in shots]
    figures = {name: score_potentials(scenes, column, labels) for name, column in values.items()}
    # A measure of sharpness has another scale than the labels: its error means nothing.
    for name in figures:
        if name in MEASURES:
            del figures[name]["rmse"], figures[name]["rmse_published"]
    return figures


def _rows(shots: Sequence[Shot], values: dict[str, list[float]]) -> list[dict]:
    rows = []
    for index, shot in enumerate(shots):
        row = {"name": shot.name, "scene": shot.scene, "ratio": shot.ratio, "label": shot.label}
        for name, column in values.items():
            row[name] = column[index]
        rows.append(row)
    return rows


def _draw(path: Path, shots: Sequence[Shot], values: list[float]) -> None:
    """Predicted potential against the label, coloured by exposure ratio."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 5), dpi=110, layout="constrained")
    axes = figure.subplots()
    ratios = [shot.ratio for shot in shots]
    points = axes.scatter(
        [shot.label for shot in shots],
        values,
        12,
        ratios,
        cmap="viridis",
        norm=LogNorm(min(ratios), max(ratios) + 1e-6),
    )
    axes.axline((0, 0), slope=1, color="grey", linewidth=1)
    axes.set(xlabel="label", ylabel="predicted potential", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    bar = figure.colorbar(points, label="exposure ratio")
    ticks = sorted(set(ratios))
    bar.set_ticks(ticks, labels=[f"{ratio:g}" for ratio in ticks])
    bar.ax.minorticks_off()
    save_figure(path, figure)
