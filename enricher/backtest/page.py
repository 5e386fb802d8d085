"""The report of a backtest: one HTML file that needs nothing else, and holds no script.

Texts of events (ids, values, names of indices) stand in it: all text is escaped, and the page's
own policy forbids whatever an escape that was forgotten could let in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import orjson

from enricher.backtest import svg
from enricher.backtest.figures import bars, percent, shown
from enricher.backtest.result import AgainstResult, Changed, Quality, Result, ScoreResult
from enricher.inline_tests import ABSENT

LONGEST = 2_000
"""Characters of a value that are shown."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --dim: #667085; --line: #d8dde6; --paper: #fff;
  --soft: #f4f6f9; --events: #3b7dd8; --fraud: #d8483b; --recall: #2a9d6f; --f1: #b07aa1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ef; --dim: #98a2b3; --line: #353d4a;
  --paper: #14181f; --soft: #1d232d; --events: #6ea8f0; --fraud: #f0796e; --recall: #5cc79c;
  --f1: #cfa3c4; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 2rem 0 .6rem; } h1 { margin-top: 0; }
p { margin: .4rem 0; } .dim { color: var(--dim); } .warn { color: var(--fraud); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0 1.2rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 500; } th:first-child, td:first-child { text-align: left; }
td.text, th.text { text-align: left; } code, pre { font: 13px/1.5 ui-monospace, monospace; }
td { white-space: nowrap; } td:first-child, td.text { white-space: normal; }
td.text, th.text { text-align: left; } code, pre { font: 13px/1.5 ui-monospace, monospace; }
code { overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--soft);
  padding: .6rem .8rem; border-radius: 6px; margin: .4rem 0 1rem; }
del, ins { text-decoration: none; } del { color: var(--fraud); } ins { color: var(--recall); }
svg { width: 100%; max-width: 44rem; height: auto; display: block; margin: .6rem 0 1.2rem; }
svg text { font: 12px system-ui, sans-serif; fill: var(--dim); } .grid { stroke: var(--line); }
.events { fill: var(--events); } .fraud { fill: var(--fraud); } .recall { fill: var(--recall); }
.f1 { fill: var(--f1); } .line { fill: none; stroke-width: 2; }
.line.events { stroke: var(--events); }
.line.fraud { stroke: var(--fraud); } .line.recall { stroke: var(--recall); }
.line.f1 { stroke: var(--f1); }
@media print { body { margin: 0; max-width: none; font-size: 11px; } h2, h3 { break-after: avoid; }
  svg, tr, pre { break-inside: avoid; } }
"""


def page(result: Result) -> str:
    """Write the report."""
    title = f"Backtest of {result.pipeline}"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            f"<h1>{escape(title)}</h1>",
            *_head(result),
            *(part for score in result.scores for part in _score(score)),
            *(_against(result.against) if result.against else ()),
            *_counts(result),
            "</body>\n</html>\n",
        ]
    )


def _head(result: Result) -> Iterator[str]:
    yield f"<p>{result.events:,} events of {escape(', '.join(result.files))}</p>"
    if result.first:
        yield f"<p>from {escape(result.first)} to {escape(result.last or '')}</p>"
    if result.labels:
        labels = result.labels
        yield (
            f"<p>{labels.frauds:,} labels of <code>{escape(labels.field)}</code> say fraud, "
            f"{labels.in_history:,} of them in the history</p>"
        )
    if result.late:
        yield f'<p class="warn">{result.late:,} events came too late to be put in order</p>'
    speed = f"{result.seconds:.1f} s, {result.events_per_second:,} events/s"
    yield f'<p class="dim">{speed}; no network, nobody was told of an alert</p>'


def _score(score: ScoreResult) -> Iterator[str]:
    labelled = score.frauds is not None
    yield f"<h2>{escape(score.name)} → {escape(score.target)}</h2>"
    yield f"<p>{score.scored:,} events were scored, {percent(score.share)} of all</p>"
    if score.unscored_frauds:
        yield f'<p class="warn">{score.unscored_frauds:,} frauds were never scored</p>'
    yield "<h3>Scores</h3>"
    yield svg.histogram(bars(score.distribution), labelled=labelled, across="score")
    yield "<h3>Rules</h3>"
    quality = ("precision", "recall", "F1") * labelled
    yield _table(
        ("rule", "points", "hits", "share", "mean score", *quality, "when"),
        [
            (
                *(rule.reason, rule.add, f"{rule.hits:,}", percent(rule.share)),
                *(shown(rule.mean_score), *_quality(rule.quality), rule.when),
            )
            for rule in score.rules
        ],
        last_is_code=True,
    )
    yield "<h3>Levels</h3>"
    yield _table(
        ("level", "events", "share", *("fraud", "no fraud") * labelled, *quality),
        [
            (
                *(level.name, f"{level.count:,}", percent(level.share)),
                *(f"{level.frauds:,}", f"{level.count - level.frauds:,}") * labelled,
                *_quality(level.quality),
            )
            for level in score.levels
        ],
    )
    if score.curve:
        yield '<p class="dim">Precision, recall and F1: of “this level or a higher one”.</p>'
        yield from _curve(score)


def _curve(score: ScoreResult) -> Iterator[str]:
    curve = score.curve[::-1]
    lowest, highest = curve[0].score, curve[-1].score
    span = max(highest - lowest, 1)
    drawn = [
        svg.Line(
            name,
            style,
            [((one.score - lowest) / span, getattr(one.quality, field) or 0.0) for one in curve],
        )
        for name, style, field in (
            ("precision", "events", "precision"),
            ("recall", "recall", "recall"),
            ("F1", "f1", "f1"),
        )
    ]
    named = sorted({lowest + span * part // 8 for part in range(9)})
    ticks = [((score - lowest) / span, str(score)) for score in named if score <= highest]
    yield "<h3>By threshold</h3>"
    yield svg.lines(drawn, across="at least this score", ticks=ticks,
                    label="Precision, recall and F1 by threshold")  # fmt: skip
    points = [(one.quality.recall or 0.0, one.quality.precision or 0.0) for one in curve]
    titles = [f"at least {one.score}: precision {percent(y)}, recall {percent(x)}"
              for one, (x, y) in zip(curve, points, strict=True)]  # fmt: skip
    shares = [(part / 4, percent(part / 4)) for part in range(5)]
    yield "<h3>Precision and recall</h3>"
    yield svg.lines([svg.Line("", "events", points, titles)], across="recall", ticks=shares,
                    label="Precision by recall")  # fmt: skip
    yield _table(
        ("at least", "chosen", "fraud", "precision", "recall", "F1", "false positives"),
        [
            (
                *(str(one.score), f"{one.quality.chosen:,}", f"{one.quality.found:,}"),
                *_quality(one.quality),
                percent(one.quality.false_positive_rate),
            )
            for one in score.curve
        ],
    )


def _quality(quality: Quality | None) -> tuple[str, ...]:
    if quality is None:
        return ()
    return percent(quality.precision), percent(quality.recall), percent(quality.f1)


def _counts(result: Result) -> Iterator[str]:
    for title, counts in (
        ("Documents by index", result.documents),
        ("Alerts", result.alerts),
        ("Outputs", result.outputs),
        ("Dead letters", result.dead_letters),
        ("Dropped", result.dropped),
    ):
        yield from _block(title, counts)


def _block(title: str, counts: dict[str, int]) -> Iterator[str]:
    if counts:
        yield f"<h3>{title}</h3>"
        yield _table(("", "events"), [(name, f"{count:,}") for name, count in counts.items()])


def _against(against: AgainstResult) -> Iterator[str]:
    yield f"<h2>Against {escape(against.file)}</h2>"
    yield f"<p>{against.changed:,} events would change, {percent(against.share)} of all</p>"
    kinds = ("scores", "levels", "alerts", "outputs", "indices", "outcomes")
    yield _table(("", "events"), [(kind, f"{getattr(against, kind):,}") for kind in kinds])
    yield from _block("Alerts that would be new", against.new_alerts)
    yield from _block("Alerts that would be gone", against.lost_alerts)
    yield from _block("Outputs that would be new", against.new_outputs)
    yield from _block("Outputs that would be gone", against.lost_outputs)
    yield from _block("Fields that differ", against.fields)
    for name, moves in against.moves.items():
        olds = list(dict.fromkeys(move.old for move in moves))
        news = list(dict.fromkeys(move.new for move in moves))
        counts = {(move.old, move.new): move.count for move in moves}
        yield f"<h3>Levels of {escape(name)}, from one to the other</h3>"
        yield _table(
            ("from \\ to", *news),
            [(old, *(f"{counts.get((old, new), 0):,}" for new in news)) for old in olds],
        )
    if against.examples:
        yield "<h3>The largest changes</h3>"
        yield from map(_changed, against.examples)


def _changed(changed: Changed) -> str:
    scores = ", ".join(f"{n} {shown(a)} → {shown(b)}" for n, (a, b) in changed.scores.items())
    lines = [
        f"{escape(one.path)}\n<del>- {_value(one.expected)}</del>\n<ins>+ {_value(one.got)}</ins>"
        for one in changed.differences
    ]
    label = "" if changed.label is None else f" {changed.label}"
    head = f"<p><code>{escape(changed.id + label)}</code> {escape(scores)}</p>"
    return f"{head}\n<pre>{chr(10).join(lines)}</pre>"


def _value(value: object) -> str:
    text = repr(value) if value is ABSENT else orjson.dumps(value, default=repr).decode()
    return escape(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def _table(
    head: Sequence[str], lines: Sequence[Sequence[str]], *, last_is_code: bool = False
) -> str:
    titles = [f"<th>{escape(cell)}</th>" for cell in head]
    if last_is_code:
        titles[-1] = f'<th class="text">{escape(head[-1])}</th>'
    rows = []
    for line in lines:
        cells = [f"<td>{escape(cell)}</td>" for cell in line]
        if last_is_code:
            cells[-1] = f'<td class="text"><code>{escape(line[-1])}</code></td>'
        rows.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(rows)
    table = f"<table><thead><tr>{''.join(titles)}</tr></thead>\n<tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'
