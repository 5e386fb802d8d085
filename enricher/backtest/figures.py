"""How figures are written, the same for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from enricher.backtest.result import Bin

BARS = 25
"""Bars of a histogram, at most."""
_BLOCKS = "▁▂▃▄▅▆▇█"
_SPARKS = 16


class Bar(NamedTuple):
    """One bar of a histogram of scores."""

    name: str
    """`5`, or `5 to 9` where it stands for several scores."""
    events: int
    frauds: int
    length: float
    """From 0 to 1, the longest."""


def percent(share: float | None) -> str:
    """Write a share of 0 to 1; a dash for None."""
    if share is None:
        return "–"
    digits = 1 if share >= 0.001 or not share else 3
    return f"{100 * share:.{digits}f} %"


def shown(score: float | None) -> str:
    """Write a score; a dash for None."""
    return "–" if score is None else f"{round(score, 2):g}"


def width_for(lowest: int, highest: int, most: int) -> int:
    """Give how many scores go into one of at most so many bars: 1, 2, 5, 10, 20 and so on."""
    width, step = 1, 0
    while (highest - lowest) // width >= most:
        width, step = (width * 2, step + 1) if step % 3 != 1 else (width * 5 // 2, step + 1)
    return width


def bars(distribution: Sequence[Bin]) -> list[Bar]:
    """Give a histogram of scores, the lowest first, empty bars included."""
    if not distribution:
        return []
    lowest, highest = distribution[0].score, distribution[-1].score
    width = width_for(lowest, highest, BARS)
    begin = lowest // width * width
    counts = [0] * ((highest - begin) // width + 1)
    frauds = [0] * len(counts)
    for one in distribution:
        counts[(one.score - begin) // width] += one.count
        frauds[(one.score - begin) // width] += one.frauds
    most = max(counts)
    return [
        Bar(_name(begin + number * width, width), count, fraud, count / most)
        for number, (count, fraud) in enumerate(zip(counts, frauds, strict=True))
    ]


def _name(begin: int, width: int) -> str:
    return str(begin) if width == 1 else f"{begin} to {begin + width - 1}"


def sparkline(distribution: Sequence[Bin], lowest: int, highest: int) -> str:
    """Write a histogram in one line, between two scores; a space is none at all."""
    width = width_for(lowest, highest, _SPARKS)
    begin = lowest // width * width
    counts = [0] * ((highest - begin) // width + 1)
    for one in distribution:
        counts[(one.score - begin) // width] += one.count
    most = max(counts)
    return "".join(_BLOCKS[7 * count // most] if count else " " for count in counts).rstrip()
