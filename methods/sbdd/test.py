"""Score restored files of real pairs: registration first (realblur, kohler), on all cores."""

from data.photo_catalog import find_results
from methods.common.compared import material_of_folders
from methods.sbdd.config import TestConfig
from utils.config import ROOT, to_yaml
from utils.errors import UserError
from utils.evaluation.compared_files import check_alone, compare_files, finish_comparison
from utils.evaluation.comparison import named_folders
from utils.evaluation.scoring import Scores, Triple, check_given, score_files, write_scored

TITLE = "SBDD: restored pictures"
COMPARED = ROOT / "experiment" / "sbdd_compare"


def main(config: TestConfig) -> Scores | None:
    """Score every restored picture; names those that could not be registered.

    Returns the scores, None for --compare.
    """
    check_alone(config)
    if config.compare:
        compare_folders(config)
        return None
    if config.resize_factor > 1 and config.protocol != "realblur":
        raise UserError(
            f"--resize_factor {config.resize_factor} belongs to --protocol realblur, not to "
            f"{config.protocol}"
        )
    triples = find_triples(config)
    output = config.output_dir or config.restored_dir / "scores"
    scores = score_files(
        triples,
        config.protocol,
        config.workers,
        config.resize_factor,
        data_path=config.restored_dir,
    )
    print(scores.table())
    write_scored(output, scores, triples, to_yaml(config), TITLE, config.report)
    return scores


def compare_folders(config: TestConfig) -> None:
    """Compare folders of results of the same pictures."""
    if config.resize_factor > 1:
        raise UserError(f"--resize_factor {config.resize_factor} is for one folder, not --compare")
    folders = named_folders(config.compare)
    output = config.output_dir or COMPARED
    material = material_of_folders(
        config.sharp_dir, config.blurry_dir, folders, config.protocol, config.output_dir
    )
    comparison = compare_files(material, config.protocol, config.metrics)
    finish_comparison(output, TITLE, comparison, material.pictures, to_yaml(config), config.report)


def find_triples(config: TestConfig) -> list[Triple]:
    """The pictures of all folders, paired by name.

    Raises UserError that names what is missing or left over.
    """
    check_given(config.restored_dir, config.sharp_dir)
    output = config.output_dir or config.restored_dir / "scores"
    return find_results(
        config.restored_dir, config.sharp_dir, config.blurry_dir, config.protocol, leave_out=output
    )
