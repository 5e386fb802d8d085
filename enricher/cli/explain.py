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
from enricher.model import Event, Record
from enricher.plan import Plan, fuse_singly, run_part


async def explain(plan: Plan, record: Record) -> list[str]:
    """Give the lines that explain one record."""
    lines = [click.style(f"record {record.id}", bold=True)]
    begin = time.perf_counter_ns()
    events, done = plan.start([record])
    event = events[0]
    lines.append(_title(plan.decoder_name, "", begin))
    if event is not None:
        lines += [f"    {click.style('+', fg='green')} {line}" for line in _fields(event)]
    parts = fuse_singly(plan.steps, plan.ending)
    for step, part in zip((*plan.steps, None), parts, strict=True):
        event = events[0]
        if event is None:
            break
        before = copy.deepcopy(event)
        note = _condition(step, event)
        begin = time.perf_counter_ns()
        await run_part(part, [record], events, done)
        lines.append(_title(step.name if step else "routes", note, begin))
        lines += [f"    {line}" for line in difference(before, events[0] or before)]
    lines += outcomes.pretty(done[0]).splitlines() if done[0] else []
    return lines


def _condition(step: Step | None, event: Event) -> str:
    if step is None or step.when is None:
        return ""
    return "  when: true" if step.when(event) else "  when: false, skipped"


def _title(name: str, note: str, begin: int) -> str:
    microseconds = (time.perf_counter_ns() - begin) / 1000
    return f"  {click.style(name, fg='cyan')}{note}  {microseconds:.1f} µs"


def _fields(event: Event) -> Iterator[str]:
    for path, value in flatten(event):
        yield f"{path}: {orjson.dumps(value).decode()}"


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of an object with its path."""
    if isinstance(value, dict) and value:
        for key, element in value.items():
            yield from flatten(element, f"{path}.{key}" if path else key)
    else:
        yield path, value


def difference(before: Event, after: Event) -> Iterator[str]:
    """Yield the fields that changed, as `+ path: value` and `- path: value`."""
    old, new = dict(flatten(before)), dict(flatten(after))
    for path in old.keys() - new.keys():
        yield f"{click.style('-', fg='red')} {path}: {orjson.dumps(old[path]).decode()}"
    for path, value in new.items():
        if path not in old:
            yield f"{click.style('+', fg='green')} {path}: {orjson.dumps(value).decode()}"
        elif old[path] != value or type(old[path]) is not type(value):
            was, now = orjson.dumps(old[path]).decode(), orjson.dumps(value).decode()
            yield f"{click.style('~', fg='yellow')} {path}: {was} → {now}"
