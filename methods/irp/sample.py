"""The stacks that a command means, and the embedded sample of them."""

from pathlib import Path

from data.irp import Stacks, find_stacks
from data.sample import sample_pictures
from methods.irp.config import GenerateConfig
from utils.config import ROOT


def stacks_or_sample(data_path: Path | None) -> Stacks:
    """The labelled stacks below a folder; of None the embedded sample."""
    if data_path is None:
        data_path = sample_stacks()
        print(f"no --data_path: the embedded sample {data_path}")
    return find_stacks(data_path)


def sample_stacks() -> Path:
    """dataset/sample_irp: stacks of four pictures.

    generate.py irp makes them on the first call (ten seconds); a stopped call goes on.
    """
    from methods.irp import generate  # it imports all the restorers

    folder = ROOT / "dataset" / "sample_irp"
    if not (folder / "splits.json").is_file():
        config = GenerateConfig(sample_pictures(), folder, source="pictures", height=192, width=192)
        generate.main(config)
    return folder
