"""One replica of Alertmanager: it is told of all that fires, again and again while it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import orjson

from enricher.alerts.digest import Refused
from enricher.alerts.firing import Fire, Firing
from enricher.alerts.labels import clean
from enricher.alerts.reason import reason_of
from enricher.model import Unavailable
from enricher.waiting import Backoff, Notice, happens, pause, retry_after_s

if TYPE_CHECKING:
    import httpx

GATHER_S = 0.5
"""Seconds that a new alert waits for others, so that a burst of them is one request."""
REFRESH_S = 60.0
"""Seconds after which it is told again of what fires still, at the latest: it may have restarted,
and keeps no alerts over that."""
MAX_BYTES = 1 << 20
"""Of one request; more goes into another."""

Told = tuple[Firing, Fire, int]
"""An alert, what fires, and how many matches of it the request tells of."""


class Replica:
    """Posts to one URL. What waits is the state of what fires, not a queue: it cannot grow.

    Args:
        client: Of its URL, with what authenticates.
        name: Its URL without a password.
        firing: All that fires, shared with the other replicas.
    """

    def __init__(self, client: httpx.AsyncClient, name: str, firing: dict[str, Firing]) -> None:
        self.name = name
        self._where = f"alertmanager {name}"
        self.news = asyncio.Event()
        """Set when something new fires."""
        self.blocked: str | None = None
        """Why it could not be told last time; None where it was."""
        self.failures = 0
        """Attempts that failed."""
        self._closing = asyncio.Event()
        self._client = client
        self._firing = firing
        self._notice = Notice()
        self._backoff = Backoff(base_s=0.5, cap_s=15.0)

    async def run(self) -> None:
        """Tell until told to finish, and then a last time."""
        attempt = 0
        error: Unavailable | None = None
        while True:
            if error:
                attempt += 1
                delay_s = self._backoff.delay(attempt, error.retry_after_s)
                await pause(delay_s, self._closing)
            else:
                attempt = 0
                await self._rest()
            closing = self._closing.is_set()
            error = await self.tell()
            if closing and not error:
                return

    async def _rest(self) -> None:
        """Wait until something new fires, or what fires has to be told again."""
        lasts = [one.rules.resolve_after_s for one in self._firing.values() if len(one)]
        if await happens(self.news, min(REFRESH_S, min(lasts) / 4) if lasts else None):
            await happens(self._closing, GATHER_S)

    def finish(self) -> None:
        """Make `run()` tell a last time, and end."""
        self._closing.set()
        self.news.set()

    async def tell(self) -> Unavailable | None:
        """Post all that fires. Returns why it has to be done again; None where it was taken."""
        self.news.clear()
        try:
            for chunk in chunks(list(self._alerts(time.time()))):
                await self._post(chunk)
        except Unavailable as error:
            self.failures += 1
            self.blocked = str(error)
            self._notice.error(f"{self.blocked}; retrying")
            return error
        self.blocked = None
        return None

    def _alerts(self, now: float) -> Iterator[tuple[Told, bytes]]:
        for firing in self._firing.values():
            for fire in firing.burning(now):
                if fire.refused.get(self.name) == fire.count:
                    continue
                try:
                    yield (firing, fire, fire.count), orjson.dumps(firing.as_json(fire))
                except Exception as error:  # noqa: BLE001 - one event must not cost the others
                    firing.drop(fire, "refused")
                    self._notice.error(f"an alert cannot be written: {error!r}")

    async def _post(self, alerts: Sequence[tuple[Told, bytes]]) -> None:
        """Post some; where they are refused, find out which. Raises Unavailable."""
        try:
            await self._request(b"[%s]" % b",".join([body for _, body in alerts]))
        except Refused as error:
            if len(alerts) > 1:
                half = len(alerts) // 2
                await self._post(alerts[:half])
                await self._post(alerts[half:])
                return
            (firing, fire, count), _ = alerts[0]
            firing.refused(fire, count, self.name)
            self._notice.error(str(error))
            return
        for (firing, fire, count), _ in alerts:
            firing.posted(fire, count, self.name)

    async def _request(self, body: bytes) -> None:
        """Post once. Raises Refused or Unavailable."""
        import httpx

        headers = {"content-type": "application/json"}
        limit_s = self._client.timeout.read
        try:
            async with asyncio.timeout(limit_s):  # theirs begins anew with every byte
                answer = await self._client.post("api/v2/alerts", content=body, headers=headers)
        except (TimeoutError, httpx.TimeoutException):
            raise Unavailable(f"{self._where} did not answer within {limit_s:g} s") from None
        except httpx.HTTPError as error:
            reason = f"{reason_of(error)}; check connections.alertmanager"
            raise Unavailable(f"{self._where} cannot be told ({reason})") from None
        said = f"{self._where} answers {answer.status_code}"
        if answer.status_code in (400, 413, 422):
            raise Refused(f"{said}: {clean(answer.text, 200)}")
        if not answer.is_success:
            remedy = _REMEDIES.get(answer.status_code, "")
            wait_s = retry_after_s(answer.headers.get("retry-after"))
            raise Unavailable(f"{said}{remedy}", wait_s)

    async def close(self) -> None:
        """Free the connection."""
        await self._client.aclose()


_REMEDIES = {
    401: ": check the password or token of connections.alertmanager",
    403: ": check the password or token of connections.alertmanager",
    404: ": check the path of its URL in connections.alertmanager",
}


def chunks(alerts: Sequence[tuple[Told, bytes]]) -> Iterator[list[tuple[Told, bytes]]]:
    """Part alerts so that each part makes a request of `MAX_BYTES` at most, or of one alert."""
    chunk: list[tuple[Told, bytes]] = []
    size = 0
    for alert in alerts:
        if chunk and size + len(alert[1]) > MAX_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(alert)
        size += len(alert[1]) + 1
    if chunk:
        yield chunk
