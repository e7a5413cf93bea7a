"""Score single-image networks: restore and score, score files, or run the published table."""

from dataclasses import replace

from data.photo_catalog import find_pairs, find_results, matching
from data.sample import pairs_or_sample
from methods.common.applied import check_table
from methods.common.compared import material_of_folders, material_of_pairs
from methods.common.precision import exact
from methods.image_deblur.config import TestConfig
from methods.image_deblur.inference import TABLES, chosen_protocol, restore_pictures
from utils.config import ROOT, to_yaml
from utils.evaluation.compared_files import compare_files, finish_comparison
from utils.evaluation.comparison import named_folders
from utils.evaluation.published_runs import score_as_asked
from utils.evaluation.scoring import Scores, check_given, score_files, write_scored

FOLDER = ROOT / "experiment" / "image_deblur_test"
COMPARED = ROOT / "experiment" / "image_deblur_compare"


def main(config: TestConfig) -> Scores | None:
    """Returns the scores (None for --table and --compare)."""
    check_table(config)
    return score_as_asked(TABLES, config, FOLDER, restore_and_score, score_folders, compare_folders)


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


def compare_folders(config: TestConfig) -> None:
    """Compare folders of results of the same pictures; no network is loaded."""
    folders = named_folders(config.compare)
    protocol = chosen_protocol(config)
    if config.sharp_dir:
        material = material_of_folders(
            config.sharp_dir, config.blurry_dir, folders, protocol, config.output_dir
        )
    else:
        found = find_pairs(pairs_or_sample(config.data_path), config.blur_folder, need_sharp=True)
        if config.file_pattern:
            found = matching(found, config.file_pattern)
        material = material_of_pairs(found, folders)
    comparison = compare_files(material, protocol, config.metrics)
    finish_comparison(
        config.output_dir or COMPARED,
        "Restored pictures, compared",
        comparison,
        material.pictures,
        to_yaml(config),
        config.report,
    )
