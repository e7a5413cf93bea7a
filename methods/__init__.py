"""The table of methods, and how a command (train.py, test.py, ...) finds its entry.

Nothing heavy is imported here, so that help is instant.
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from threading import current_thread, main_thread
from typing import NamedTuple

from utils.errors import UserError, in_one_line, out_of_memory
from utils.names import nearest
from utils.process import end_on_signals, fill_streams


class Method(NamedTuple):
    """A method's line in the help, its folder in methods/, and its commands.

    commands: command -> module that holds main(config); "module:NAME" stands for --config NAME
    where the command line gives none. The configuration's class lies in the config.py beside it.
    """

    summary: str
    folder: str
    commands: dict[str, str]


EXPLAIN = "--explain"  # of train.py: say what the recipe does instead of training


def _modules(folder: str, *commands: str) -> dict[str, str]:
    return {command: f"methods.{folder}.{command}" for command in commands}


_VIDEO_DEBLUR = _modules("video_deblur", "train", "test", "inference", "export")

METHODS = {
    "video_deblur": Method(
        "video deblurring: CDVD-TSP with optical flow, temporal sharpness prior and cascade (Pan "
        "et al., CVPR 2020), and Shift-Net (Li et al., CVPR 2023)",
        "video_deblur",
        _VIDEO_DEBLUR,
    ),
    "cdvd_tsp": Method(
        "the same as video_deblur, by the published name of CDVD-TSP",
        "video_deblur",
        _VIDEO_DEBLUR,
    ),
    "image_deblur": Method(
        "single-image deblurring: SRN, DeepDeblur, No-Blur U-Net, light dehazing network, "
        "Restormer, MIMO-UNet, NAFNet",
        "image_deblur",
        _modules("image_deblur", "train", "test", "inference", "export"),
    ),
    "sbdd": Method(
        "blur synthesis from sharp pictures and videos (Carbajal et al., arXiv 2209.12675), "
        "training on it, and scores of real blurry/sharp pairs after registration",
        "sbdd",
        {"train": "methods.image_deblur.train:sbdd", **_modules("sbdd", "test", "generate")},
    ),
    "blur2vid": Method(
        "seven sharp frames from one blurry picture: Jin (Jin et al., CVPR 2018) and Purohit "
        "(Purohit et al., CVPR 2019), as HyperCUT trains them",
        "blur2vid",
        _modules("blur2vid", "train", "test", "inference"),
    ),
    "irp": Method(
        "restoration potential: how good a photo or frame will be after restoration; selection of "
        "photos, frames and exposures (Zhang et al., CVPR 2022)",
        "irp",
        _modules("irp", "train", "test", "inference", "generate"),
    ),
    "hypercut": Method(
        "a consistent temporal order for the sharp frames of blurry pictures, for training (Pham "
        "et al., CVPR 2023)",
        "hypercut",
        _modules("hypercut", "train", "test", "generate"),
    ),
}


def run(command: str) -> int:
    """Run a command with the command line of this process; returns the exit status."""
    fill_streams()
    if current_thread() is main_thread():  # signals are its alone
        end_on_signals()
    if os.environ.get("RANK", "0") != "0":
        # of the processes that torchrun starts only the first one talks
        sys.stdout = open(os.devnull, "w")
    return guarded(partial(_run, command, sys.argv[1:]))


def guarded(work: Callable[[], int], after: str = "what was finished before is kept") -> int:
    """The exit status of a command's work; mistakes of the user become one sentence.

    after: what that sentence says where the work did not come to its end.
    """
    try:
        return work()
    except UserError as error:
        print(f"error: {in_one_line(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        where = in_one_line(str(error.filename or "while writing"))
        print(f"error: {error.strerror}: {where}; {after}", file=sys.stderr)
        return 1
    except Exception as error:
        if _lost_a_process(error):
            print(f"error: another process of this run ended; {after}", file=sys.stderr)
            return 1
        if not out_of_memory(error):
            raise
        print(
            "error: the memory does not suffice: close other programs or give smaller input; "
            "what was finished is kept",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"interrupted; {after}", file=sys.stderr)
        return 130


def _lost_a_process(error: Exception) -> bool:
    """Whether an error of torch.distributed tells of a process that is gone."""
    signs = ("Connection closed by peer", "Connection reset", "gloo/transport", "NCCL")
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return several and any(sign in str(error) for sign in signs)


def _run(command: str, arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(table(command))
        return 0
    name, *rest = arguments
    if name not in METHODS:
        suggestion = nearest(name, list(METHODS))
        raise UserError(f"unknown method {name!r}{suggestion} `python {command}.py` lists them")
    commands = METHODS[name].commands
    if command not in commands:
        raise UserError(
            f"{name} has no {command}.py; it has {', '.join(f'{other}.py' for other in commands)}"
        )
    from utils.config import parse

    module, _, preset = commands[command].partition(":")
    owner = module.split(".")[1]
    config_class = getattr(
        import_module(f"methods.{owner}.config"), f"{command.capitalize()}Config"
    )
    if command == "inference" and rest and not rest[0].startswith("-"):
        rest = ["--data_path", *rest]  # a path alone
    explains = command == "train" and EXPLAIN in rest
    words = [word for word in rest if word != EXPLAIN] if explains else rest
    examples = ()
    if {"-h", "--help"} & set(words):
        folder = METHODS[name].folder
        examples = import_module("methods.examples").examples_of(folder, command, name)
    config = parse(config_class, owner, command, words, preset, name, examples)
    if explains:
        print(import_module("methods.explain").explained(owner, config))
        return 0
    if "--download" in rest:
        from methods.download import get_missing

        get_missing(config, config_class.__module__)
    import_module(module).main(config)
    return 0


def table(command: str) -> str:
    """The methods that a command has, with one line each."""
    width = max(map(len, METHODS))
    rows = [
        f"  {name:{width}}  {method.summary}"
        for name, method in METHODS.items()
        if command in method.commands
    ]
    usage = (
        f"usage: {command}.py METHOD [--config NAME] [--option value ...]\n"
        f"       {command}.py METHOD --help lists the options"
    )
    return "\n".join([usage, "", "methods:", *rows])
