"""What was told is known after a restart and to other workers, through a real Redis (Valkey)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from enricher.alerts import told
from tests.alerts.recorder import Recorder
from tests.alerts.telling import MAIL, QUICK, Telling, until
from tests.servers.valkey import Valkey

ALERT = {"name": "Fraud", "fingerprint": "{user}", **QUICK, "repeat_after_s": 600, **MAIL}


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Any]:
    """Give a client of an empty server."""
    client = Redis.from_url(valkey.url)
    client.flushall()
    yield client
    client.close()


def telling(folder: Path, valkey: Valkey, mail: Recorder, **alert: Any) -> Telling:
    connections = {"redis": {"url": valkey.url}}
    return Telling(folder, [{**ALERT, **alert}], {"email": mail}, connections)


async def test_what_was_told_before_a_restart_is_not_told_again(
    valkey: Valkey, redis: Any, tmp_path: Path
) -> None:
    """A re-read after a crash pages once: what Redis knows is suppressed, what it does not is told."""
    before, after = Recorder(), Recorder()
    first = telling(tmp_path, valkey, before)
    async with first.running():
        first.match("Fraud", [{"user": f"u{number}"} for number in range(1200)])
    assert sum(digest.count for digest in before.digests) == 1200
    second = telling(tmp_path, valkey, after)
    counts = second.alerting.couriers.counts["Fraud", "email"]
    async with second.running():
        second.match("Fraud", [{"user": f"u{number}"} for number in range(1202)])
        await until(lambda: counts.suppressed == 1200 and after.digests)
        second.match("Fraud", [{"user": "u5"}, {"user": "u1201"}])
        await until(lambda: counts.suppressed == 1202)
    assert [digest.count for digest in after.digests] == [2]
    assert [shown.event["user"] for shown in after.digests[0].shown] == ["u1200", "u1201"]


async def test_workers_share_what_was_told(valkey: Valkey, redis: Any, tmp_path: Path) -> None:
    one, two = Recorder(), Recorder()
    first, second = telling(tmp_path, valkey, one), telling(tmp_path, valkey, two)
    async with first.running(), second.running():
        first.match("Fraud", [{"user": "u1"}])
        await until(lambda: redis.dbsize() == 1)
        second.match("Fraud", [{"user": "u1"}, {"user": "u2"}])
        await until(lambda: two.digests)
    assert [digest.count for digest in (*one.digests, *two.digests)] == [1, 1]


async def test_a_key_holds_no_data_of_an_event(valkey: Valkey, redis: Any, tmp_path: Path) -> None:
    """Whatever stands in a field, it is a hash behind a fixed prefix, and it expires."""
    mail = Recorder()
    hostile = ["a\r\nFLUSHALL\r\n", "x" * 100_000, "\0", "*", "u1", "{u1}"]
    used = telling(tmp_path, valkey, mail)
    async with used.running():
        used.match("Fraud", [{"user": text} for text in hostile])
    keys = [key.decode() for key in redis.keys("*")]
    assert len(keys) == len(hostile)
    for key in keys:
        assert key.startswith(told.PREFIX)
        assert len(key) == len(told.PREFIX) + 32
        assert 0 < redis.ttl(key) <= 600


async def test_other_alerts_and_senders_have_keys_of_their_own(
    valkey: Valkey, redis: Any, tmp_path: Path
) -> None:
    one, two = Recorder(), Recorder()
    alerts = [{**ALERT, "webhook": {"url": "http://localhost"}}, {**ALERT, "name": "Other"}]
    connections = {"redis": {"url": valkey.url}}
    used = Telling(tmp_path, alerts, {"email": one, "webhook": two}, connections)
    async with used.running():
        used.match("Fraud", [{"user": "u1"}])
        used.match("Other", [{"user": "u1"}])
    assert sorted(digest.alert for digest in one.digests) == ["Fraud", "Other"]
    assert [digest.alert for digest in two.digests] == ["Fraud"]
    assert redis.dbsize() == 3


async def test_while_redis_is_away_memory_knows(
    valkey: Valkey, redis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed under load and started again: every user is told once, and nothing waits for it."""
    monkeypatch.setattr(told, "AWAY_S", 0.2)
    monkeypatch.setattr(told, "TIMEOUT_S", 0.2)
    mail = Recorder()
    used = telling(tmp_path, valkey, mail)
    counts = used.alerting.couriers.counts["Fraud", "email"]
    sent = 0

    def match_some() -> None:
        nonlocal sent
        for _ in range(20):
            used.match("Fraud", [{"user": f"u{sent}"}, {"user": f"u{sent}"}])
            sent += 1

    def told_users() -> int:
        return sum(digest.count for digest in mail.digests)

    async with used.running():
        match_some()
        await until(lambda: told_users() == sent)
        for break_it, mend_it in ((valkey.kill, valkey.start), (valkey.pause, valkey.resume)):
            break_it()
            for _ in range(3):
                match_some()
                await until(lambda: told_users() == sent, patience_s=5)
            mend_it()
            known = redis.dbsize()

            def is_back(known: int = known) -> bool:
                match_some()
                return bool(redis.dbsize() > known)

            await until(is_back)
            await until(lambda: told_users() == sent)
    assert (counts.told, counts.suppressed, counts.dropped.total()) == (sent, sent, 0)
