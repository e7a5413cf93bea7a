"""train.py METHOD --explain: what a recipe does, where each figure comes from, and what it means
for the given data.
"""

import textwrap
from importlib import import_module
from typing import Any

from methods import METHODS
from methods.common.recipe import Line, Plan, Recipe, disk_text
from utils.config import parse
from utils.progress import duration

WIDTH = 100
TOPIC = 15  # columns
YOURS = "yours"


def explained(method: str, config: Any) -> str:
    """The recipe of a configuration, and what it means for its data, in words of one screen."""
    module = import_module(f"methods.{method}.recipe")
    recipe = module.recipe(config)
    return (
        recipe_text(recipe, config, module.published(config))
        + "\n"
        + _data_text(module, recipe, config)
    )


def documented(words: str) -> str:
    """recipe_text of a command line like `image_deblur --model SRN`, for docs/recipes.md."""
    name, *arguments = words.split()
    method = METHODS[name].folder
    config_class = import_module(f"methods.{method}.config").TrainConfig
    config = parse(config_class, method, "train", arguments)
    module = import_module(f"methods.{method}.recipe")
    return recipe_text(module.recipe(config), config, module.published(config))


def recipe_text(recipe: Recipe, config: Any, published: Any) -> str:
    """The part that depends on the configuration alone; published: the recipe's own."""
    lines = [recipe.title]
    for line in recipe.lines:
        source = YOURS if _differs(line, config, published) else line.source
        lines += _wrapped(line.topic, f"{line.text} [{source}]")
    for name, meaning in recipe.sources.items():
        lines += _wrapped(f"[{name}]", meaning)
    return "\n".join(lines)


def _differs(line: Line, config: Any, published: Any) -> bool:
    """Whether an option of the line has another value than in the published recipe."""
    known = [name for name in line.options if hasattr(config, name)]
    return any(getattr(config, name) != getattr(published, name) for name in known)


def _data_text(module: Any, recipe: Recipe, config: Any) -> str:
    """Samples, hours and disk for the data of the configuration."""
    path = config.data_path
    if path is not None and not path.exists():
        return "\n".join(_wrapped("your data", f"{path} is not there: nothing was counted"))
    plan = module.plan(config)
    lines = _wrapped(
        "your data",
        f"{path or 'the embedded sample'}: {plan.samples:,} samples, {plan.steps_per_epoch:,} "
        f"steps per epoch, {plan.steps:,} in all",
    )
    lines += _wrapped("time", _time_text(plan, config))
    lines += _wrapped("disk", disk_text(recipe.parameters))
    return "\n".join(lines)


def _time_text(plan: Plan, config: Any) -> str:
    """How long it takes at the measured rate."""
    from utils.device import choose_device  # takes torch along

    device = choose_device(config.device).type
    return (
        f"about {duration(plan.work * plan.sample)} on one {device}: {plan.sample:.3g} s for one "
        "sample of the first patch size, forward and backward, just measured; loading and "
        "validation not counted"
    )


def _wrapped(topic: str, text: str) -> list[str]:
    lines = textwrap.wrap(text, WIDTH - TOPIC)
    heads = [topic, *[""] * (len(lines) - 1)]
    return [f"{head:{TOPIC}}{line}" for head, line in zip(heads, lines)]
