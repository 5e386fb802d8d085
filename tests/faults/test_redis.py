"""Redis is killed, or hangs, under load: what cannot be looked up is tagged, and nothing waits."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from enricher.generator import users
from enricher.generator.customers import BROKEN
from tests.admin_client import get

from . import results
from .checker import Found
from .daemon import Daemon
from .scale import SCALE
from .world import World

USERS = {key.removeprefix("user:") for key, _ in users()}
TAG = "_user_lookup_failure"
WARM = 2_000
A_BATCH = timedelta(seconds=1)
"""How long ago the batch may have begun that was the first to miss Redis."""
AFTER = 1_000
"""Events that are sent once Redis is back."""


class Pace(NamedTuple):
    """How fast a daemon was."""

    records_a_second: float
    cpu_us: float
    """Of its own for a record, whatever else the machine had to do."""
    seconds: float
    """Over which there were records to read."""


class Watched:
    """A daemon whose figures are read while it runs."""

    def __init__(self, world: World) -> None:
        self._socket = world.folder / "admin"
        self.daemon: Daemon = world.start("--admin", f"unix:{self._socket}")

    def figures(self) -> Counter[str]:
        """Give every figure, by its name and its telling label; nothing before it has started."""
        try:
            _, text = get(self._socket, "/metrics")
        except (FileNotFoundError, ConnectionRefusedError):
            return Counter()
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for name, labels, value, *_ in family.samples:
                found[name] += value  # type: ignore[assignment]
                found[f"{name} {labels.get('answered_by', '')}"] += value  # type: ignore[assignment]
        return found

    def settled(self) -> float:
        return self.figures()["enricher_records_settled_total"]

    def pace_over(self, seconds: float, sent: int) -> Pace:
        """Wait so many seconds; tell how fast records were settled while any were left."""
        before, begin = self.figures(), time.monotonic()
        now, passed_s = before, 0.0
        while passed_s < seconds:
            time.sleep(min(0.5, seconds - passed_s))
            now, passed_s = self.figures(), time.monotonic() - begin
            if now["enricher_records_settled_total"] >= sent:
                break
        time.sleep(max(0.0, seconds - passed_s))
        records = now["enricher_records_settled_total"] - before["enricher_records_settled_total"]
        cpu_s = now["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
        return Pace(records / passed_s, 1e6 * cpu_s / records, passed_s)


@pytest.mark.parametrize("how", ["killed", "hung"])
def test_redis_is_away_under_load(world: World, valkey: Any, how: str) -> None:
    """0 lost, all that could not be looked up tagged, and enriched again by itself afterwards."""
    remember_few(world)
    world.ledger.send(SCALE.redis_events, seed=SCALE.seed)
    watched = Watched(world)
    world.until(lambda: watched.settled() > WARM, 60, "under load")
    up = watched.pace_over(SCALE.redis_up_s, SCALE.redis_events)

    away_at = datetime.now(UTC)
    valkey.kill() if how == "killed" else valkey.pause()
    down = watched.pace_over(SCALE.redis_down_s, SCALE.redis_events)
    world.until(lambda: watched.figures()["enricher_redis_circuit_open"] == 1, 30, "open circuit")
    figures = watched.figures()
    valkey.start() if how == "killed" else valkey.resume()
    begin = time.monotonic()
    while watched.figures()["enricher_redis_circuit_open"]:
        assert time.monotonic() - begin < 30, world.logs
    recovery_s = time.monotonic() - begin
    recovered_at = datetime.now(UTC)

    world.ledger.send(AFTER, seed=SCALE.seed + 1)
    world.until_settled(300)
    assert watched.daemon.stop() == 0, world.logs
    verdict = world.verdict()
    assert verdict.clean, f"{verdict}\n{world.logs}"
    tagged = check(world.documents(), away_at, recovered_at)
    results.note(
        f"Redis {how} for {SCALE.redis_down_s:g} s under load",
        verdict,
        records_a_second_before=round(up.records_a_second),
        records_a_second_meanwhile=round(down.records_a_second),
        s_under_load_meanwhile=round(down.seconds),
        percent=round(100 * down.records_a_second / up.records_a_second),
        µs_of_CPU_a_record_before=round(up.cpu_us, 1),
        meanwhile=round(down.cpu_us, 1),
        tagged=tagged.meanwhile,
        tagged_for_a_late_answer_before_or_after=tagged.late,
        answered_from_what_was_known=int(figures["enricher_lookup_events_total stale"]),
        s_until_it_was_asked_again=round(recovery_s, 2),
    )


def remember_few(world: World) -> None:
    """Leave room for the answers to some users only, and not for long: the others need Redis."""
    pipeline = json.loads(world.pipeline.read_text())
    pipeline["connections"]["redis"]["timeout_ms"] = SCALE.redis_timeout_ms
    for stage in pipeline["stages"]:
        if "lookup" in stage:
            stage["lookup"] |= {"cache_mib": 1, "cache_s": 2}
    world.pipeline.write_text(json.dumps(pipeline))


class Tagged(NamedTuple):
    """Documents that say that Redis could not be asked."""

    meanwhile: int
    late: int
    """While it was there: its answer came too late, which a busy machine makes happen."""


def check(documents: Iterable[Found], away_at: datetime, recovered_at: datetime) -> Tagged:
    """Hold every document to what Redis knows, and to when it could be asked."""
    meanwhile = late = enriched_after = 0
    for _, identity, event in documents:
        user = event.get("user_id")
        if not isinstance(user, str) or user in BROKEN:
            continue
        processed_at = datetime.fromisoformat(event["processed_at"])
        is_tagged = TAG in event.get("tags", [])
        if user in USERS:  # enriched, or it says why not
            assert ("user_data" in event) != is_tagged, (identity, event)
        if is_tagged:
            reason = event["failures"]["user_lookup"]
            assert reason.startswith("redis cannot be asked: ")
            is_meanwhile = away_at - A_BATCH <= processed_at <= recovered_at
            assert is_meanwhile or "no answer within" in reason, (identity, event)
            meanwhile, late = meanwhile + is_meanwhile, late + (not is_meanwhile)
        enriched_after += processed_at > recovered_at and "user_data" in event
    assert meanwhile > 0
    assert enriched_after > late
    return Tagged(meanwhile, late)
