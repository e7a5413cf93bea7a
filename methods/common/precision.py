"""In which arithmetic figures are computed."""

import dataclasses
from typing import TypeVar

Config = TypeVar("Config")


def exact(config: Config) -> Config:
    """The configuration with float32 where --precision is auto, for scores and labels."""
    if config.precision != "auto":
        return config
    return dataclasses.replace(config, precision="fp32")
