"""Does everything here work on this machine's GPU, and how fast?

    make gpu-check        (python -m benchmarks.gpu_check [--parts NAME ...] [--output_dir FOLDER])

Ten minutes at the most, no data. Every part has a time budget; what does not fit into it is left
out and named. Ends with a verdict; gpu_check.md, to paste into an issue, and gpu_check.json lie in
the folder. Without a GPU it says what it would do.
"""

import argparse
import json
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.gpu_contracts import Check, Part
from benchmarks.gpu_parts import PARTS
from benchmarks.timing import hardware
from utils.config import ROOT
from utils.evaluation.tables import format_table
from utils.files import write_text


@dataclass(frozen=True)
class Answer:
    """What a part found; faults: none where all is well."""

    part: str
    question: str
    seconds: float
    rows: list[dict]
    faults: list[str]
    left_out: list[str]
    note: str


def main(arguments: list[str] | None = None) -> int:
    """Run the parts; the exit status is 0 without faults, or without a GPU."""
    options = _options(list(PARTS), arguments)
    chosen = {name: PARTS[name] for name in options.parts or PARTS}
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU: torch sees no CUDA device here, so nothing was checked. With one:")
        for name, part in chosen.items():
            print(f"  {name:9} {part.question} (at most {part.budget:.0f} s)")
        print(f"  {sum(part.budget for part in chosen.values()) / 60:.0f} minutes at the most")
        return 0
    device = torch.device(options.device, 0) if options.device == "cuda" else torch.device("cpu")
    machine = hardware(options.device)
    print(machine)
    answers = []
    for name, part in chosen.items():
        print(f"\n{name}: {part.question} (at most {part.budget:.0f} s)", flush=True)
        answers.append(ask(name, part, device, options.tiny))
        print(_as_text(answers[-1]), flush=True)
    words = verdict(answers)
    print(f"\n{words}")
    folder = options.output_dir
    record = {"machine": machine, "verdict": words, "parts": [asdict(answer) for answer in answers]}
    write_text(folder / "gpu_check.json", json.dumps(record, indent=1))
    write_text(folder / "gpu_check.md", as_markdown(machine, words, answers))
    print(f"to paste into an issue: {folder / 'gpu_check.md'}")
    return int(any(answer.faults for answer in answers))


def ask(name: str, part: Part, device: torch.device, tiny: bool) -> Answer:
    """Run a part; an exception is a fault of its own and ends no other part."""
    started = time.monotonic()
    check = Check(device, tiny, started + part.budget)
    try:
        part.run(check)
    except Exception as error:  # whatever goes wrong here is what is being looked for
        check.faults.append(f"{type(error).__name__}: {error}".strip())
        check.note = traceback.format_exc(limit=-3)
    seconds = time.monotonic() - started
    return Answer(
        name, part.question, seconds, check.rows, check.faults, check.left_out, check.note
    )


def verdict(answers: list[Answer]) -> str:
    """One sentence on all parts."""
    faults = [f"{answer.part} ({len(answer.faults)})" for answer in answers if answer.faults]
    left_out = [answer.part for answer in answers if answer.left_out]
    words = "VERDICT: all parts are as they should be"
    if faults:
        words = f"VERDICT: faults in {', '.join(faults)}"
    if left_out:
        words += f"; not finished in time: {', '.join(left_out)}"
    return words


def as_markdown(machine: str, words: str, answers: list[Answer]) -> str:
    """The report to paste into an issue."""
    lines = ["# GPU check", "", machine, "", f"**{words}**"]
    for answer in answers:
        lines += ["", f"## {answer.part}: {answer.question}", ""]
        lines += ["```text", _as_text(answer), "```"]
    return "\n".join(lines) + "\n"


def _as_text(answer: Answer) -> str:
    lines = []
    if answer.rows:
        columns = list(answer.rows[0])
        cells = [[_cell(row.get(column, "")) for column in columns] for row in answer.rows]
        lines.append(format_table([columns, *cells]))
    lines += [f"FAULT: {fault}" for fault in answer.faults]
    if answer.left_out:
        lines.append(f"left out for lack of time: {', '.join(answer.left_out)}")
    if answer.note:
        lines.append(answer.note.rstrip())
    return "\n".join([*lines, f"{answer.seconds:.0f} s"])


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _options(parts: list[str], arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=parts, metavar="NAME", help=", ".join(parts))
    parser.add_argument("--output_dir", type=Path, default=ROOT / "experiment" / "gpu_check")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help=argparse.SUPPRESS)
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)  # for a test
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
