"""How outcomes are written: a line of JSON each, or for people."""

from __future__ import annotations

from typing import Any

import click
import orjson

from enricher.model import DeadLetter, Document, Outcome


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """Give an outcome as the stable form that programs read.

    The `id` is null when it is the record's own.
    """
    if type(outcome) is Document:
        return {
            "outcome": "document",
            "index": outcome.index,
            "id": None if outcome.version is None else outcome.id,
            "document": orjson.loads(outcome.body),
            "alerts": [alert.name for alert in outcome.alerts],
        }
    if type(outcome) is DeadLetter:
        return {
            "outcome": "dead_letter",
            "stage": outcome.stage,
            "error": outcome.error,
            "reason": outcome.reason,
        }
    return {"outcome": "dropped", "stage": outcome.stage}  # type: ignore[union-attr]


def ndjson(outcome: Outcome) -> bytes:
    """Write one line."""
    return orjson.dumps(as_dict(outcome), option=orjson.OPT_APPEND_NEWLINE)


def plain(text: str) -> str:
    """Escape what a terminal would act on: texts of events may hold it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def pretty(outcome: Outcome) -> str:
    """Write an outcome for people, coloured."""
    if type(outcome) is Document:
        identity = "" if outcome.version is None else f" id {outcome.id}"
        title = click.style(plain(f"→ {outcome.index}{identity}"), fg="green", bold=True)
        alerts = "".join(
            "\n" + click.style(plain(f"! {alert.name}: {alert.summary}"), fg="yellow")
            for alert in outcome.alerts
        )
        body = orjson.dumps(orjson.loads(outcome.body), option=orjson.OPT_INDENT_2).decode()
        lines = "\n".join(map(plain, body.split("\n")))
        return f"{title}{alerts}\n{lines}\n\n"
    if type(outcome) is DeadLetter:
        title = click.style(
            f"✗ dead letter at {outcome.stage}: {outcome.error}", fg="red", bold=True
        )
        return f"{title}\n  {plain(outcome.reason)}\n\n"
    title = click.style(f"- dropped at {outcome.stage}", dim=True)  # type: ignore[union-attr]
    return f"{title}\n\n"
