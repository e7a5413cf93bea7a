"""Write a metadata file anew, in the order that the ordering network gives the sequences."""

import itertools
from pathlib import Path

from data.sample import sequences_or_sample
from data.sequences import PARTITIONS, write_metadata
from methods.hypercut.config import GenerateConfig
from methods.hypercut.test import scored
from models import SHIPPED, load_network
from models.hypercut import HyperCUT
from utils.errors import UserError


def main(config: GenerateConfig) -> Path:
    """Score every sequence as it is stored and write the new metadata; returns its path.

    `order` becomes `reverse` where all three pairs lie on the negative side, else it stays. All
    other keys stay. Entries are sorted: train, test, val.
    """
    found = sequences_or_sample(config.data_path, config.dataset_name, config.metadata)
    path = config.save_path or found.metadata.with_name("metadata_ordered.json")
    if path.is_dir():
        raise UserError(f"--save_path {path} is a folder: name another file")
    if path.resolve() == found.metadata.resolve():
        raise UserError(f"--save_path {path} is the metadata that is read: name another file")
    network = load_network(config.weights or SHIPPED["order"], HyperCUT)
    entries: dict[str, list[dict]] = {partition: [] for partition in PARTITIONS}
    turned = mixed = old = 0
    for sequence, scores in scored(config, network, found.sequences, stored=True):
        negative = (scores[::2] < 0).tolist()  # of the three pairs as stored
        order = sequence.order
        if all(negative):
            order = "reverse"
            turned += 1
        elif order in ("reverse", "random"):
            old += 1
        if len(set(negative)) > 1:
            mixed += 1
        entries[sequence.partition].append({**sequence.entry, "order": order})
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
