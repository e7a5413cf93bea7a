"""Results of several networks on the same images: means, paired differences, sign tests.

An image counts only if every folder holds its result. What a test counts are images, or clips where
frames of clips are compared, because the frames of a clip are not independent of each other. The
p-values are not corrected for several pairs or metrics.
"""

import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from utils.checkpoint import VERSION
from utils.errors import UserError
from utils.evaluation.scoring import as_json
from utils.evaluation.tables import format_figure, format_table
from utils.files import write_table, write_text

INPUT = "input"
TRUTH = "ground truth"
_LOWER_IS_BETTER = ("lpips", "plpips")
_NAMED = 5  # missing images that a line names
Rows = Mapping[str, Mapping[str, float]]  # {image: {metric: figure}}


@dataclass(frozen=True)
class Paired:
    """How a folder differs from another one in a metric.

    mean: of the differences. better, worse, equal: units in which it is so. p: of the sign test.
    """

    mean: float
    better: int
    worse: int
    equal: int
    p: float


@dataclass(frozen=True)
class Comparison:
    """Figures of several folders on the same images.

    rows: {folder: {image: {metric: figure}}}; the first of the metrics decides which images are the
    best and the worst. inputs: {metric: mean} of the unrestored input, {} where it is unknown.
    unit: what the tests count; clips: {image: its clip} where that is clips. remarks: lines for the
    user.
    """

    title: str
    metrics: Sequence[str]
    rows: Mapping[str, Rows]
    inputs: Mapping[str, float] = field(default_factory=dict)
    unit: str = "image"
    clips: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """The images."""
        return list(next(iter(self.rows.values())))

    def mean(self, folder: str, metric: str) -> float:
        """The mean over all images."""
        return float(np.mean([row[metric] for row in self.rows[folder].values()]))

    def paired(self, first: str, second: str, metric: str) -> Paired:
        """How the second folder differs from the first; identical figures differ by 0."""
        differences = self.differences(first, second, metric)
        units: dict[str, list[float]] = {}
        for name, difference in differences.items():
            units.setdefault(self.clips.get(name, name), []).append(difference)
        sign = -1 if metric in _LOWER_IS_BETTER else 1
        gains = [sign * float(np.mean(values)) for values in units.values()]
        better = sum(gain > 0 for gain in gains)
        worse = sum(gain < 0 for gain in gains)
        mean = float(np.mean(list(differences.values())))
        return Paired(mean, better, worse, len(gains) - better - worse, sign_test(better, worse))

    def differences(self, first: str, second: str, metric: str) -> dict[str, float]:
        """{image: the second folder's figure minus the first one's}."""
        found = {}
        for name in self.names:
            one = self.rows[first][name][metric]
            other = self.rows[second][name][metric]
            found[name] = 0.0 if one == other else other - one  # both may be infinite
        return found

    def pairs(self) -> list[tuple[str, str]]:
        """All pairs of folders, as they were given."""
        return list(itertools.combinations(self.rows, 2))

    def extremes(self, count: int) -> list[str]:
        """At most so many images: where the folders are worst against the first one, then best.

        The pairs with the first folder take turns.
        """
        first, *others = self.rows
        metric = self.metrics[0]
        sign = -1 if metric in _LOWER_IS_BETTER else 1
        orders = []
        for other in others:
            found = self.differences(first, other, metric)
            orders.append(sorted(found, key=lambda name: sign * found[name]))
        worst = list(dict.fromkeys(itertools.chain(*zip(*orders))))
        ends = [order[::-1] for order in orders]
        best = list(dict.fromkeys(itertools.chain(*zip(*ends))))
        half = worst[: count // 2]
        return half + [name for name in best if name not in half][: count - len(half)]

    def sentence(self, name: str) -> str:
        """psnr: A 30.12, B 31.02, B - A +0.90."""
        metric = self.metrics[0]
        first = next(iter(self.rows))
        words = []
        for label, rows in self.rows.items():
            words.append(f"{label} {format_figure(metric, rows[name][metric])}")
        for label in list(self.rows)[1:]:
            difference = self.differences(first, label, metric)[name]
            words.append(f"{label} - {first} {format_figure(metric, difference, '+')}")
        return f"{metric}: {', '.join(words)}"

    def table(self) -> str:
        """Means of the folders, then differences and tests of every pair, as text."""
        lines = [["", *self.metrics]]
        if self.inputs:
            cells = [format_figure(metric, self.inputs.get(metric)) for metric in self.metrics]
            lines.append([INPUT, *cells])
        for folder in self.rows:
            cells = [format_figure(metric, self.mean(folder, metric)) for metric in self.metrics]
            lines.append([folder, *cells])
        for first, second in self.pairs():
            found = [(metric, self.paired(first, second, metric)) for metric in self.metrics]
            signed = [format_figure(metric, pair.mean, "+") for metric, pair in found]
            lines.append([f"{second} - {first}", *signed])
            lines.append([f"  {self.unit}s better", *(str(pair.better) for _, pair in found)])
            lines.append([f"  {self.unit}s worse", *(str(pair.worse) for _, pair in found)])
            lines.append(["  sign test, p", *(f"{pair.p:.2g}" for _, pair in found)])
        return "\n".join([self.title, *self.remarks, format_table(lines)])

    def write(self, folder: Path) -> None:
        """Write comparison.json (means, differences, tests) and comparison.csv (every image)."""
        pairs = []
        for first, second in self.pairs():
            found = {metric: self.paired(first, second, metric) for metric in self.metrics}
            tests = {metric: asdict(pair) for metric, pair in found.items()}
            pairs.append({"first": first, "second": second, **tests})
        summary = {
            "title": self.title,
            "remarks": list(self.remarks),
            "n": len(self.names),
            "unit": self.unit,
            "mean": {
                label: {metric: self.mean(label, metric) for metric in self.metrics}
                for label in self.rows
            },
            "input_mean": dict(self.inputs) or None,
            "pairs": pairs,
            "version": VERSION,
        }
        write_text(folder / "comparison.json", json.dumps(as_json(summary), indent=1) + "\n")
        write_table(folder / "comparison.csv", self._lines())

    def _lines(self) -> list[dict[str, str | float]]:
        lines = []
        for name in self.names:
            line: dict[str, str | float] = {"name": name}
            for label, rows in self.rows.items():
                line |= {f"{label} {metric}": rows[name][metric] for metric in self.metrics}
            lines.append(line)
        return lines


def sign_test(better: int, worse: int) -> float:
    """Two-sided p of the exact sign test: the probability of a split at least as uneven by chance.

    Ties are left out, as usual; of no differences p is 1.
    """
    count = better + worse
    term = 1  # binomial coefficients, one after the other
    total = 1
    for number in range(min(better, worse)):
        term = term * (count - number) // (number + 1)
        total += term
    return min(1.0, 2 * total / 2**count)


def named_folders(words: Sequence[str]) -> dict[str, Path]:
    """{NAME: folder} of --compare NAME=FOLDER ...; raises UserError for anything else."""
    folders: dict[str, Path] = {}
    for word in words:
        label, equals, path = word.partition("=")
        if not (equals and label.strip() and path):
            raise UserError(f"--compare {word}: write NAME=FOLDER, as before=results/old")
        if label in folders or label in (INPUT, TRUTH):
            raise UserError(f"--compare {word}: the name {label} is taken, choose another")
        if not Path(path).is_dir():
            raise UserError(f"--compare {word}: there is no folder {path}")
        folders[label] = Path(path)
    if len(folders) < 2:
        raise UserError(f"--compare {' '.join(words)}: at least two folders are compared")
    return folders


def in_all(
    wanted: Sequence[str],
    known: Collection[str],
    folders: Mapping[str, Mapping[str, object]],
    noun: str = "image",
) -> tuple[list[str], list[str]]:
    """(the wanted images that every folder holds, lines that say what is left out).

    known: those with ground truth. Raises UserError where no image is in all.
    """
    common = [name for name in wanted if all(name in held for held in folders.values())]
    lines = [f"compared: {len(common):,} of {len(wanted):,} {noun}s, those that all folders hold"]
    for label, held in folders.items():
        missing = [name for name in wanted if name not in held]
        extra = [name for name in held if name not in known]
        if missing:
            lines.append(f"{label} lacks {_named(missing)}")
        if extra:
            lines.append(f"{label} holds without ground truth {_named(extra)}")
    if not common:
        raise UserError("; ".join([f"no {noun} is in all folders", *lines[1:]]))
    return common, lines


def _named(names: Sequence[str]) -> str:
    """3: a, b, c; of many the first ones."""
    more = ", ..." if len(names) > _NAMED else ""
    return f"{len(names):,}: {', '.join(names[:_NAMED])}{more}"
