"""What each stage does to one event: a diff by field, its `when`, its time."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import click
import orjson

from enricher.cli import outcomes
from enricher.loop import Step
from enricher.model import Event, Outcome, Record
from enricher.plan import Plan, fuse_singly, run_part


async def explain(plan: Plan, record: Record) -> tuple[list[str], Outcome | None]:
    """Give the lines that explain one record, and its outcome."""
    plan.single = plan.single or tuple(fuse_singly(plan.steps, plan.ending))
    lines = [click.style(f"record {record.id}", bold=True)]
    begin = time.perf_counter_ns()
    events, done = plan.start([record])
    event = events[0]
    lines.append(_title(plan.decoder_name, "", begin))
    if event is not None:
        lines += [f"    {click.style('+', fg='green')} {line}" for line in _fields(event)]
    for step, part in zip((*plan.steps, None), plan.single, strict=True):
        event = events[0]
        if event is None:
            break
        before = copy.deepcopy(event)
        note = _condition(step, event)
        begin = time.perf_counter_ns()
        await run_part(part, [record], events, done)
        lines.append(_title(step.name if step else "routes", note, begin))
        after = before if events[0] is None else events[0]
        lines += [f"    {line}" for line in difference(before, after)]
    lines += [*outcomes.pretty(done[0]).rstrip().split("\n"), ""] if done[0] else []
    return lines, done[0]


def _condition(step: Step | None, event: Event) -> str:
    if step is None or step.when is None:
        return ""
    return "  when: true" if step.when(event) else "  when: false, skipped"


def _title(name: str, note: str, begin: int) -> str:
    microseconds = (time.perf_counter_ns() - begin) / 1000
    return f"  {click.style(name, fg='cyan')}{note}  {microseconds:.1f} µs"


def _fields(event: Event) -> Iterator[str]:
    return (_field(path, value) for path, value in flatten(event))


def _field(path: str, value: Any) -> str:
    return f"{outcomes.plain(path)}: {_json(value)}"


def _json(value: Any) -> str:
    return outcomes.plain(orjson.dumps(value, default=repr).decode())


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of an object with its path."""
    if isinstance(value, dict) and (value or not path):
        for key, element in value.items():
            yield from flatten(element, f"{path}.{key}" if path else key)
    else:
        yield path, value


def difference(before: Event, after: Event) -> Iterator[str]:
    """Yield the fields that changed, as `+ path: value` and `- path: value`."""
    old, new = dict(flatten(before)), dict(flatten(after))
    for path, value in old.items():
        if path not in new:
            yield f"{click.style('-', fg='red')} {_field(path, value)}"
    for path, value in new.items():
        if path not in old:
            yield f"{click.style('+', fg='green')} {_field(path, value)}"
        elif _json(old[path]) != _json(value):
            yield f"{click.style('~', fg='yellow')} {_field(path, old[path])} → {_json(value)}"
