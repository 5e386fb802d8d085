"""Whether a run is ready, why not, and how it stands: what `/health/…` and `/status` say."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from enricher import __version__
from enricher.alerts.alerting import Alerting
from enricher.model import DeadLetterSink, OutputSink, Progress, Sink, Source
from enricher.pulse import Pulse
from enricher.runtime import Runtime

if TYPE_CHECKING:
    from enricher.lookups.cached import CachedStore
    from enricher.lookups.server import RedisServer
    from enricher.state.asking import Asking


@dataclass(slots=True)
class Health:
    """A runtime as those see it who watch it; reads counters, changes nothing."""

    runtime: Runtime
    stopping: asyncio.Event
    pulse: Pulse = field(default_factory=Pulse)
    began: float = field(default_factory=time.time)
    """Seconds since the epoch."""
    alerting: Alerting | None = None
    """What sends alerts; it never makes a run unready."""

    @property
    def sinks(self) -> dict[str, Sink | OutputSink | DeadLetterSink]:
        """Everything that is written to, by name."""
        runtime = self.runtime
        beside = {f"{name}_outputs": sink for name, sink in runtime.output_sinks.items()}
        return {**runtime.sinks, **beside, "dead_letters": runtime.dead_letters}

    def reasons(self) -> list[str]:
        """Say why records do not flow, or would not; empty when the run is ready."""
        stopping = ["stopping"] if self.stopping.is_set() else []
        blocked = [one.blocked for one in (*self.sinks.values(), *self.runtime.sources)]
        blocked += [one.blocked for one in lookups(self.runtime).values()]
        blocked += [one.blocked for one in windows(self.runtime).values()]
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
            "outputs": tally.outputs,
            "alerting": _alerting_status(self.alerting) if self.alerting else {},
            "bytes_in_flight": runtime.budget.used,
            "bytes_in_flight_limit": runtime.budget.limit,
            "deliveries_in_flight": runtime.in_flight,
            "longest_stall_s": round(self.pulse.longest_s, 4),
            "sources": {source.name: _source_status(source) for source in runtime.sources},
            "sinks": {name: _sink_status(sink) for name, sink in self.sinks.items()},
            "lookups": {
                name: {"blocked": one.blocked, **asdict(one.answered)}
                for name, one in lookups(runtime).items()
            },
            "windows": {
                name: {"blocked": one.blocked, **asdict(one.counts)}
                for name, one in windows(runtime).items()
            },
            "redis": {
                one.name: {
                    "away": one.breaker.reason,
                    "round_trips": one.round_trips,
                    "failures": one.failures,
                }
                for one in servers(runtime)
            },
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


def lookups(runtime: Runtime) -> dict[str, CachedStore]:
    """Give what the look-ups of the plan of now ask, by the name of their stage."""
    steps = getattr(runtime.plan, "steps", ())
    return {one.name: one.function.asked for one in steps if hasattr(one.function, "asked")}


def windows(runtime: Runtime) -> dict[str, Asking]:
    """Give what the window stages of the plan of now ask, by the name of their stage."""
    steps = getattr(runtime.plan, "steps", ())
    return {one.name: one.function.asking for one in steps if hasattr(one.function, "asking")}


def servers(runtime: Runtime) -> list[RedisServer]:
    """Give the servers of Redis that are asked, where there are some."""
    return list(getattr(runtime.lookups, "servers", ()))


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


def _alerting_status(alerting: Alerting) -> dict[str, Any]:
    return {
        "told": [
            {
                "alert": one.alert,
                "sender": one.sender,
                **asdict(one.counts),
                "waiting": one.counts.waiting,
            }
            for one in alerting.accounts()
        ],
        "firing": {name: len(firing) for name, firing in alerting.replicas.firing.items()},
        "senders": [way._asdict() for way in alerting.ways()],
        "unsent": alerting.unsent,
    }


def _sink_status(sink: Sink | OutputSink | DeadLetterSink) -> dict[str, Any]:
    names = ("retries", "conflicts", "superseded")
    kept = {name: getattr(sink, name) for name in names if hasattr(sink, name)}
    return {"blocked": sink.blocked, **kept}
