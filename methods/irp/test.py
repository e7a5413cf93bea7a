"""Score a predictor: correlation of its values with the labels, beside simple measures of
sharpness.
"""

from pathlib import Path

from data.irp import Shot
from methods.irp.config import TestConfig
from methods.irp.pictures import as_bright, save_curve
from methods.irp.predict import load
from methods.irp.sample import stacks_or_sample
from utils.config import ROOT, to_yaml
from utils.evaluation.potential_scores import score_potentials
from utils.evaluation.scoring import Scores
from utils.evaluation.sharpness import MEASURES
from utils.evaluation.tables import paper_row, run_table
from utils.files import write_text
from utils.image import read_8bit
from utils.progress import Progress
from utils.report import write_report

TABLES = Path(__file__).with_name("tables.yaml")
FOLDER = ROOT / "experiment" / "irp_test"


def main(config: TestConfig) -> Scores | None:
    """Returns the scores (None for --table)."""
    if config.table:
        run_table(
            TABLES, config, FOLDER, lambda config: None
        )  # no row has a figure to compare with
        return None
    predictor, found = (
        load(config.weights, config.device, config.precision),
        stacks_or_sample(config.data_path),
    )
    shots = found.of(config.partition)
    scenes, labels = [shot.scene for shot in shots], [shot.label for shot in shots]
    values = {"irp": predictor.all(shots, config.workers)}
    if config.baselines:
        measured = [
            _measured(shot) for shot in Progress(shots, "measuring", unit="shot", leave=False)
        ]
        values |= {name: [row[name] for row in measured] for name in MEASURES}
    figures = {name: score_potentials(scenes, column, labels) for name, column in values.items()}
    for name in (
        MEASURES & figures.keys()
    ):  # another scale: only its ranks and its course can be compared
        figures[name] = {
            metric: figure
            for metric, figure in figures[name].items()
            if not metric.startswith("rmse")
        }
    rows = [
        {
            "name": shot.name,
            "scene": shot.scene,
            "ratio": shot.ratio,
            "label": shot.label,
            **dict(zip(values, row)),
        }
        for shot, row in zip(shots, zip(*values.values()))
    ]
    remark = "; ".join(filter(None, (f"partition {config.partition}", found.remark)))
    paper = paper_row(TABLES, predictor.weights, config.data_path)
    scores = Scores("irp", rows, predictor.weights, found.root, remark, paper, figures)
    folder = config.output_dir or FOLDER
    scores.write(folder)
    write_text(folder / "config.yaml", to_yaml(config))
    _draw(folder / "scatter.png", shots, values["irp"])
    print(scores.table())
    if config.report:
        pictures = {"predicted potential against the label": read_8bit(folder / "scatter.png")}
        write_report(
            folder / "report.html",
            "IRP: how well restoration is foretold",
            [],
            scores.metadata,
            scores.table(),
            pictures,
        )
    print(f"results: {folder} (look at scatter.png)")
    return scores


def _measured(shot: Shot) -> dict[str, float]:
    """The simple measures of a shot, brightened as IRP sees it."""
    picture = as_bright(read_8bit(shot.path), shot.ratio)
    return {name: measure(picture) for name, measure in MEASURES.items()}


def _draw(path: Path, shots: tuple[Shot, ...], values: list[float]) -> None:
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
    bar.set_ticks(sorted(set(ratios)), labels=[f"{ratio:g}" for ratio in sorted(set(ratios))])
    bar.ax.minorticks_off()
    save_curve(figure, path)
