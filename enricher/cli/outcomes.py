"""How outcomes are written: a line of JSON each, or for people."""

from __future__ import annotations

from typing import Any

import click
import orjson

from enricher.model import DeadLetter, Document, Outcome, Output


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
            **({"outputs": list(map(output_as_dict, outcome.outputs))} if outcome.outputs else {}),
        }
    if type(outcome) is DeadLetter:
        return {
            "outcome": "dead_letter",
            "stage": outcome.stage,
            "error": outcome.error,
            "reason": outcome.reason,
        }
    return {"outcome": "dropped", "stage": outcome.stage}  # type: ignore[union-attr]  # `type() is` narrows nothing


def output_as_dict(output: Output) -> dict[str, Any]:
    """Give an output as programs read it: the key is null where it is the record's id."""
    to = output.to
    place = {"topic": to.topic} if to.topic else {"expire_s": to.expire_s}
    key = None if output.key == output.record.id else output.key
    return {"name": to.name, **place, "key": key, "body": orjson.loads(output.body)}


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
        outputs = "".join(map(_output, outcome.outputs))
        return f"{title}{alerts}\n{_indented(outcome.body)}{outputs}\n\n"
    if type(outcome) is DeadLetter:
        title = click.style(
            f"✗ dead letter at {outcome.stage}: {outcome.error}", fg="red", bold=True
        )
        return f"{title}\n  {plain(outcome.reason)}\n\n"
    title = click.style(f"- dropped at {outcome.stage}", dim=True)  # type: ignore[union-attr]
    return f"{title}\n\n"


def _output(output: Output) -> str:
    where = f"kafka {output.to.topic}" if output.to.topic else "redis"
    title = plain(f"⇒ {output.to.name}: {where} {output.key}")
    return f"\n{click.style(title, fg='cyan')}\n{_indented(output.body)}"


def _indented(body: bytes) -> str:
    text = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    return "\n".join(map(plain, text.split("\n")))
