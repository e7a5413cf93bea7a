"""--model: which recipe in configs/ goes with a network's name. Nothing heavy is imported here."""

from pathlib import Path


def recipe_of(configs: Path, model: str) -> str | None:
    """The file in configs/ with the recipe of a model; None where there is none.

    It has the model's name, or that without the size at its end: nafnet64 for NAFNet-64, nafnet for
    NAFNet-32, mimo_unet for MIMO-UNet+. Case, hyphens and underscores do not count.
    """
    names = {_plain(path.stem): path.stem for path in configs.glob("*.yaml")}
    plain = _plain(model)
    return names.get(plain) or names.get(plain.rstrip("0123456789+"))


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
