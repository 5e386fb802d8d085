"""What the http source answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

RETRY_AFTER_S = 1
"""What those are told who came at a bad time."""
FULL = 429
LATER = frozenset({FULL, 503})
"""Statuses that say: send the same again later."""

GONE = 499
"""What is counted where the client did not wait for an answer."""


class Refusal(Exception):  # noqa: N818 - an answer, not an error of ours
    """Ends the handling of a request with an answer.

    Args:
        status: Of HTTP.
        reason: What is wrong, and what to do.
        headers: Besides the usual ones.
        place: Where in the body, such as `line` and `byte`.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        headers: Mapping[str, str] | None = None,
        place: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(reason)
        self.status, self.headers, self.place = status, headers or {}, place or {}

    def response(self) -> web.Response:
        """Make the response; who is to correct something begins with a new connection."""
        made = response(self.status, {"error": str(self), **self.place})
        made.headers.update(self.headers)
        if self.status in LATER:
            made.headers["Retry-After"] = str(RETRY_AFTER_S)
        else:
            made.force_close()
        return made


def response(status: int, content: Mapping[str, Any]) -> web.Response:
    """Make a response of JSON."""
    return web.Response(
        status=status,
        body=orjson.dumps(content),
        headers={"Content-Type": "application/json", "Server": "enricher"},
    )


def full() -> Refusal:
    """Tell that there is no room at the moment."""
    return Refusal(FULL, "too much waits to be written; send the same again later")


def stopping() -> Refusal:
    """Tell that nothing is taken any more, or that what was is not known to be durable."""
    return Refusal(503, "this server is stopping; send the same again, to another or later")
