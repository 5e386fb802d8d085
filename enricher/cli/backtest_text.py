"""The result of a backtest for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from enricher.backtest.figures import bars, percent, shown, sparkline
from enricher.backtest.result import (
    AgainstResult,
    Changed,
    LevelResult,
    Quality,
    Result,
    ScoreResult,
)
from enricher.cli.outcomes import plain
from enricher.cli.test import as_text as value_text

WIDTH = 40
"""Characters of the longest bar."""
CURVE_LINES = 20
LONGEST = 44
"""Characters of a rule or a name that are shown."""


def as_text(result: Result) -> str:
    """Write everything, coloured; `click.echo` takes the colours out where there is no terminal."""
    return "\n".join(lines_of(result))


def lines_of(result: Result) -> Iterator[str]:
    """Yield the lines."""
    speed = f"in {result.seconds:.1f} s, {result.events_per_second:,} events/s"
    yield f"{result.pipeline}: {result.events:,} events {speed}"
    if result.first:
        yield f"from {result.first} to {result.last}"
    if result.late:
        late = f"{result.late:,} came too late to be put in order: a larger --lateness may help"
        yield click.style(late, fg="yellow")
    if result.labels:
        labels = result.labels
        yield (
            f"{labels.frauds:,} labels of {plain(labels.field)} say fraud, "
            f"{labels.in_history:,} of them in the history"
        )
    for score in result.scores:
        yield from score_lines(score)
    for title, counts in (
        ("documents by index", result.documents),
        ("alerts (nobody was told)", result.alerts),
        ("outputs (nothing was sent)", result.outputs),
        ("dead letters", result.dead_letters),
        ("dropped", result.dropped),
    ):
        yield from block(title, counts)
    if result.against:
        yield from against_lines(result.against)


def title(text: str) -> str:
    """Write the title of a block."""
    return click.style(plain(text), bold=True)


def block(name: str, counts: dict[str, int]) -> Iterator[str]:
    """Yield counts by name; nothing where there are none."""
    if counts:
        yield ""
        yield title(name)
        yield from table((), [(short(one), f"{count:,}") for one, count in counts.items()])


def score_lines(score: ScoreResult) -> Iterator[str]:
    """Yield what one score stage did."""
    yield ""
    yield title(f"{score.name} → {score.target}") + (
        f": {score.scored:,} events scored ({percent(score.share)})"
    )
    if score.unscored_frauds:
        yield click.style(f"{score.unscored_frauds:,} frauds were never scored", fg="yellow")
    labelled = score.frauds is not None
    head = ("rule", "points", "hits", "share", "mean score", *QUALITY[:2] * labelled, "scores")
    lowest = score.distribution[0].score if score.distribution else 0
    highest = score.distribution[-1].score if score.distribution else 0
    yield from table(
        head,
        [
            (
                *(short(rule.reason), short(rule.add), f"{rule.hits:,}", percent(rule.share)),
                shown(rule.mean_score),
                *quality_cells(rule.quality)[:2],
                sparkline(rule.distribution, lowest, highest),
            )
            for rule in score.rules
        ],
        last_left=True,
    )
    yield ""
    head = ("score", "events", "share", *("fraud",) * labelled, "")
    yield from table(
        head,
        [
            (
                *(one.name, f"{one.events:,}", percent(one.events / max(score.scored, 1))),
                *(f"{one.frauds:,}",) * labelled,
                click.style("▇" * round(WIDTH * one.length) or "▏" * (one.events > 0), fg="cyan"),
            )
            for one in bars(score.distribution)
        ],
        last_left=True,
    )
    yield ""
    yield from level_lines(score.levels, labelled=labelled)
    yield from curve_lines(score)


QUALITY = ("precision", "recall", "F1")


def quality_cells(quality: Quality | None) -> tuple[str, ...]:
    """Write precision, recall and F1; nothing without labels."""
    if quality is None:
        return ()
    return percent(quality.precision), percent(quality.recall), percent(quality.f1)


def level_lines(levels: Sequence[LevelResult], *, labelled: bool) -> Iterator[str]:
    """Yield the levels; with labels, how well "this one or higher" meets the fraud."""
    head = ("level", "events", "share", *("fraud", "no fraud", *QUALITY) * labelled)
    lines = []
    for level in levels:
        confusion = (f"{level.frauds:,}", f"{level.count - level.frauds:,}") * labelled
        cells = (short(level.name), f"{level.count:,}", percent(level.share))
        lines.append((*cells, *confusion, *quality_cells(level.quality)))
    yield from table(head, lines) if lines else ()


def curve_lines(score: ScoreResult) -> Iterator[str]:
    """Yield precision and recall by threshold, every so many of them where there are many."""
    if not score.curve:
        return
    yield ""
    step = -(-len(score.curve) // CURVE_LINES)
    yield from table(
        ("at least", "chosen", *QUALITY, "false positives"),
        [
            (
                *(str(one.score), f"{one.quality.chosen:,}", *quality_cells(one.quality)),
                percent(one.quality.false_positive_rate),
            )
            for one in score.curve[::step]
        ],
    )


def against_lines(against: AgainstResult) -> Iterator[str]:
    """Yield what another pipeline would change."""
    yield ""
    yield title(f"against {against.file}") + (
        f": {against.changed:,} events would change ({percent(against.share)})"
    )
    kinds = ("scores", "levels", "alerts", "outputs", "indices", "outcomes")
    yield from table((), [(kind, f"{getattr(against, kind):,}") for kind in kinds])
    yield from block("alerts that would be new", against.new_alerts)
    yield from block("alerts that would be gone", against.lost_alerts)
    yield from block("outputs that would be new", against.new_outputs)
    yield from block("outputs that would be gone", against.lost_outputs)
    yield from block("fields that differ", against.fields)
    for name, moves in against.moves.items():
        yield ""
        yield title(f"levels of {name}, from one to the other")
        olds = list(dict.fromkeys(move.old for move in moves))
        news = list(dict.fromkeys(move.new for move in moves))
        counts = {(move.old, move.new): move.count for move in moves}
        yield from table(
            ("from \\ to", *map(short, news)),
            [(short(old), *(f"{counts.get((old, new), 0):,}" for new in news)) for old in olds],
        )
    for changed in against.examples:
        yield from changed_lines(changed)


def changed_lines(changed: Changed) -> Iterator[str]:
    """Yield one event that would change, as a failed test is shown."""
    yield ""
    scores = ", ".join(f"{n} {shown(a)} → {shown(b)}" for n, (a, b) in changed.scores.items())
    label = "" if changed.label is None else f" {changed.label}"
    yield title(f"{changed.id}{label}") + (f"  {plain(scores)}" if scores else "")
    for one in changed.differences:
        yield f"  {plain(one.path)}"
        yield click.style(f"  - {plain(value_text(one.expected))}", fg="red")
        yield click.style(f"  + {plain(value_text(one.got))}", fg="green")


def short(text: str) -> str:
    """Write a text so that it fits its column and does nothing to a terminal."""
    text = plain(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def table(
    head: Sequence[str], lines: Sequence[Sequence[str]], *, last_left: bool = False
) -> Iterator[str]:
    """Yield the lines of a table: names to the left, numbers to the right."""
    rows = [head, *lines] if head else list(lines)
    widths = [max(len(click.unstyle(row[n])) for row in rows) for n in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = []
        for n, (cell, width) in enumerate(zip(row, widths, strict=True)):
            is_left = n == 0 or (last_left and n == len(row) - 1)
            gap = " " * (width - len(click.unstyle(cell)))
            cells.append(cell + gap if is_left else gap + cell)
        line = f"  {'  '.join(cells)}".rstrip()
        yield click.style(line, dim=True) if head and not number else line
