"""Score restored files of real pairs: registration first (realblur, kohler), on all cores."""

from data.photo_catalog import find_results
from methods.sbdd.config import TestConfig
from utils.config import to_yaml
from utils.errors import UserError
from utils.evaluation.scoring import Scores, Triple, check_given, score_files, write_scored


def main(config: TestConfig) -> Scores:
    """Score every restored picture; names those that could not be registered."""
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
    write_scored(output, scores, triples, to_yaml(config), "SBDD: restored pictures", config.report)
    return scores


def find_triples(config: TestConfig) -> list[Triple]:
    """The pictures of all folders, paired by name.

    Raises UserError that names what is missing or left over.
    """
    check_given(config.restored_dir, config.sharp_dir)
    output = config.output_dir or config.restored_dir / "scores"
    return find_results(
        config.restored_dir, config.sharp_dir, config.blurry_dir, config.protocol, leave_out=output
    )
