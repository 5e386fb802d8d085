"""Who may send: a bearer token, or basic authentication."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING

from enricher.connections import reveal
from enricher.http.answers import Refusal

if TYPE_CHECKING:
    from enricher.sources.http import Http


def gatekeeper(config: Http) -> Callable[[str], None]:
    """Build the function that takes the header `Authorization`, and raises where it is not right.

    What is given is compared by its hash, in constant time, with everything that is known: how
    long it takes tells nothing.
    """
    tokens = [text.strip() for text in (reveal(config.token) or "").split(",")]
    known = {"bearer": [_digest(token) for token in tokens if token]}
    if config.username is not None:
        pair = f"{config.username}:{reveal(config.password)}"
        known["basic"] = [_digest(b64encode(pair.encode()).decode())]
    ways = {"bearer": "Bearer", "basic": 'Basic realm="enricher", charset="UTF-8"'}
    asked = ", ".join(text for scheme, text in ways.items() if known.get(scheme))

    def check(header: str) -> None:
        scheme, _, given = header.partition(" ")
        digest = _digest(given.strip())
        matches = [hmac.compare_digest(digest, one) for one in known.get(scheme.lower(), [])]
        if not any(matches):
            reason = "not let in: send the header Authorization with what this server knows"
            raise Refusal(401, reason, {"WWW-Authenticate": asked})

    return check if asked else lambda _header: None


def _digest(text: str) -> bytes:
    return sha256(text.encode(errors="surrogateescape")).digest()
