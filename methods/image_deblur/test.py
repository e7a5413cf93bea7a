"""Score single-image networks: restore and score, score files, or run the published table."""

from dataclasses import replace

from data.photo_catalog import find_results
from methods.common.applied import check_table
from methods.common.precision import exact
from methods.image_deblur.config import TestConfig
from methods.image_deblur.inference import TABLES, chosen_protocol, restore_pictures
from utils.config import ROOT, to_yaml
from utils.evaluation.published_runs import score_as_asked
from utils.evaluation.scoring import Scores, check_given, score_files, write_scored

FOLDER = ROOT / "experiment" / "image_deblur_test"


def main(config: TestConfig) -> Scores | None:
    """Returns the scores (None for --table)."""
    check_table(config)
    return score_as_asked(TABLES, config, FOLDER, restore_and_score, score_folders)


def restore_and_score(config: TestConfig) -> Scores | None:
    """Restore every picture with ground truth, then score the written files."""
    folder = config.output_dir or FOLDER
    config = replace(exact(config), output_dir=folder, protocol=chosen_protocol(config))
    return restore_pictures(config, deep=config.protocol == "image_float")


def score_folders(config: TestConfig) -> Scores:
    """Score restored files against sharp ones (and the blurry input, if given), paired by name; no
    network is loaded.
    """
    check_given(config.restored_dir, config.sharp_dir)
    protocol = chosen_protocol(config)
    triples = find_results(
        config.restored_dir, config.sharp_dir, config.blurry_dir, protocol, config.output_dir
    )
    scores = score_files(triples, protocol, data_path=config.restored_dir)
    print(scores.table())
    if config.output_dir:
        write_scored(
            config.output_dir, scores, triples, to_yaml(config), "Restored pictures", config.report
        )
    return scores
