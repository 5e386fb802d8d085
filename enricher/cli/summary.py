"""The summary of a run: a table for people, one JSON object for programs."""

from __future__ import annotations

import time
from typing import Any

import orjson

from enricher.tally import Tally


def figures(tally: Tally, elapsed_s: float) -> dict[str, Any]:
    """Give the numbers of a run."""
    sampled = tally.sampled or 1
    return {
        "records": tally.records,
        "seconds": round(elapsed_s, 3),
        "events_per_second": round(tally.records / elapsed_s) if elapsed_s else 0,
        "documents": dict(sorted(tally.documents.items())),
        "alerts": dict(sorted(tally.alerts.items())),
        "outputs": dict(sorted(tally.outputs.items())),
        "dead_letters": dict(sorted(tally.dead_letters.items())),
        "dropped": dict(sorted(tally.dropped.items())),
        "cost_by_stage_us": {
            name: round(cost / sampled / 1000, 3) for name, cost in tally.cost_ns.items()
        },
    }


def as_json(tally: Tally, elapsed_s: float) -> str:
    """Write the numbers as one line of JSON."""
    return orjson.dumps(figures(tally, elapsed_s)).decode()


def as_text(tally: Tally, elapsed_s: float) -> str:
    """Write the numbers as a table."""
    numbers = figures(tally, elapsed_s)
    speed = f"{numbers['events_per_second']:,} events/s"
    lines = [f"{numbers['records']:,} records in {numbers['seconds']:.1f} s, {speed}"]
    lines += _block("documents by index", tally.families())
    for title in ("alerts", "outputs", "dead_letters", "dropped"):
        lines += _block(title.replace("_", " "), numbers[title])
    cost = numbers["cost_by_stage_us"]
    if cost:
        total = sum(cost.values())
        lines.append(f"\ncost by stage (µs an event, {total:.1f} in all)")
        lines += [
            f"  {name:<34}{value:>10.2f}  {'▇' * round(30 * value / max(cost.values()))}"
            for name, value in cost.items()
        ]
    return "\n".join(lines)


def _block(title: str, counts: dict[str, int]) -> list[str]:
    rows = [f"  {name:<34}{count:>10,}" for name, count in sorted(counts.items())]
    return [f"\n{title}", *rows] if rows else []


class Stopwatch:
    """Measures a run."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def elapsed_s(self) -> float:
        """Give the seconds since the start."""
        return time.monotonic() - self._begin
