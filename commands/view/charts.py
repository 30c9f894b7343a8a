"""Charts of shares against shares, as places in a drawing of fixed size that a template draws as SVG.

Axes go from 0 to 1. Every chart stands beside a table of the same numbers, for whoever does not see it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedward.figures.intervals import Interval

SIDE = 300  # of the square of the axes, in the drawing's units
LEFT, TOP = 56, 12  # what lies before it
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)

Point = tuple[float, float]


@dataclass(frozen=True)
class Dot:
    """A point, with an interval of its height.

    Attributes:
        x, y: Where it is drawn.
        low, high: Where its interval ends, downwards in the drawing; None without one.
        told: What it says.
    """

    x: float
    y: float
    low: float | None
    high: float | None
    told: str


@dataclass(frozen=True)
class Row:
    """A share on a line of its own among others.

    Attributes:
        name: What it is of.
        x: Where its point is; None without one.
        low, high: Where its interval ends; None without one.
        told: Its value, in words.
        mood: "note" for what is set apart, else "".
    """

    name: str
    x: float | None
    low: float | None
    high: float | None
    told: str
    mood: str = ""


def line(points: Iterable[Point]) -> str:
    """The points of a line for SVG: those in its course left out, each to a tenth of a unit."""
    kept: list[Point] = []
    for point in dict.fromkeys((_x(x), _y(y)) for x, y in points):
        if len(kept) > 1 and _straight(kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    return " ".join(f"{x:g},{y:g}" for x, y in kept)


def dot(x: float, y: float, interval: Interval | None = None, told: str = "") -> Dot:
    """A point of a chart."""
    low, high = (None, None) if interval is None else (_y(interval[0]), _y(interval[1]))
    return Dot(_x(x), _y(y), low, high, told)


def rows(shares: Sequence[tuple[str, float | None, Interval | None, str, str]]) -> tuple[list[Row], float]:
    """Shares below one another on an axis that ends with 1 and begins where it has to.

    Args:
        shares: Name, value, interval, value in words, and mood of each.

    Returns:
        The rows, and the share at which the axis begins, in tenths.
    """
    least = min(
        (min((value, *(interval or ()))) for _, value, interval, _, _ in shares if value is not None), default=0
    )
    begin = int(min(max(least, 0), 0.9) * 10) / 10

    def place(share: float) -> float:
        return round((share - begin) / (1 - begin) * SIDE, 1)

    drawn = []
    for name, value, interval, told, mood in shares:
        low, high = (None, None) if interval is None or value is None else (place(interval[0]), place(interval[1]))
        drawn.append(Row(name, None if value is None else place(value), low, high, told, mood))
    return drawn, begin


def _x(share: float) -> float:
    return round(LEFT + share * SIDE, 1)


def _y(share: float) -> float:
    return round(TOP + (1 - share) * SIDE, 1)


def _straight(first: Point, middle: Point, last: Point) -> bool:
    """Whether a point lies on the way from one to another, straight up or to the side: such steps a ROC curve has."""
    return first[0] == middle[0] == last[0] or first[1] == middle[1] == last[1]
