"""`enricher bench`."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from enricher.model import Record
    from enricher.plan import Plan

ROUNDS = 7
BATCH = 1000


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--lookups", type=click.Path(path_type=Path), help="A file in place of Redis.")
@click.option("--format", "output", type=click.Choice(["text", "json"]), default="text",
              show_default=True, help="Of the result.")  # fmt: skip
def command(pipeline: Path, file: Path, lookups: Path | None, output: str) -> None:
    """Measure what a pipeline costs an event, as a ratio to the JSON codec's cost.

    The codec floor is `orjson.loads` and `orjson.dumps` of the same records, in the same run:
    machines differ, the ratio hardly does. Raw bytes in, routed JSON bytes out, no I/O.

    \b
    Examples:
      enricher generate -n 20000 > events.ndjson
      enricher bench pipelines/payments.yaml events.ndjson
    """
    import orjson

    from enricher.build import build
    from enricher.cli.dry_run import batches
    from enricher.config import load
    from enricher.lookups import FileLookups, read_lookups
    from enricher.model import UserError
    from enricher.state import MemoryStates

    store = FileLookups(read_lookups(lookups)) if lookups else None
    states = MemoryStates()
    plan = build(load(pipeline, connections={}), store, states)
    records = [record for batch in batches((str(file),), None) for record in batch]
    if not records:
        raise UserError(f"{file}: there are no records to measure")
    parts = [records[at : at + BATCH] for at in range(0, len(records), BATCH)]
    result = measure(plan, parts, states.clear)
    click.echo(orjson.dumps(result).decode() if output == "json" else as_text(result))


def measure(
    plan: Plan, batches: list[list[Record]], forget: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Run floor and plan in turn, several times; give medians.

    `forget` makes the plan's stages forget the events of the round before: they are new again.
    """
    from enricher import memory

    asyncio.run(_process(plan, batches))  # caches
    memory.settle()
    count = sum(map(len, batches))
    floors, ratios = [], []
    costs: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        floor = _floor(batches)
        forget()
        spent = asyncio.run(_process(plan, batches))
        floors.append(floor)
        ratios.append(spent / floor)
        forget()
        stages = asyncio.run(_process_timed(plan, batches))
        for name, cost in stages.items():
            costs.setdefault(name, []).append(cost / 1e9 / floor)
    floor_us = statistics.median(floors) / count * 1e6
    return {
        "events": count,
        "floor_us": round(floor_us, 2),
        "ratio": round(statistics.median(ratios), 2),
        "event_us": round(statistics.median(ratios) * floor_us, 2),
        "by_stage": {name: round(statistics.median(cost), 3) for name, cost in costs.items()},
    }


def _floor(batches: list[list[Record]]) -> float:
    import orjson

    begin = time.process_time()
    for records in batches:
        for record in records:
            try:
                orjson.dumps(orjson.loads(record.value))
            except orjson.JSONDecodeError:
                continue
    return time.process_time() - begin


async def _process(plan: Plan, batches: list[list[Record]]) -> float:
    begin = time.process_time()
    for records in batches:
        await plan.process(records)
    return time.process_time() - begin


async def _process_timed(plan: Plan, batches: list[list[Record]]) -> dict[str, int]:
    costs: dict[str, int] = {}
    for records in batches:
        await plan.process_timed(records, costs)
    return costs


def as_text(result: dict[str, Any]) -> str:
    """Write the result as a table."""
    lines = [
        f"{result['events']:,} events; codec floor {result['floor_us']} µs an event",
        f"the plan, fused: {result['ratio']:.2f}× the floor, {result['event_us']} µs an event",
        "",
        "stage by stage (unfused, so the sum is more), × the floor",
    ]
    most = max(result["by_stage"].values())
    for name, ratio in result["by_stage"].items():
        lines.append(f"  {name:<28}{ratio:>7.3f}  {'▇' * round(30 * ratio / most)}")
    return "\n".join(lines)
