"""One replica of Alertmanager: it is told of all that fires, again and again while it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import orjson

from enricher.alerts.digest import Refused
from enricher.alerts.firing import Fire, Firing
from enricher.model import Unavailable
from enricher.waiting import Backoff, Notice, happens

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
        while True:
            if attempt:
                await happens(self._closing, self._backoff.delay(attempt))
            else:
                await self._rest()
            closing = self._closing.is_set()
            attempt = 0 if await self.tell() else attempt + 1
            if closing and not attempt:
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

    async def tell(self) -> bool:
        """Post all that fires. Returns whether it was taken, or can never be."""
        self.news.clear()
        now = time.time()
        alerts = [
            ((firing, fire, fire.count), orjson.dumps(firing.as_json(fire)))
            for firing in self._firing.values()
            for fire in firing.burning(now)
        ]
        try:
            for chunk in chunks(alerts):
                await self._post(chunk)
        except Unavailable as error:
            self.failures += 1
            self.blocked = str(error)
            self._notice.error(self.blocked)
            return False
        self.blocked = None
        return True

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
            (firing, fire, _), _ = alerts[0]
            firing.drop(fire, "refused")
            self._notice.error(str(error))
            return
        for (firing, fire, count), _ in alerts:
            firing.posted(fire, count)

    async def _request(self, body: bytes) -> None:
        """Post once. Raises Refused or Unavailable."""
        import httpx

        headers = {"content-type": "application/json"}
        try:
            answer = await self._client.post("api/v2/alerts", content=body, headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"alertmanager {self.name} cannot be told ({type(error).__name__}); retrying"
            ) from None
        if answer.status_code in (400, 413, 422):
            raise Refused(
                f"alertmanager {self.name} refuses an alert: {answer.status_code} "
                f"{answer.text[:200]}"
            )
        if not answer.is_success:
            raise Unavailable(
                f"alertmanager {self.name} answers {answer.status_code}"
                f"{_REMEDIES.get(answer.status_code, '')}; retrying"
            )

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
