"""The networks that --model names, and which recipe goes with each. Nothing heavy is imported."""

from pathlib import Path

from methods.common.model_choice import recipe_of as recipe_in
from utils.errors import UserError

# The published sizes; each network's file in models/ says what they are (PUBLISHED_SIZES).
MODELS = (
    "SRN", "DeepDeblur", "NoBlur", "LightDehaze", "Restormer", "MIMO-UNet", "MIMO-UNet+",
    "NAFNet-32", "NAFNet-64",
)  # fmt: skip
SRN_VARIANTS = ("color", "lstm", "gray")
DEFAULT_MODEL = "NAFNet-32"


def canonical_model(model: str) -> str:
    """The name of a model that has others, too; SRN's published --model lstm, color and gray."""
    if model.lower() in SRN_VARIANTS:
        return "SRN"
    return DEFAULT_MODEL if model.lower() == "nafnet" else model


def recipe_of(model: str) -> str | None:
    """The file in configs/ with the published recipe of a model."""
    return recipe_in(Path(__file__).with_name("configs"), canonical_model(model))


def chosen_model(model: str, variant: str | None = None) -> tuple[str, dict]:
    """(network, arguments) that --model and --variant mean."""
    from models import choose  # torch is not needed for --help
    from models.contracts import ImageNetwork

    if model.lower() in SRN_VARIANTS:
        if variant not in (None, model.lower()):
            raise UserError(f"--model {model} and --variant {variant} are two variants of SRN")
        variant = model.lower()
    model = canonical_model(model)
    network, arguments = choose(model, ImageNetwork)
    if variant and network != "srn":
        raise UserError(f"--variant {variant} belongs to SRN, not to {model}")
    return network, arguments | ({"variant": variant} if variant else {})
