"""Where each number of `/metrics` is read: functions from a run's health to labels and numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from enricher import __version__
from enricher.alerts.alerting import Account, Way
from enricher.health import Health, counts, lookups, progress, servers, windows
from enricher.histogram import Histogram
from enricher.model import Progress

if TYPE_CHECKING:
    from enricher.lookups.server import RedisServer

ERRORS = 200
"""Stages and errors of dead letters that are told apart, at most."""

Value = float | Histogram
Samples = Iterable[tuple[tuple[str, ...], Value]]
"""Values of the labels, and the number."""


def single(read: Callable[[Health], float]) -> Callable[[Health], Samples]:
    """Read one number."""
    return lambda health: [((), read(health))]


def each(read: Callable[[Health], dict[str, int]]) -> Callable[[Health], Samples]:
    """Read a number by name."""
    return lambda health: [((name,), count) for name, count in read(health).items()]


def of_sinks(name: str) -> Callable[[Health], Samples]:
    """Read a counter or histogram of every sink that has it."""
    return lambda health: [
        ((sink,), getattr(output, name))
        for sink, output in health.sinks.items()
        if hasattr(output, name)
    ]


def of_sources(name: str) -> Callable[[Health], Samples]:
    """Read what every source counts that counts it."""
    return lambda health: [
        ((source.name,), kept[name])
        for source in health.runtime.sources
        if name in (kept := counts(source))
    ]


def by_partition(read: Callable[[Progress], float | None]) -> Callable[[Health], Samples]:
    """Read a number of each partition; None where it is not known yet."""

    def samples(health: Health) -> Iterator[tuple[tuple[str, ...], Value]]:
        for source in health.runtime.sources:
            for one in progress(source):
                value = read(one)
                if value is not None:
                    yield (source.name, one.topic, str(one.partition)), value

    return samples


def dead_letters(health: Health) -> Samples:
    """Read dead letters by stage and error, of `ERRORS` pairs at most."""
    found: dict[tuple[str, ...], int] = {}
    for key, count in health.runtime.tally.dead_letters.items():
        stage, _, error = key.rpartition(": ")
        labels = (stage, error)
        if labels not in found and len(found) >= ERRORS:
            labels = ("other", "other")
        found[labels] = found.get(labels, 0) + count
    return found.items()


def stage_costs(health: Health) -> Samples:
    """Read the seconds spent in each stage."""
    return [((name,), ns / 1e9) for name, ns in health.runtime.tally.cost_ns.items()]


def sampled_records(health: Health) -> Samples:
    """Read the records over which that was measured."""
    tally = health.runtime.tally
    return [((name,), tally.sampled) for name in tally.cost_ns]


def refused(health: Health) -> Samples:
    """Read what sources refused, by reason."""
    return [
        ((source.name, reason), count)
        for source in health.runtime.sources
        for reason, count in counts(source).get("refused", {}).items()
    ]


def requests(health: Health) -> Samples:
    """Read how requests to sources were answered, by status."""
    return [
        ((source.name, status), number)
        for source in health.runtime.sources
        for status, number in counts(source).get("requests", {}).items()
    ]


def file_lags(health: Health) -> Samples:
    """Read how far each followed file is behind, of a bounded number of files."""
    return [
        ((source.name, file), lag)
        for source in health.runtime.sources
        if hasattr(source, "lags")
        for file, lag in source.lags().items()
    ]


def partitions(health: Health) -> Samples:
    """Read how many partitions each source has."""
    return [
        ((source.name,), len(progress(source)))
        for source in health.runtime.sources
        if hasattr(source, "progress")
    ]


def reloads(health: Health) -> Samples:
    """Read how often the plan was exchanged, and how often not."""
    done = health.runtime.reloads
    return [(("ok",), done.ok), (("failed",), done.failed)]


def last_reload(health: Health) -> Samples:
    """Read the time of the last attempt, if there was one."""
    at = health.runtime.reloads.last_time
    return [] if at is None else [((), at)]


def looked_up(health: Health) -> Samples:
    """Read who answered the look-ups of each stage."""
    return [
        ((stage, by), count)
        for stage, one in lookups(health.runtime).items()
        for by, count in asdict(one.answered).items()
    ]


def windowed(health: Health) -> Samples:
    """Read what became of the events of each window stage."""
    return [
        ((stage, outcome), count)
        for stage, one in windows(health.runtime).items()
        for outcome, count in asdict(one.counts).items()
    ]


def of_servers(read: Callable[[RedisServer], float]) -> Callable[[Health], Samples]:
    """Read a number of every Redis server."""
    return lambda health: [((one.name,), read(one)) for one in servers(health.runtime)]


def unverified(health: Health) -> Samples:
    """Name the connections whose certificates are not checked."""
    return [((name,), 1) for name in health.runtime.unverified]


def build_info(health: Health) -> Samples:
    """Name what runs here."""
    return [((__version__, health.runtime.pipeline, health.runtime.digest), 1)]


def accounts(health: Health) -> list[Account]:
    """Give what became of the matches of each alert."""
    return health.alerting.accounts() if health.alerting else []


def alerts(name: str) -> Callable[[Health], Samples]:
    """Read a count of every alert and sender."""
    return lambda health: [
        ((one.alert, one.sender), getattr(one.counts, name)) for one in accounts(health)
    ]


def dropped_alerts(health: Health) -> Samples:
    """Read what nobody is told of, by reason."""
    return [
        ((one.alert, one.sender, reason), count)
        for one in accounts(health)
        for reason, count in one.counts.dropped.items()
    ]


def firing(health: Health) -> Samples:
    """Read how many label sets fire of each alert."""
    found = health.alerting.replicas.firing if health.alerting else {}
    return [((name,), len(fires)) for name, fires in found.items()]


def ways(read: Callable[[Way], float]) -> Callable[[Health], Samples]:
    """Read a number of everything that alerts are sent to."""
    return lambda health: [
        ((way.sender, way.to), read(way))
        for way in (health.alerting.ways() if health.alerting else [])
    ]


def databases(health: Health) -> Samples:
    """Read when each GeoIP database in use was built."""
    steps = getattr(health.runtime.plan, "steps", ())
    databases = {id(d): d for step in steps if (d := getattr(step.function, "database", None))}
    return [((str(one.file), one.kind), one.built_at) for one in databases.values()]
