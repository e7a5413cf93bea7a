"""Score an ordering network: Hit per pair, Con@2 and Con@3 on a partition of sequences."""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor
from torch.utils.data import DataLoader

from data.blur2vid import WholeSequences
from data.sample import sequences_or_sample
from data.sequences import FrameSequence
from methods.common.precision import exact
from methods.hypercut.config import GenerateConfig, TestConfig
from models import SHIPPED, find, load_network
from models.hypercut import HyperCUT
from utils.config import ROOT, to_yaml
from utils.device import (
    arithmetic,
    choose_device,
    choose_precision,
    each_in_inference,
    worker_processes,
)
from utils.errors import UserError
from utils.evaluation.published_runs import run_table
from utils.evaluation.scoring import Scores
from utils.evaluation.sequence_scores import score_order
from utils.evaluation.tables import RunRecord, count_parameters, paper_row
from utils.files import write_text
from utils.progress import Progress
from utils.report import write_report

TABLES = Path(__file__).with_name("tables.yaml")
FOLDER = ROOT / "experiment" / "hypercut_test"


def main(config: TestConfig) -> Scores | None:
    """Returns the scores (None for --table)."""
    if config.table:
        run_table(TABLES, config, FOLDER, score)
        return None
    return score(config)


def score(config: TestConfig) -> Scores:
    """Score a partition, write and return the scores."""
    weights = find(config.weights or SHIPPED["order"])
    found = sequences_or_sample(config.data_path, config.dataset_name, config.metadata)
    network = load_network(weights, HyperCUT)
    device = choose_device(config.device)
    precision = choose_precision(exact(config).precision, device)
    chosen = found.of(config.partition)
    rows = [
        {"name": sequence.id, **score_order(scores)}
        for sequence, scores in scored(config, network, chosen, stored=False)
    ]
    paper = paper_row(TABLES, weights, config.data_path)
    scores = Scores(
        "hypercut",
        rows,
        weights,
        found.metadata,
        f"partition {config.partition}",
        paper,
        arithmetic=arithmetic(device, precision),
        record=RunRecord(count_parameters(network)),
    )
    folder = config.output_dir or FOLDER
    scores.write(folder)
    write_text(folder / "config.yaml", to_yaml(config))
    if config.report:
        write_report(
            folder / "report.html",
            "HyperCUT: a consistent order of sharp frames",
            [],
            scores.metadata,
            scores.table(),
        )
    print(scores.table())
    print(f"results: {folder}")
    return scores


def scored(
    config: TestConfig | GenerateConfig,
    network: HyperCUT,
    sequences: tuple[FrameSequence, ...],
    stored: bool,
) -> Iterator[tuple[FrameSequence, Tensor]]:
    """(sequence, its six scores [6]) one after the other, of whole pictures.

    stored: the frames as they are stored, whatever the order says.
    """
    if config.workers < 0:
        raise UserError(f"--workers {config.workers} is below 0")
    device = choose_device(config.device)
    network = network.to(device)

    def score(item: dict) -> tuple[FrameSequence, Tensor]:
        sequence = item["sequence"]
        frames = network.seen(item["frames"].to(device))  # [7,3,H,W]
        try:
            return sequence, network(frames[None])[0].float().cpu()
        except UserError as error:
            raise UserError(f"sequence {sequence.id}: {error}") from None

    loader = DataLoader(
        WholeSequences(sequences, stored),
        batch_size=None,
        num_workers=worker_processes(config.workers),
    )
    items = Progress(loader, "scoring", unit="sequence", leave=False)
    return each_in_inference(
        map(score, items), device, choose_precision(exact(config).precision, device)
    )
