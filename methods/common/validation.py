"""What is to be known about the data that a training validates on."""

from pathlib import Path

from utils import distributed


def say_test_set(val_path: Path | None) -> None:
    """Say in one line that validation goes by a data set's test partition.

    The published programs do so, too: their best checkpoint is the best on the test set.
    """
    if val_path is None or not distributed.is_main():
        return
    if "test" in (part.lower() for part in val_path.resolve().parts[-2:]):
        print(
            f"note: validation on {val_path}, a test set: best.pt is chosen by it, as published "
            "programs do, so its figure there is no independent one; --val_path names other data"
        )
