"""The chart of ranked shots."""

from collections.abc import Sequence
from dataclasses import dataclass

from utils.templates import rendered
from utils.web.results import address

MAX_ROWS = 12  # the best shots; others are points of the chart alone


@dataclass(frozen=True)
class Rank:
    """A shot: its score in 0..1, a reason in words, a small picture where it is selected.

    tied: whether it is as good as the best, as far as the score can tell. position: seconds of a
    clip, else the number of the picture.
    """

    name: str
    score: float
    reason: str
    picture: str | None
    tied: bool
    position: float


def ranking(shots: Sequence[Rank], is_clip: bool, stopped: str = "") -> str:
    """HTML of shots, the best first: points over time or number, the selected ones marked, and a
    line for each of the best. stopped: how far the work came, where it was ended early.
    """
    lowest = min(shot.position for shot in shots)
    extent = max(max(shot.position for shot in shots) - lowest, 1e-6)
    points = [
        {
            "x": 100 * (shot.position - lowest) / extent,
            "y": 100 * (1 - shot.score),
            "selected": shot.picture is not None,
            "name": shot.name,
        }
        for shot in shots
    ]
    points.sort(key=lambda point: point["x"])
    rows = [
        {"shot": shot, "rank": rank, "picture": address(shot.picture) if shot.picture else ""}
        for rank, shot in enumerate(shots[:MAX_ROWS], 1)
    ]
    tied = sum(shot.tied for shot in shots)
    return rendered(
        "ranking.html",
        points=points,
        rows=rows,
        tied=tied,
        count=len(shots),
        is_clip=is_clip,
        stopped=stopped,
    )
