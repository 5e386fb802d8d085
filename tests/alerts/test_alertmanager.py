"""What real Alertmanagers know of what fires; they are killed, and come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from enricher.alerts import replica as replicas
from enricher.alerts.digest import Hit
from enricher.alerts.firing import Fire
from enricher.waiting import Backoff
from tests.alerts.telling import Telling, until
from tests.servers.alertmanager import Alertmanager

LABELS = {"service": "{service}", "method": "{method}", "severity": "high"}
HOSTILE = {
    "lines": "a\r\nb\nc",
    "controls": "\0\x1b[31m\x7f\x85\u2028",
    "direction": "\u202egnp.exe",
    "quotes": "\"'}],`{{{\\",
    "template": "{{ .Labels.alertname }} {service} ${HOME} %(x)s",
    "markup": "<script>alert(1)</script>&amp;",
    "long": "x" * 100_000,
    "blank": " \t ",
    "number": 12345678901234567890.5,
    "true": True,
    "list": [1, {"a": "\n"}],
    "object": {"alertname": "Other"},
    "letters": "हिन्दी ₹ 🙂",
    "url": "x') and (1:1),filters:!((a:b))&_g=(x)#/?q=../../%2e%2e",
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gather and try again in less time."""
    monkeypatch.setattr(replicas, "GATHER_S", 0.05)
    monkeypatch.setattr(replicas, "Backoff", lambda **_: Backoff(base_s=0.05, cap_s=0.1))


class Scene:
    """One alert of a name of its own, and the Alertmanagers that hear of it."""

    def __init__(
        self,
        folder: Path,
        *servers: Alertmanager,
        connection: Mapping[str, Any] | None = None,
        ttl_s: float = 3600,
        **target: Any,
    ) -> None:
        self.name = f"Alert{uuid4().hex[:8]}"
        self.servers = servers
        self.ttl_s = ttl_s
        self.connection = {
            "urls": ",".join(server.url for server in servers),
            **(connection or {}),
        }
        self.target = {"labels": LABELS, **target}
        self.telling = Telling(folder, [self.alert()], {}, {"alertmanager": self.connection})

    def alert(self) -> dict[str, Any]:
        return {"name": self.name, "ttl_s": self.ttl_s, "alertmanager": self.target}

    @property
    def counts(self) -> Any:
        return self.telling.alerting.replicas.counts[self.name]

    def match(self, *events: Mapping[str, Any]) -> None:
        self.telling.match(self.name, events)

    def found(self, server: Alertmanager | None = None) -> list[dict[str, Any]]:
        return (server or self.servers[0]).alerts(alertname=self.name)

    async def until_found(
        self, count: int = 1, server: Alertmanager | None = None
    ) -> list[dict[str, Any]]:
        await until(lambda: len(self.found(server)) == count)
        return self.found(server)

    async def post(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Let it match once, to the end, and give what is found."""
        async with self.telling.running():
            self.match(event)
        (found,) = self.found()
        return found


def at(text: str) -> float:
    """Give a time of Alertmanager's in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


async def test_an_alert_begins_lasts_and_is_over(
    alertmanager: Alertmanager, tmp_path: Path
) -> None:
    """It starts with the first match, its end moves with the last, and then it is resolved."""
    scene = Scene(tmp_path, alertmanager, resolve_after_s=2, annotations={"n": "{n}"})
    begin = time.time()
    async with scene.telling.running():
        scene.match({"service": "a", "n": 0})
        await scene.until_found()
        ends = []
        for number in range(1, 7):  # three times as long as it would last by itself
            await asyncio.sleep(1)
            scene.match({"service": "a", "n": number})
            last = time.time()
            (found,) = scene.found()
            ends.append(found["endsAt"])
            assert begin - 0.01 <= at(found["startsAt"]) <= begin + 0.5
        assert ends == sorted(ends)
        assert len(set(ends)) > 3
        await until(lambda: scene.found()[0]["annotations"] == {"n": "6"})
        await until(lambda: not scene.found())
        assert last + 1.9 <= time.time() <= last + 4
        scene.match({"service": "a", "n": 7})
        (found,) = await scene.until_found()
        assert at(found["startsAt"]) > last + 1.9  # another one
    assert (scene.counts.matched, scene.counts.told) == (8, 8)


async def test_labels_tell_alerts_apart(alertmanager: Alertmanager, tmp_path: Path) -> None:
    """A label whose field is missing, null or empty is left out."""
    scene = Scene(tmp_path, alertmanager)
    async with scene.telling.running():
        scene.match(
            {"service": "a", "method": "UPI"},
            {"service": "a", "method": "CARD"},
            {"service": "a", "method": ""},
            {"service": "a"},
            {"service": "a", "method": None},
            {"service": "a", "method": "UPI"},
        )
        found = await scene.until_found(3)
    labels = [one["labels"] for one in found]
    common = {"alertname": scene.name, "service": "a", "severity": "high"}
    for more in ({"method": "UPI"}, {"method": "CARD"}, {}):
        assert {**common, **more} in labels


@pytest.mark.parametrize("kind", HOSTILE)
async def test_what_a_field_holds_stays_in_its_place(
    alertmanager: Alertmanager, tmp_path: Path, kind: str
) -> None:
    """No other label, no other alert, no way out of the URL, no end of a line."""
    scene = Scene(
        tmp_path,
        alertmanager,
        annotations={"text": "<{service}>", "fixed": "as it is"},
        generator_url="http://localhost:5601/app/discover#/?_a=(query:'_id:%22{service}%22')",
    )
    found = await scene.post({"service": HOSTILE[kind]})
    assert {*found["labels"]} <= {"alertname", "service", "severity"}
    assert found["labels"]["alertname"] == scene.name
    assert found["labels"]["severity"] == "high"
    assert found["annotations"].keys() == {"text", "fixed"}
    assert found["annotations"]["fixed"] == "as it is"
    label = found["labels"].get("service", "")
    assert len(label) <= 256
    assert not {*label} & {*"\0\r\n\x1b\x7f\x85\u2028\u202e"}
    text = found["annotations"]["text"]
    assert text.startswith("<")
    assert len(text) <= 4096
    assert not {*text} & {*"\0\r\x1b\x7f\x85\u2028\u202e"}
    if kind == "blank":
        assert label == ""
    if kind == "letters":
        assert label == HOSTILE[kind]
    url = found["generatorURL"]
    before, _, rest = url.partition("%22")
    value, _, after = rest.rpartition("%22')")
    assert before == "http://localhost:5601/app/discover#/?_a=(query:'_id:"
    assert after == ""
    assert not {*value} & {*"'\"()!&#/?<> \\`"}
    assert "%22" not in value
    assert "%27" not in value
    assert "%21" not in value


async def test_ten_thousand_matches_are_one_grouped_alert(
    alertmanager: Alertmanager, tmp_path: Path
) -> None:
    """In a minute, spread over deliveries: whoever is on call is told of one."""
    scene = Scene(
        tmp_path,
        alertmanager,
        labels={"service": "{service}"},
        annotations={"description": "₹{amount} of {user_id}"},
    )
    async with scene.telling.running():
        for number in range(100):
            scene.match(
                *(
                    {"service": "payment-service", "user_id": f"u{number}-{n}", "amount": n}
                    for n in range(100)
                )
            )
            await asyncio.sleep(0.01)
    last = {"description": "₹99 of u99-99"}

    def shown() -> list[Any]:
        groups = alertmanager.groups(alertname=scene.name)
        return [alert["annotations"] for group in groups for alert in group["alerts"]]

    await until(lambda: shown() == [last])  # it puts into groups aside what it has taken
    assert len(alertmanager.groups(alertname=scene.name)) == 1
    assert (scene.counts.matched, scene.counts.told) == (10_000, 10_000)
    assert scene.counts.messages < 20


async def test_too_many_label_sets_are_folded(alertmanager: Alertmanager, tmp_path: Path) -> None:
    """What is beyond the limit is one alert with the labels that all of them share."""
    scene = Scene(tmp_path, alertmanager, max_label_sets=5)
    async with scene.telling.running():
        scene.match(*({"service": f"s{number}"} for number in range(100)))
        found = await scene.until_found(6)
        scene.match({"service": "s3"}, {"service": "s7"})
    assert {"alertname": scene.name, "severity": "high", "overflow": "true"} in [
        one["labels"] for one in found
    ]
    assert (scene.counts.folded, scene.counts.told) == (96, 102)


async def test_every_replica_is_told_whatever_befalls_another(
    alertmanager: Alertmanager, second_alertmanager: Alertmanager, tmp_path: Path
) -> None:
    """One is killed and started again under load: the other hears all, and it hears all again."""
    one, other = alertmanager, second_alertmanager
    scene = Scene(tmp_path, one, other, resolve_after_s=4)
    done = asyncio.Event()

    async def load() -> None:
        number = 0
        while not done.is_set():
            scene.match(*({"service": "steady"}, {"service": f"s{number // 20 % 3}"}))
            number += 1
            await asyncio.sleep(0.01)

    async with scene.telling.running():
        loading = asyncio.create_task(load())
        for server in (one, other):
            await scene.until_found(4, server)
        one.kill()
        (replica, _) = scene.telling.alerting.replicas.each
        await until(lambda: replica.blocked)
        scene.match({"service": "meanwhile"})
        await scene.until_found(5, other)
        await asyncio.to_thread(one.start)
        await until(lambda: replica.blocked is None)
        await until(lambda: len(scene.found(one)) >= 4)  # what fires still, it hears again
        done.set()
        await loading
        for server in (one, other):
            await scene.until_found(0, server)
    assert scene.counts.matched == scene.counts.told
    assert "retrying" in str(replica._notice._last)


async def test_a_restarted_replica_is_told_again_of_what_fires(
    alertmanager: Alertmanager, tmp_path: Path
) -> None:
    """It keeps no alerts; the next refresh brings them, though nothing new matched."""
    scene = Scene(tmp_path, alertmanager, resolve_after_s=20)
    async with scene.telling.running():
        scene.match({"service": "a"})
        (before,) = await scene.until_found()
        await asyncio.to_thread(alertmanager.restart)
        assert scene.found() == []
        (after,) = await scene.until_found()
    assert [after[name] for name in ("labels", "startsAt", "endsAt")] == [
        before[name] for name in ("labels", "startsAt", "endsAt")
    ]


async def test_what_nobody_could_be_told_of_is_told_late(
    alertmanager: Alertmanager, tmp_path: Path
) -> None:
    """It is over by the time that Alertmanager is back, and yet someone should look."""
    scene = Scene(tmp_path, alertmanager, resolve_after_s=1)
    alertmanager.kill()
    async with scene.telling.running():
        scene.match({"service": "a"})
        await asyncio.sleep(2)
        await asyncio.to_thread(alertmanager.start)
        await scene.until_found()
        await until(lambda: not scene.found())
    assert (scene.counts.told, scene.counts.dropped.total()) == (1, 0)


async def test_what_is_too_old_to_be_told_is_dropped(
    tmp_path: Path, alertmanager: Alertmanager
) -> None:
    scene = Scene(tmp_path, alertmanager, resolve_after_s=1, ttl_s=1.5)
    alertmanager.kill()
    async with scene.telling.running():
        scene.match({"service": "a"}, {"service": "a"})
        await until(lambda: scene.counts.dropped)
    assert scene.counts.dropped == {"expired": 2}


async def test_what_could_not_be_told_at_the_end_is_counted(
    tmp_path: Path, alertmanager: Alertmanager
) -> None:
    """The deadline holds, although it accepts and never answers."""
    scene = Scene(tmp_path, alertmanager)
    alertmanager.pause()
    async with scene.telling.running(finish_s=0.5):
        scene.match({"service": "a"})
        await asyncio.sleep(0.2)
        begin = time.monotonic()
    assert time.monotonic() - begin < 3
    assert scene.counts.dropped == {"stopped": 1}


async def test_one_that_is_refused_costs_the_others_nothing(
    alertmanager: Alertmanager, tmp_path: Path
) -> None:
    """Should an alert be wrong all the same, it alone is dropped."""
    scene = Scene(tmp_path, alertmanager)
    firing = scene.telling.alerting.replicas.firing[scene.name]
    bad = (("alertname", scene.name), ("not-a-label", "x"))
    async with scene.telling.running():
        last = Hit(scene.name, "", b"{}", "r", "logs", "r", time.time())
        firing._fires[bad] = Fire(bad, last.at, last, last.at + 300, count=3)
        scene.counts.matched += 3
        scene.match(*({"service": f"s{number}"} for number in range(9)))
        await scene.until_found(9)
        await until(lambda: scene.counts.dropped)
    assert scene.counts.dropped == {"refused": 3}
    assert scene.counts.told == 9


async def test_an_alert_that_changed_is_told_by_its_new_rules(
    alertmanager: Alertmanager, tmp_path: Path
) -> None:
    """What fires goes on; one that is gone is over by itself."""
    scene = Scene(tmp_path, alertmanager, resolve_after_s=2, annotations={"a": "1"})
    async with scene.telling.running():
        scene.match({"service": "a"})
        (before,) = await scene.until_found()
        scene.target = {**scene.target, "annotations": {"b": "2"}}
        scene.telling.adopt([scene.alert()])
        scene.match({"service": "a"})
        await until(lambda: scene.found()[0]["annotations"] == {"b": "2"})
        assert scene.found()[0]["startsAt"] == before["startsAt"]
        scene.telling.adopt([])
        scene.match({"service": "a"})
        await until(lambda: not scene.found())
    assert scene.counts.matched == 2
