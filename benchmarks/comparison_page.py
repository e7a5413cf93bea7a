"""The page of benchmarks/comparison.py: its words, tables and strips of pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import hardware
from utils.contact_sheet import contact_sheet_of_rows
from utils.files import write_text
from utils.report import Example, gained_region

PANEL = 192  # px, of a strip's pictures
PAGE = """\
# Comparison

The shipped networks, the textbook methods, and the networks of the version before. Written by

```bash
python -m benchmarks.kinds make --data_path SHARP --output_dir dataset/kinds
python -m benchmarks.comparison --data_path dataset/kinds --pairs GOPRO_PAIRS
```

* *scale 1*, *mean*, *auto*: the shipped network at each `--scale`; `auto` is what `inference.py`
  does unless told otherwise. *before*: the weights of the version before, at scale 1.
* *unsharp mask*, *Wiener*, *Richardson-Lucy*: `benchmarks/classics.py`. *best* are upper bounds
  that nobody reaches: for every picture they were given the straight motion or Gaussian, and the
  strength, that come nearest to the sharp picture.
* *measured* is what one can really do: a Gaussian as wide as the blur that the shipped meter
  measures, since it tells no direction.
* Real pairs are recorded, those of GoPro (S. Nah et al. 2017) averages of fast frames. All other
  blur is simulated from sharp pictures and videos that no network was trained on
  (`data/validation_kinds.py`); of large photos the middle is shown.
* In brackets behind a kind: how many pictures or frames were scored. A sharp input has nothing to
  gain: its cells tell how near the result stays to it.

{lpips}Measured on {hardware}. Seconds of *best* hold the search for its kernel.
{tables}

## Pictures

The 192 px where blur took most detail, chosen before anything was restored. {credit}.

![blurry, Richardson-Lucy at its best, the shipped network at scale 1 and auto, sharp]({strips})
"""
CREDIT = "Pictures that come with scikit-image, blurred by `data/synthesis`"


@dataclass(frozen=True)
class Table:
    """A table of kinds of material: rows {kind: {column: scores}}.

    cell: the text of (scores, scores of the kind's first column).
    """

    title: str
    rows: dict[str, dict[str, Any]]
    cell: Callable[[Any, Any], str]

    def lines(self) -> list[list[str]]:
        """Cells, the first row being the heads."""
        columns = list(next(iter(self.rows.values())))
        lines = [["", *columns]]
        for kind, row in self.rows.items():
            first = row[columns[0]]
            lines.append([kind, *(self.cell(scores, first) for scores in row.values())])
        return lines

    def markdown(self) -> str:
        """The table below its title."""
        head, *body = self.lines()
        lines = [head, ["---"] * len(head), *body]
        return "\n".join([f"\n## {self.title}\n", *(f"| {' | '.join(line)} |" for line in lines)])


@dataclass(frozen=True)
class Strip:
    """8-bit pictures [H,W,3] of one size, {label: picture}, from blurry to sharp."""

    name: str
    pictures: dict[str, np.ndarray]

    def panels(self) -> dict[str, np.ndarray]:
        """The region of each in which the blur took most detail from the sharp picture."""
        first, *_, last = self.pictures.values()
        region = []
        for span in gained_region(Example(self.name, first, last)):
            side = min(PANEL, span.stop - span.start)
            start = (span.start + span.stop - side) // 2
            region.append(slice(start, start + side))
        return {label: picture[*region] for label, picture in self.pictures.items()}


def write_page(
    page: Path, tables: Sequence[Table], strips: Sequence[Strip], credit: str, no_lpips: str
) -> None:
    """Write the page, and its strips beside it as one JPEG.

    credit: where further pictures come from. no_lpips: why there is no LPIPS; "" where there is.
    """
    pictures = page.with_suffix(".jpg")
    contact_sheet_of_rows(pictures, {strip.name: strip.panels() for strip in strips}, PANEL)
    credits = [CREDIT, credit] if credit else [CREDIT]
    text = PAGE.format(
        lpips=f"{no_lpips.split(',')[0].rstrip('.')}. " if no_lpips else "",
        hardware=hardware(),
        tables="\n".join(table.markdown() for table in tables if table.rows),
        credit="; ".join(credits),
        strips=pictures.name,
    )
    write_text(page, text)
