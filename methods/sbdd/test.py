"""Score restored files of real pairs: registration first (protocols realblur, kohler), all cores."""

import cv2

from data.photo_catalog import find_results
from methods.sbdd.config import TestConfig
from utils.config import to_yaml
from utils.files import write_text
from utils.image import read_8bit, to_8bit, to_tensor
from utils.report import MOST_PANELS, Example, spread, write_report
from utils.scoring import Scores, Triple, check_given, read_truth, score_files


def main(config: TestConfig) -> Scores:
    """Score every restored picture; names those that could not be registered."""
    triples = find_triples(config)
    output = config.output_dir or config.restored_dir / "scores"
    scores = score_files(triples, config.protocol, config.workers, data_path=config.restored_dir)
    scores.write(output)
    write_text(output / "config.yaml", to_yaml(config))
    print(scores.table())
    if config.report and config.blurry_dir:
        examples = [_example(triple) for triple in spread(triples, MOST_PANELS)]
        write_report(output / "report.html", "SBDD: restored pictures", examples, {"data": scores.remark}, scores.table())
    print(f"results: {output}")
    return scores


def find_triples(config: TestConfig) -> list[Triple]:
    """The pictures of all folders, paired by name; raises UserError that names what is missing or left over."""
    check_given(config.restored_dir, config.sharp_dir)
    output = config.output_dir or config.restored_dir / "scores"
    return find_results(config.restored_dir, config.sharp_dir, config.blurry_dir, config.protocol, leave_out=output)


def _example(triple: Triple) -> Example:
    restored = read_8bit(triple.restored)
    size = restored.shape[1::-1]
    blurry, sharp = (cv2.resize(picture, size) for picture in (read_8bit(triple.blurry), to_8bit(to_tensor(read_truth(triple.sharp)[0]))))
    return Example(triple.name, blurry, restored, sharp)
