"""Plots as inline SVG: no script, nothing from elsewhere, colours from the page's style."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import log10
from typing import NamedTuple

from enricher.backtest.figures import Bar, percent

WIDTH, HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 28, 12, 44
_INNER_WIDTH = WIDTH - _LEFT - _RIGHT
_INNER_HEIGHT = HEIGHT - _TOP - _BOTTOM
_GAP = 0.2
"""Part of a bar's place that stays empty."""
_MOST_NAMES = 13
"""Names below the bars; with more bars some have none."""
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Line(NamedTuple):
    """A line of a plot."""

    name: str
    style: str
    """Its class in the page's style."""
    points: Sequence[tuple[float, float]]
    """Across and up, each from 0 to 1."""
    titles: Sequence[str] = ()
    """What the points say, where they are to be seen."""


def histogram(bars: Sequence[Bar], *, labelled: bool, across: str) -> str:
    """Draw bars by score on a logarithmic scale; with labels one for fraud beside each.

    Args:
        bars: the lowest score first.
        labelled: whether there are labels.
        across: what the bars stand for.
    """
    decades = len(str(max((bar.events for bar in bars), default=1)))  # up to the next power of ten
    parts = [*_grid([(n / decades, f"{10**n:,}") for n in range(decades + 1)])]
    place = _INNER_WIDTH / max(len(bars), 1)
    step = -(-len(bars) // _MOST_NAMES)
    for number, bar in enumerate(bars):
        left = _LEFT + place * (number + _GAP / 2)
        width = place * (1 - _GAP)
        title = f"{across} {bar.name}: {bar.events:,} events"
        if labelled:
            width /= 2
            title += f", {bar.frauds:,} of them fraud"
            height = _height(bar.frauds, decades)
            parts.append(_bar((left + width, width, height), "fraud", title))
        others = bar.events - bar.frauds if labelled else bar.events
        parts.append(_bar((left, width, _height(others, decades)), "events", title))
        if number % step == 0:
            middle = _LEFT + place * (number + 0.5)
            parts.append(_text(middle, HEIGHT - _BOTTOM + 16, bar.name, "middle"))
    names = (("events", "no fraud"), ("fraud", "fraud")) if labelled else (("events", "events"),)
    label = f"Histogram: events by {across}"
    return _svg(
        [*parts, *_legend(names), _across(f"{across} (events on a logarithmic scale)")], label
    )


def lines(
    drawn: Sequence[Line], *, across: str, ticks: Sequence[tuple[float, str]], label: str
) -> str:
    """Draw lines of shares, from 0 to 100 % upwards.

    Args:
        drawn: the lines.
        across: what is counted across.
        ticks: places across, from 0 to 1, and their names.
        label: for those who cannot see it.
    """
    parts = [*_grid([(share, percent(share)) for share in _QUARTERS])]
    parts += [_text(_x(at), HEIGHT - _BOTTOM + 16, name, "middle") for at, name in ticks]
    for line in drawn:
        path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in line.points)
        parts.append(f'<polyline class="line {line.style}" points="{path}"/>')
        for (x, y), title in zip(line.points, line.titles, strict=False):
            dot = f'<circle class="dot {line.style}" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="3.5">'
            parts.append(f"{dot}<title>{escape(title)}</title></circle>")
    names = [(line.style, line.name) for line in drawn if line.name]
    return _svg([*parts, *_legend(names), _across(across)], label)


def _x(share: float) -> float:
    return _LEFT + share * _INNER_WIDTH


def _y(share: float) -> float:
    return _TOP + (1 - share) * _INNER_HEIGHT


def _height(count: int, decades: int) -> float:
    """Give the part of the whole height that a count takes: one is a small bar, none is no bar."""
    return log10(count) / decades * 0.97 + 0.03 if count else 0.0


def _bar(shape: tuple[float, float, float], style: str, title: str) -> str:
    left, width, share = shape
    return (
        f'<rect class="{style}" x="{left:.1f}" y="{_y(share):.1f}" width="{width:.1f}" '
        f'height="{share * _INNER_HEIGHT:.1f}"><title>{escape(title)}</title></rect>'
    )


def _grid(ticks: Sequence[tuple[float, str]]) -> Iterator[str]:
    for share, name in ticks:
        y = _y(share)
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(_LEFT - 8, y + 4, name, "end")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _across(text: str) -> str:
    return _text(_LEFT + _INNER_WIDTH / 2, HEIGHT - 8, text, "middle")


def _legend(names: Sequence[tuple[str, str]]) -> Iterator[str]:
    x = WIDTH - _RIGHT - 92.0
    for number, (style, name) in enumerate(names):
        y = _TOP + 4 + 18 * number
        yield f'<rect class="{style}" x="{x}" y="{y}" width="12" height="12"/>'
        yield _text(x + 18, y + 10, name, "start")


def _svg(parts: Sequence[str], label: str) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
    return f"{head}{''.join(parts)}</svg>"
