"""Write a metadata file anew, in the order that the ordering network gives the sequences."""

import itertools
from pathlib import Path

from data.sample import sequences_or_sample
from data.sequences import PARTITIONS, write_metadata
from methods.hypercut.config import GenerateConfig
from methods.hypercut.test import SHIPPED_WEIGHTS, scored
from models import load_network
from models.hypercut import HyperCUT
from utils.errors import UserError


def main(config: GenerateConfig) -> Path:
    """Score every sequence as it is stored and write the new metadata; returns its path.

    `order` becomes `reverse` where all three pairs lie on the negative side, else it stays; all
    other keys stay, entries come out train, test, val.
    """
    found = sequences_or_sample(config.data_path, config.dataset_name, config.metadata)
    path = config.save_path or found.metadata.with_name("metadata_ordered.json")
    if path.is_dir() or path.resolve() == found.metadata.resolve():
        raise UserError(
            f"--save_path {path} "
            f"{'is a folder' if path.is_dir() else 'is the metadata that is read'}: name "
            "another file"
        )
    network = load_network(config.weights or SHIPPED_WEIGHTS, HyperCUT)
    entries: dict[str, list[dict]] = {partition: [] for partition in PARTITIONS}
    turned, mixed, old = 0, 0, 0
    for sequence, scores in scored(config, network, found.sequences, stored=True):
        sides = (scores[::2] < 0).tolist()
        order = "reverse" if all(sides) else sequence.order
        entries[sequence.partition].append({**sequence.entry, "order": order})
        turned += all(sides)
        mixed += len(set(sides)) > 1
        old += order in ("reverse", "random") and not all(sides)
    write_metadata(path, found.name, itertools.chain(*entries.values()), found.others)
    print(
        f"{turned} of {len(found.sequences)} sequences reversed, {mixed} whose pairs disagree "
        f"keep their order: {path}"
    )
    if old:
        print(
            f"note: {old} sequences are not on the negative side as stored, but their old order, "
            "reverse or random, stays"
        )
    return path
