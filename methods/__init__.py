"""The table of methods, and how a door (train.py, test.py, ...) finds the entry it opens. Nothing
heavy is imported here.
"""

import os
import sys
from importlib import import_module
from typing import NamedTuple

from utils.errors import UserError, out_of_memory


class Method(NamedTuple):
    summary: str
    doors: dict[
        str, str
        # door -> module that holds main(config); "module:NAME" = with --config NAME where none is
        # given
    ]


METHODS = {
    "irp": Method(
        "will restoration save this shot? Labels, predictor, choice of frames and exposures "
        "(Zhang et al., CVPR 2022)",
        {door: f"methods.irp.{door}" for door in ("train", "test", "inference", "generate")},
    ),
    "cdvd_tsp": Method(
        "video deblurring: optical flow, temporal sharpness prior, cascade (Pan et al., CVPR 2020)",
        {door: f"methods.cdvd_tsp.{door}" for door in ("train", "test", "inference")},
    ),
    "image_deblur": Method(
        "single-image deblurring: SRN, DeepDeblur, No-Blur U-Net, light dehazing network, "
        "Restormer, MIMO-UNet+, NAFNet",
        {door: f"methods.image_deblur.{door}" for door in ("train", "test", "inference")},
    ),
    "sbdd": Method(
        "blur synthesis from sharp pictures and videos (Carbajal et al., arXiv 2209.12675), and "
        "the scoring of real pairs",
        {
            "train": "methods.image_deblur.train:sbdd",
            **{door: f"methods.sbdd.{door}" for door in ("test", "generate")},
        },
    ),
    "hypercut": Method(
        "which direction of time a blurry picture's moments have: a consistent order for "
        "training (Pham et al., CVPR 2023)",
        {door: f"methods.hypercut.{door}" for door in ("train", "test", "generate")},
    ),
    "blur2vid": Method(
        "seven moments out of one blurry picture: Jin and Purohit, with three losses (Pham et "
        "al., CVPR 2023)",
        {door: f"methods.blur2vid.{door}" for door in ("train", "test", "inference")},
    ),
}


def run(door: str) -> int:
    """Open a door with the command line of this process; returns the exit status. Mistakes of the
    user become one sentence.
    """
    if os.environ.get("RANK", "0") != "0":
        sys.stdout = open(
            os.devnull, "w"
        )  # of the processes that torchrun starts only the first one talks
    try:
        return _run(door, sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        print(
            f"error: {error.strerror}: {error.filename or 'while writing'}; what was finished "
            "before is kept",
            file=sys.stderr,
        )
        return 1
    except Exception as error:
        if not out_of_memory(error):
            raise
        print(
            "error: the memory does not suffice: close other programs or give smaller input; "
            "what was finished is kept",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was finished before is kept", file=sys.stderr)
        return 130


def _run(door: str, arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(table(door))
        return 0
    name, *rest = arguments
    if name not in METHODS:
        from utils.config import nearest

        raise UserError(
            f"unknown method {name!r}{nearest(name, list(METHODS))} `python {door}.py` lists them"
        )
    doors = METHODS[name].doors
    if door not in doors:
        raise UserError(
            f"{name} has no {door}.py; it has {', '.join(f'{other}.py' for other in doors)}"
        )
    from utils.config import parse

    module, _, preset = doors[door].partition(":")
    owner = module.split(".")[1]
    config_class = getattr(import_module(f"methods.{owner}.config"), f"{door.capitalize()}Config")
    config = parse(config_class, owner, door, rest, preset, name)
    import_module(module).main(config)
    return 0


def table(door: str) -> str:
    """The methods that a door opens, with one line each."""
    width = max(map(len, METHODS))
    rows = [
        f"  {name:{width}}  {method.summary}"
        for name, method in METHODS.items()
        if door in method.doors
    ]
    usage = (
        f"usage: python {door}.py METHOD [--config NAME] [--option value ...]     (METHOD "
        "--help lists the options)"
    )
    return "\n".join([usage, "", "methods:", *rows])
