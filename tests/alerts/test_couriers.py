"""Digests reach their senders, whatever these answer; none holds up another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from enricher.alerts import courier as couriers
from enricher.alerts.digest import Digest, Refused
from enricher.model import Unavailable
from enricher.waiting import Backoff
from tests.alerts.recorder import Recorder
from tests.alerts.telling import HOOK, MAIL, QUICK, Telling, until


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon."""
    monkeypatch.setattr(couriers, "Backoff", lambda **_: Backoff(base_s=0.01, cap_s=0.02))


def failing(times: int, error: Exception) -> Any:
    """Build an answer that is a failure so many times."""
    left = [error] * times

    def answer(_: Digest) -> None:
        if left:
            raise left.pop()

    return answer


async def test_a_burst_is_one_message_and_its_count(tmp_path: Path) -> None:
    """What matches within the wait is told together, by each sender of the alert."""
    mail, hook = Recorder(), Recorder()
    alert = {"name": "Fraud", **QUICK, "group_wait_s": 0.2, **MAIL, **HOOK}
    telling = Telling(tmp_path, [alert], {"email": mail, "webhook": hook})
    async with telling.running():
        for number in range(10):
            telling.match("Fraud", [{"n": number}] * 100)
        await until(lambda: mail.digests and hook.digests)
    for sender in (mail, hook):
        (digest,) = sender.digests
        assert (digest.alert, digest.count, len(digest.shown)) == ("Fraud", 1000, 10)
        assert digest.shown[0].summary == "about 1"
        assert digest.shown[0].event == {"n": 0, "_id": "logs-0-1-0", "_index": "logs"}
        assert sender.closed == 1


async def test_the_same_fingerprint_is_told_once(tmp_path: Path) -> None:
    """A template names it; where its field is missing, each record is one of its own."""
    mail = Recorder()
    telling = Telling(
        tmp_path,
        [{"name": "Fraud", "fingerprint": "{user.id}", **QUICK, **MAIL}],
        {"email": mail},
    )
    async with telling.running():
        telling.match("Fraud", [{"user": {"id": "u1"}}, {"user": {"id": "u1"}}, {}, {"user": 1}])
        await until(lambda: mail.digests)
        telling.match("Fraud", [{"user": {"id": "u1"}}])
        telling.match("Fraud", [{"user": {"id": "u2"}}])
        await until(lambda: len(mail.digests) == 2)
    assert [digest.count for digest in mail.digests] == [3, 1]
    counts = telling.alerting.couriers.counts["Fraud", "email"]
    assert (counts.matched, counts.told, counts.suppressed) == (6, 4, 2)


async def test_what_cannot_be_sent_is_sent_again(tmp_path: Path) -> None:
    """The same digest, until it is taken; what comes meanwhile is in the next one."""
    mail = Recorder()
    mail.answer = failing(3, Unavailable("away"))
    telling = Telling(tmp_path, [{"name": "Fraud", **QUICK, **MAIL}], {"email": mail})
    async with telling.running():
        telling.match("Fraud", [{"n": 1}])
        await until(lambda: mail.attempts)
        telling.match("Fraud", [{"n": 2}, {"n": 3}])
        await until(lambda: len(mail.digests) == 2)
    assert [digest.count for digest in mail.digests] == [1, 2]
    counts = telling.alerting.couriers.counts["Fraud", "email"]
    assert (counts.told, counts.messages) == (3, 2)
    assert [(way.to, way.blocked, way.failures) for way in telling.alerting.ways()] == [
        ("Fraud", None, 3)
    ]


async def test_a_sender_that_fails_in_an_unknown_way_is_tried_again(tmp_path: Path) -> None:
    """Its text may hold a secret, so it is not told."""
    mail = Recorder()
    mail.answer = failing(10**6, KeyError("https://hooks/secret"))
    telling = Telling(tmp_path, [{"name": "Fraud", **QUICK, **MAIL}], {"email": mail})
    async with telling.running():
        telling.match("Fraud", [{"n": 1}])
        courier = telling.alerting.couriers.by_key["Fraud", "email"]
        await until(lambda: courier.blocked)
        assert courier.blocked == "alert Fraud by email cannot be sent: unexpected KeyError"
        mail.answer = lambda _: None
        await until(lambda: mail.digests)


async def test_what_is_too_old_is_dropped(tmp_path: Path) -> None:
    """It is counted, and its fingerprint told when it comes again."""
    mail = Recorder()
    mail.answer = failing(10**6, Unavailable("away"))
    alert = {"name": "Fraud", "fingerprint": "{n}", **QUICK, "ttl_s": 0.2, **MAIL}
    telling = Telling(tmp_path, [alert], {"email": mail})
    counts = telling.alerting.couriers.counts["Fraud", "email"]
    async with telling.running():
        telling.match("Fraud", [{"n": 1}, {"n": 1}])
        await until(lambda: counts.dropped)
        assert mail.attempts > 1
        mail.answer = lambda _: None
        telling.match("Fraud", [{"n": 1}])
        await until(lambda: mail.digests)
    assert (counts.dropped, counts.suppressed, counts.told) == ({"expired": 1}, 1, 1)


async def test_what_is_refused_is_dropped_at_once(tmp_path: Path) -> None:
    mail = Recorder()
    mail.answer = failing(1, Refused("550 no such user"))
    telling = Telling(tmp_path, [{"name": "Fraud", **QUICK, **MAIL}], {"email": mail})
    counts = telling.alerting.couriers.counts["Fraud", "email"]
    async with telling.running():
        telling.match("Fraud", [{"n": 1}, {"n": 2}])
        await until(lambda: counts.dropped)
        assert (mail.attempts, counts.dropped) == (1, {"refused": 2})
        telling.match("Fraud", [{"n": 3}])
        await until(lambda: mail.digests)


async def test_a_server_that_hangs_holds_up_nobody_else(tmp_path: Path) -> None:
    """Another alert by the same kind of sender, and another kind, are told meanwhile."""
    hangs, mail, hook = Recorder(), Recorder(), Recorder()
    hangs.answering.clear()
    alerts = [{"name": "A", **QUICK, **MAIL, **HOOK}, {"name": "B", **QUICK, **MAIL}]
    telling = Telling(tmp_path, alerts, {"email": hangs, "webhook": hook})
    telling.alerting.couriers.by_key["B", "email"]._terms = telling.alerting.couriers.by_key[
        "B", "email"
    ]._terms._replace(sender=mail)
    async with telling.running(finish_s=0.3):
        telling.match("A", [{}])
        await until(lambda: hangs.attempts)
        for _ in range(1000):
            telling.match("A", [{}] * 100)
        telling.match("B", [{}])
        await until(lambda: mail.digests and sum(one.count for one in hook.digests) == 100_001)
        assert telling.alerting.couriers.by_key["A", "email"].channel.waiting == 100_001
    counts = telling.alerting.couriers.counts["A", "email"]
    assert counts.dropped == {"stopped": 100_001}  # the deadline passed


async def test_what_waits_is_sent_at_the_end(tmp_path: Path) -> None:
    """Whatever it waits for: the window, the interval, or a server that is away for a moment."""
    mail, hook = Recorder(), Recorder()
    hook.answer = failing(2, Unavailable("away"))
    alert = {"name": "Fraud", "group_wait_s": 3600, **MAIL, **HOOK}
    telling = Telling(tmp_path, [alert], {"email": mail, "webhook": hook})
    async with telling.running():
        telling.match("Fraud", [{}] * 7)
    assert [digest.count for digest in (*mail.digests, *hook.digests)] == [7, 7]
    assert telling.alerting.couriers.counts["Fraud", "email"].dropped.total() == 0


async def test_an_alert_that_changed_is_told_by_its_new_terms(tmp_path: Path) -> None:
    """What waits of it, and what was told, stays known; one that is gone is told a last time."""
    mail = Recorder()
    waits = {"name": "Fraud", "fingerprint": "{n}", "group_wait_s": 3600, **MAIL}
    gone = {"name": "Gone", "group_wait_s": 3600, **MAIL}
    telling = Telling(tmp_path, [waits, gone], {"email": mail})
    async with telling.running():
        telling.match("Fraud", [{"n": 1}])
        telling.match("Gone", [{}, {}])
        telling.adopt([{**waits, **QUICK}, {"name": "New", **QUICK, **MAIL}])
        await until(lambda: len(mail.digests) == 2)
        telling.match("Fraud", [{"n": 1}])
        telling.match("Gone", [{}])
        telling.match("New", [{}])
        await until(lambda: len(mail.digests) == 3)
        await until(lambda: mail.closed == 2)  # the former one, and that of the alert that is gone
    assert sorted((one.alert, one.count) for one in mail.digests) == [
        ("Fraud", 1),
        ("Gone", 2),
        ("New", 1),
    ]
    assert telling.alerting.couriers.counts["Fraud", "email"].suppressed == 1


async def test_the_first_alert_may_come_with_a_reload(tmp_path: Path) -> None:
    mail = Recorder()
    telling = Telling(tmp_path, [], {"email": mail})
    async with telling.running():
        telling.adopt([{"name": "New", **QUICK, **MAIL}])
        telling.match("New", [{}])
        await until(lambda: mail.digests)
    assert mail.closed == 1


async def test_an_event_that_is_all_too_large_is_cut(tmp_path: Path) -> None:
    """Ten events of a megabyte are not kept for a mail."""
    mail = Recorder()
    telling = Telling(tmp_path, [{"name": "Fraud", **QUICK, **MAIL}], {"email": mail})
    async with telling.running():
        telling.match("Fraud", [{"n": 1, "text": "x" * 100_000, "tree": {"a": 1}, "none": None}])
        await until(lambda: mail.digests)
    (shown,) = mail.digests[0].shown
    assert shown.event.keys() == {"n", "text", "none", "_id", "_index"}
    assert len(shown.event["text"]) == 1000
