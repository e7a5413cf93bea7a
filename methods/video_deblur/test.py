"""Score CDVD-TSP: restore and score, score files that exist (-b -s -r), or run the published table
(--table).
"""

from pathlib import Path

from data.photo_catalog import CONTACT_SHEET, find_pictures
from methods.video_deblur.config import TestConfig
from methods.video_deblur.inference import TABLES, plan, run_job, scored_frames
from utils.config import ROOT, to_yaml
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.scoring import (
    Scores,
    Triple,
    check_given,
    check_paired,
    score_files,
    write_scored,
)
from utils.evaluation.tables import run_table


def main(config: TestConfig) -> Scores | None:
    """Returns the scores (None for --table)."""
    if config.table:
        run_table(TABLES, config, ROOT / "infer_results", restore_and_score)
        return None
    if config.restored_dir or config.sharp_dir or config.blurry_dir:
        return score_folders(config)
    return restore_and_score(config)


def restore_and_score(config: TestConfig) -> Scores | None:
    """Restore every video with ground truth, then score the written files."""
    return run_job(config, plan(config), config.border, config.protocol)


def score_folders(config: TestConfig) -> Scores:
    """Score restored files against sharp ones (and the blurry input, if given), paired by relative
    name; no network is loaded.
    """
    check_given(config.restored_dir, config.sharp_dir)
    sharp, restored = _by_name(config.sharp_dir), _by_name(config.restored_dir)
    blurry = _by_name(config.blurry_dir) if config.blurry_dir else None
    names = _scored(sharp, 0 if config.border else PROTOCOLS[config.protocol].video_ends)
    for folder, files in ((config.restored_dir, restored), (config.blurry_dir, blurry)):
        if files is not None:
            check_paired(folder, files, names, sharp, config.sharp_dir)
    triples = [Triple(name, restored[name], sharp[name], blurry and blurry[name]) for name in names]
    scores = score_files(triples, config.protocol, data_path=config.restored_dir)
    print(scores.table())
    if config.output_dir:
        write_scored(
            config.output_dir,
            scores,
            triples,
            to_yaml(config),
            "CDVD-TSP: restored frames",
            config.report,
        )
    return scores


def _by_name(folder: Path) -> dict[str, Path]:
    """Relative path without extension -> file, for all pictures below a folder but contact
    sheets.
    """
    found = find_pictures(folder)
    return {
        str(path.relative_to(folder).with_suffix("")): path
        for path in found
        if path.name != CONTACT_SHEET
    }


def _scored(sharp: dict[str, Path], ends: int) -> list[str]:
    """The names to score: all but the first and last `ends` frames of each folder (all of a folder
    too short for that).
    """
    folders: dict[Path, list[str]] = {}
    for name in sharp:
        folders.setdefault(Path(name).parent, []).append(name)
    return [names[place] for names in folders.values() for place in scored_frames(len(names), ends)]
