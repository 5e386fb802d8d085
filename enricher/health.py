"""Whether a run is ready, why not, and how it stands: what `/health/…` and `/status` say."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from enricher import __version__
from enricher.model import DeadLetterSink, Progress, Sink, Source
from enricher.pulse import Pulse
from enricher.runtime import Runtime


@dataclass(slots=True)
class Health:
    """A runtime as those see it who watch it; reads counters, changes nothing."""

    runtime: Runtime
    stopping: asyncio.Event
    pulse: Pulse = field(default_factory=Pulse)
    began: float = field(default_factory=time.time)
    """Seconds since the epoch."""

    @property
    def outputs(self) -> dict[str, Sink | DeadLetterSink]:
        """Everything that is written to, by name."""
        return {**self.runtime.sinks, "dead_letters": self.runtime.dead_letters}

    def reasons(self) -> list[str]:
        """Say why records do not flow, or would not; empty when the run is ready."""
        stopping = ["stopping"] if self.stopping.is_set() else []
        blocked = [one.blocked for one in (*self.outputs.values(), *self.runtime.sources)]
        found = [*stopping, *filter(None, blocked)]
        if not self.runtime.opened and not found:
            found.append("sinks: not connected yet")
        return list(dict.fromkeys(found))

    def status(self) -> dict[str, Any]:
        """Tell everything at once, as JSON can hold it."""
        runtime, tally = self.runtime, self.runtime.tally
        why = self.reasons()
        return {
            "pipeline": runtime.pipeline,
            "digest": runtime.digest,
            "version": __version__,
            "uptime_s": round(time.time() - self.began, 3),
            "ready": not why,
            "reasons": why,
            "records": {"read": tally.read, "settled": tally.records},
            "documents": tally.families(),
            "dead_letters": tally.dead_letters,
            "dropped": tally.dropped,
            "alerts": tally.alerts,
            "bytes_in_flight": runtime.budget.used,
            "bytes_in_flight_limit": runtime.budget.limit,
            "deliveries_in_flight": runtime.in_flight,
            "longest_stall_s": round(self.pulse.longest_s, 4),
            "sources": {source.name: _source_status(source) for source in runtime.sources},
            "sinks": {name: _sink_status(sink) for name, sink in self.outputs.items()},
            "reloads": {
                "ok": runtime.reloads.ok,
                "failed": runtime.reloads.failed,
                "last_time": runtime.reloads.last_time,
                "last_error": runtime.reloads.last_error,
            },
        }


def progress(source: Source) -> list[Progress]:
    """Give how far each partition of a source is, where it has any."""
    found: list[Progress] = source.progress() if hasattr(source, "progress") else []
    return found


def counts(source: Source) -> dict[str, Any]:
    """Give what a source counts, by name, where it does."""
    kept = getattr(source, "counts", None)
    return {} if kept is None else asdict(kept)


def _source_status(source: Source) -> dict[str, Any]:
    partitions = {
        f"{one.topic}/{one.partition}": {
            "watermark": one.watermark,
            "lag": one.lag,
            "age_s": round(one.age_s, 3),
        }
        for one in progress(source)
    }
    return {"blocked": source.blocked, "partitions": partitions, **counts(source)}


def _sink_status(sink: Sink | DeadLetterSink) -> dict[str, Any]:
    names = ("retries", "conflicts", "superseded")
    kept = {name: getattr(sink, name) for name in names if hasattr(sink, name)}
    return {"blocked": sink.blocked, **kept}
