"""Digests to send, made of a few fields or of what a pipeline would write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from enricher.alerts.digest import MOST_SHOWN, Digest, Match

AT = 1_761_000_000.0
"""2025-10-20 22:40:00 UTC."""
EVENT: dict[str, Any] = {
    "amount": 84999.5,
    "payment_method": "UPI",
    "user_id": "u-204381",
    "geo_city": "Ludhiana",
    "geo_state": "punjab",
    "fraud_risk_score": 4,
    "@timestamp": "2025-10-20T23:45:30.123+05:30",
    "bank_name": "HDFC Bank",
    "fraud_indicators": ["night transaction", "high amount (enterprise)"],
    "request_id": "req-8f2e",
}


def digest(
    *events: Mapping[str, Any],
    count: int | None = None,
    alert: str = "HighRiskTransaction",
    summary: str = "HIGH RISK",
) -> Digest:
    """Give the digest of events that matched a second apart, and of more that are not shown."""
    matches: Sequence[Match] = [
        Match(alert, summary, dict(event), f"id-{number}", AT + number)
        for number, event in enumerate(events or (EVENT,))
    ]
    count = len(matches) if count is None else count
    shown = tuple(matches[:MOST_SHOWN])
    return Digest(alert, shown, count, AT, AT + count - 1)
