"""--model: which recipe in configs/ goes with a network's name. Nothing heavy is imported here."""

from pathlib import Path

from utils.names import plain_name


def recipe_of(configs: Path, model: str) -> str | None:
    """The file in configs/ with the recipe of a model; None where there is none.

    It has the model's name, or that without the size at its end: nafnet64 for NAFNet-64, nafnet for
    NAFNet-32, mimo_unet for MIMO-UNet+. Case, hyphens and underscores do not count.
    """
    names = {plain_name(path.stem): path.stem for path in configs.glob("*.yaml")}
    plain = plain_name(model)
    return names.get(plain) or names.get(plain.rstrip("0123456789+"))
