"""Get published weights and data sets by name, list them, or try their addresses.

    python download.py NAFNet-GoPro-width64
    python download.py GOPRO/test
    python download.py --check GOPRO/test

Nothing heavy is imported here, so that the list is instant.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from methods import guarded
from utils.download.table import (
    FOLDERS,
    ROOT,
    Entry,
    entries,
    expand,
    find_entry,
    find_path,
    how_to_get,
    named,
    not_offered,
    size_of,
)
from utils.errors import UserError

CHECK_REPORT = ROOT / "experiment" / "download_check.tsv"
_RESULTS = ("output_dir", "cache_path")  # options that name what a command writes
_TITLES = {"weights": "weights, into pretrain_models/", "data": "data sets, into dataset/"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (python download.py --help)")


def run() -> int:
    """Do what the command line of this process asks; returns the exit status."""
    return guarded(partial(_run, sys.argv[1:]), "the same command continues what is unfinished")


def _run(words: list[str]) -> int:
    asked = _parser().parse_args(words)
    wanted = [named(name) for name in asked.names]
    if asked.all_weights:
        known = entries().values()
        wanted += [entry for entry in known if entry.kind == "weights" and entry.files]
    if asked.check:
        return _check(wanted, asked.output_dir)
    if not wanted:
        print(listing(asked.output_dir))
        return 0
    for entry in wanted:
        if entry.never_published:
            raise UserError(f"{how_to_get(entry.name)}; its authors' page: {entry.page}")
    download(wanted, asked)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="download.py",
        description=__doc__.rpartition("\n\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("names", metavar="NAME", nargs="*", help="what to get; without a name all are listed")
    add("--all_weights", action="store_true", help="get all weights")
    add("--dry_run", action="store_true", help="say what, from where, how large, which licence")
    add("--check", action="store_true", help="ask all addresses (or those of NAME) for headers")
    add(
        "--mirror",
        default="",
        metavar="HOST",
        help="take this address alone: github-release, huggingface, http, gdrive, gdrive-folder or "
        "dropbox, or https://... below which the files lie under their names",
    )
    add("--output_dir", type=Path, help="instead of pretrain_models/ and dataset/")
    add("--keep_archives", action="store_true", help="keep them in archives/ after unpacking")
    add(
        "--accept_licence",
        action="append",
        default=[],
        metavar="LICENCE",
        help="consent to a licence that is not permissive, by its name in the list; repeatable",
    )
    return parser


def listing(output_dir: Path | None = None) -> str:
    """All names with size, licence, whether they are there, and what they serve."""
    lines = ["usage: python download.py NAME ... (--help lists the options)"]
    for kind, title in _TITLES.items():
        folder = output_dir or FOLDERS[kind]
        rows = [_row(entry, folder) for entry in entries().values() if entry.kind == kind]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines += ["", f"{title} (* = there):"]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths)]
            lines.append(f"  {'  '.join(cells)}  {row[4]}")
    lines += ["", "published, but not by name here:"]
    lines += [f"  {what}: {address} ({why})" for what, address, why in not_offered()]
    return "\n".join(lines)


def _row(entry: Entry, folder: Path) -> tuple[str, str, str, str, str]:
    """(there, name, size, licence, what it serves)"""
    if entry.never_published:
        return " ", entry.name, "-", "-", f"{entry.serves}; never published as far as known"
    licences = dict.fromkeys(leaf.licence.name for leaf in expand([entry]) if leaf.licence)
    there = "*" if all((folder / path).exists() for path in _given(entry)) else " "
    size = size_of(entry).replace("unknown size", "?")
    return there, entry.name, size, ", ".join(licences), entry.serves


def _given(entry: Entry) -> Iterable[str]:
    """All paths that an entry gives, those of its parts too."""
    for part in entry.parts:
        yield from _given(entries()[part])
    yield from entry.gives


def download(wanted: list[Entry], asked: argparse.Namespace) -> None:
    """Get entries, and what they are made of, unless they are there.

    One that fails does not end the others; at the end UserError is raised for it.
    """
    from utils.download.store import Options, describe

    options = Options(asked.mirror, asked.keep_archives)
    todo = list(_not_there(wanted, asked.output_dir))
    if asked.dry_run:
        for entry in todo:
            print("\n".join(describe(entry, options)))
        return
    consent(todo, asked.accept_licence)
    mistakes: dict[str, str] = {}
    for entry in todo:
        if mistakes.keys() & set(entry.made_from):
            continue
        try:
            _get(entry, asked.output_dir or FOLDERS[entry.kind], options)
        except UserError as error:
            mistakes[entry.name] = str(error)
            if len(todo) > 1:
                print(f"error: {error}", file=sys.stderr)
    if len(todo) > 1 and mistakes:
        raise UserError(f"{len(mistakes)} of {len(todo)} downloads failed, see above")
    if mistakes:
        raise UserError(*mistakes.values())


def _get(entry: Entry, folder: Path, options: Any) -> None:
    """Download or make one entry, and say where it lies and what its hash was compared with."""
    from utils.download.record import read_record
    from utils.download.store import get

    if entry.made_from:
        _build(entry, folder)
        return
    if not get(entry, folder, options):
        return
    names = [entry.name, *(f"{entry.name}/{file.name}" for file in entry.files)]
    record = read_record(folder)
    bases = {record[name]["basis"] for name in names if name in record}
    paths = ", ".join(str(folder / given) for given in entry.gives)
    print(f"{entry.name}: {paths} (hash {', '.join(sorted(bases)) or 'unknown'})")


def consent(todo: Iterable[Entry], accepted: Iterable[str]) -> None:
    """Show the licences that are not permissive, and ask for those that are not accepted yet.

    Raises UserError without consent, which names the option.
    """
    given = {name.lower() for name in accepted}
    licences = {entry.licence.name: entry.licence for entry in todo if entry.licence}
    open_ones = []
    for licence in licences.values():
        if licence.permissive:
            continue
        files = ", ".join(entry.name for entry in todo if entry.licence == licence)
        print(f"licence of {files}: {licence.says}")
        if licence.name.lower() in given:
            continue
        if not _says_yes(f"accept {licence.name}? [yes/no] "):
            open_ones.append(licence.name)
    if open_ones:
        words = " ".join(f"--accept_licence {name}" for name in open_ones)
        raise UserError(f"nothing is downloaded without consent to the licence: add {words}")


def _says_yes(question: str) -> bool:
    """The answer on a terminal; no where there is none."""
    return sys.stdin.isatty() and input(question).strip().lower() in ("y", "yes")


def _splits(entry: Entry) -> list[str]:
    return [Path(source).name for source in entry.made_from]


def _not_there(wanted: Iterable[Entry], output_dir: Path | None) -> Iterable[Entry]:
    """What is to be downloaded or made, parts before what is made of them."""
    from utils.download.store import is_there

    for entry in expand(_not_built(wanted, output_dir)):
        folder = output_dir or FOLDERS[entry.kind]
        if entry.files and is_there(entry, folder):
            print(f"{entry.name} is there: {folder / entry.name}")
        else:
            yield entry


def _not_built(wanted: Iterable[Entry], output_dir: Path | None) -> Iterable[Entry]:
    """Those that are not made here, or not yet."""
    for entry in wanted:
        if entry.made_from:
            from data.reds_sequences import is_built

            root = (output_dir or FOLDERS["data"]) / "REDS_HyperCUT"
            if is_built(root, _splits(entry)):
                print(f"{entry.name} is there: {root}")
                continue
        yield entry


def _build(entry: Entry, folder: Path) -> None:
    from data.reds_sequences import build

    root = folder / "REDS_HyperCUT"
    count = build(folder / "REDS_120fps", root, _splits(entry))
    print(f"{entry.name}: {root} ({count} sequences; their frames are those of REDS_120fps/)")


def _check(wanted: list[Entry], output_dir: Path | None) -> int:
    from utils.download.check import check

    chosen = expand(wanted) if wanted else list(entries().values())
    report = CHECK_REPORT
    if output_dir:
        report = output_dir / CHECK_REPORT.name
    answered, asked = check(chosen, report)
    print(f"{answered} of {asked} addresses answer with a file: {report}")
    return 0 if answered else 1


def get_missing(config: Any, module: str) -> None:
    """What --download does before a command: get the published files that its options name.

    module: that of the command's configuration, whose `published_files(config)`, if it has that,
    names what its options need beside the paths in them.
    """
    wanted: dict[str, Entry] = {}
    also = getattr(import_module(module), "published_files", None)
    needed = [*_of_options(config), *_of_table(config, module)]
    needed += [(path, "") for path in (also(config) if also else ())]
    for path, name in needed:
        entry = find_entry(name) if name else find_path(path)
        if entry is None or path.exists():
            continue
        if entry.never_published:
            print(f"note: {how_to_get(entry.name)}", file=sys.stderr)
            continue
        wanted[entry.name] = entry
    if not wanted:
        print("--download: nothing is missing that has a name in `python download.py`")
        return
    download(list(wanted.values()), _parser().parse_args([]))


def _of_options(config: Any) -> Iterable[tuple[Path, str]]:
    """(path, "") of the weights and data that options name."""
    values = dataclasses.asdict(config)
    if values.get("dataset_name"):
        values["data_path"] = FOLDERS["data"] / values["dataset_name"]
    for name, value in values.items():
        for item in value if isinstance(value, list) else [value]:
            is_name = name == "weights" and bool(item)
            if name not in _RESULTS and (isinstance(item, Path) or is_name):
                yield Path(item), ""


def _of_table(config: Any, module: str) -> Iterable[tuple[Path, str]]:
    """(path, name to download where it is another one) of the rows of --table that can run."""
    if not getattr(config, "table", None):
        return
    from utils.evaluation.published_runs import chosen_rows

    tables = ROOT / Path(*module.split(".")).with_name("tables.yaml")
    for row in chosen_rows(tables, config.table):
        entry = find_path(row.weights) if row.value and row.weights else None
        for path in row.data_paths if entry and not entry.never_published else ():
            yield path, row.download
        if entry:
            yield row.weights, ""
