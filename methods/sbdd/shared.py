"""What all kinds of synthesis share: this process's jobs, the summary, light and objects."""

from collections.abc import Iterable, Iterator

import numpy as np

from data.synthesis.camera import Response, gamma_response
from data.synthesis.masks import MaskSource, find_masks
from methods.sbdd.config import GenerateConfig
from utils import distributed
from utils.errors import UserError
from utils.progress import Progress
from utils.report import amount

SHEET_ROWS = 6
# Rows of the contact sheet: name, label -> picture. Only the main process draws them.
Rows = Iterator[tuple[str, dict[str, np.ndarray]]]


def response(config: GenerateConfig) -> Response:
    """The camera's response that the configuration names."""
    if config.exponential_crf:
        return Response("exponential", config.exponential_factor)
    return gamma_response(config.gamma)


def masks(config: GenerateConfig) -> MaskSource:
    """Where objects come from; opened once per run."""
    return find_masks(config.mask_path, config.mask_kind, config.detector_weights)


def result_names(config: GenerateConfig, names: Iterable[str]) -> dict[str, str]:
    """{name of the result, without folders: name of the picture}.

    Raises UserError for two pictures whose results would have one name.
    """
    found: dict[str, str] = {}
    for name in names:
        flat = name.replace("/", "_")
        if flat in found:
            raise UserError(
                f"{config.data_path} holds two pictures whose results would have one name: "
                f"{found[flat]} and {name}; rename one"
            )
        found[flat] = name
    return found


def progress(config: GenerateConfig, jobs: list) -> Progress:
    """This process's shard of the jobs, with a bar."""
    return Progress(distributed.shard(jobs), config.what, unit=" job")


def print_summary(
    config: GenerateConfig, made: int, kind: str, existing: int, remark: str = ""
) -> None:
    """Print how many results of a kind were made and how many existed before."""
    line = f"{amount(made, kind)} made, {existing} already there: {config.output_dir}"
    if distributed.world() > 1:
        line = f"process {distributed.rank()} of {distributed.world()}: {line}"
    if remark:
        line = f"{line}; {remark}"
    print(line)
