"""Score video networks: restore and score, score files that exist, or run the published table."""

from pathlib import Path

from data.catalog import find_videos
from data.photo_catalog import find_pictures, is_contact_sheet
from data.sample import pairs_or_sample
from methods.common.applied import check_table
from methods.common.precision import exact
from methods.video_deblur.config import TestConfig
from methods.video_deblur.inference import TABLES, TITLE, resolve, restore
from restoration.videos import scored_frames
from utils.config import ROOT, to_yaml
from utils.evaluation.compared_files import Material, compare_files, finish_comparison
from utils.evaluation.comparison import named_folders
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.published_runs import score_as_asked
from utils.evaluation.scoring import (
    Scores,
    Triple,
    check_given,
    check_paired,
    score_files,
    write_scored,
)

FOLDER = ROOT / "experiment" / "video_deblur_test"
COMPARED = ROOT / "experiment" / "video_deblur_compare"


def main(config: TestConfig) -> Scores | None:
    """Returns the scores (None for --table and --compare)."""
    check_table(config)
    return score_as_asked(TABLES, config, FOLDER, restore_and_score, score_folders, compare_folders)


def restore_and_score(config: TestConfig) -> Scores | None:
    """Restore every video with ground truth, then score the written files."""
    config, found = resolve(exact(config), FOLDER)
    return restore(config, found, config.border, config.protocol)


def score_folders(config: TestConfig) -> Scores:
    """Score restored files against sharp ones (and the blurry input, if given); no network is
    loaded.

    Files are paired by their relative names.
    """
    check_given(config.restored_dir, config.sharp_dir)
    sharp = _by_name(config.sharp_dir)
    restored = _by_name(config.restored_dir)
    blurry = _by_name(config.blurry_dir) if config.blurry_dir else {}
    names = _scored(sharp, 0 if config.border else PROTOCOLS[config.protocol].video_ends)
    check_paired(config.restored_dir, restored, names, sharp, config.sharp_dir)
    if config.blurry_dir:
        check_paired(config.blurry_dir, blurry, names, sharp, config.sharp_dir)
    triples = [Triple(name, restored[name], sharp[name], blurry.get(name)) for name in names]
    scores = score_files(triples, config.protocol, data_path=config.restored_dir)
    print(scores.table())
    if config.output_dir:
        words = to_yaml(config)
        write_scored(config.output_dir, scores, triples, words, TITLE, config.report)
    return scores


def compare_folders(config: TestConfig) -> None:
    """Compare folders of results of the same videos, frame by frame; no network is loaded."""
    folders = named_folders(config.compare)
    if config.sharp_dir:
        sharp = _by_name(config.sharp_dir)
        blurry = _by_name(config.blurry_dir) if config.blurry_dir else {}
    else:
        path = pairs_or_sample(config.data_path)
        videos = find_videos(path, config.layout, config.blur_folder, need_sharp=True).videos
        sharp = {}
        blurry = {}
        for video in videos:
            names = [f"{video.name}/{frame}" for frame in video.frames]
            sharp |= dict(zip(names, video.sharp))
            blurry |= dict(zip(names, video.blurry))
    restored = {label: _by_name(folder) for label, folder in folders.items()}
    names = _scored(sharp, 0 if config.border else PROTOCOLS[config.protocol].video_ends)
    material = Material(sharp, blurry, restored, names)
    comparison = compare_files(material, config.protocol, config.metrics, clips=True)
    finish_comparison(
        config.output_dir or COMPARED,
        "Restored videos, compared",
        comparison,
        material.pictures,
        to_yaml(config),
        config.report,
    )


def _by_name(folder: Path) -> dict[str, Path]:
    """{relative path without extension: file} of the pictures below a folder but contact sheets."""
    found = [path for path in find_pictures(folder) if not is_contact_sheet(path)]
    return {str(path.relative_to(folder).with_suffix("")): path for path in found}


def _scored(sharp: dict[str, Path], ends: int) -> list[str]:
    """The names to score: all but the first and last `ends` frames of each folder.

    All of a folder that is too short for that.
    """
    folders: dict[Path, list[str]] = {}
    for name in sharp:
        folders.setdefault(Path(name).parent, []).append(name)
    scored: list[str] = []
    for names in folders.values():
        scored += [names[index] for index in scored_frames(len(names), ends)]
    return scored
