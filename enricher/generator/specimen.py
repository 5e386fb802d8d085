"""Build the one complete payment that hostile records spoil."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from enricher.generator.dice import Dice
    from enricher.generator.payments import Event

MIB = 1 << 20


def specimen(dice: Dice) -> Event:
    """Return a payment with every documented field and a request id of its own."""
    return {
        "timestamp": "2025-10-21T17:42:09.118Z",
        "level": "BUSINESS",
        "service": "payment-service",
        "version": "4.18.2",
        "environment": "production",
        "hostname": "payment-service-03",
        "request_id": dice.identifier(),
        "trace_id": dice.identifier(),
        "user_id": "user-00007",
        "message": "PAYMENT_FAILED",
        "event_type": "PAYMENT_FAILED",
        "business_critical": True,
        "requires_monitoring": True,
        "payment_id": "pay_" + dice.identifier()[:14],
        "amount": 12_499.5,
        "currency": "INR",
        "payment_method": "UPI",
        "upi_vpa": "meera7@okhdfcbank",
        "gateway": "razorpay",
        "status": "FAILED",
        "error_code": "GATEWAY_TIMEOUT",
        "user_tier": "new",
        "ip_address": "81.2.69.160",
        "user_agent": "ShopApp/8.4.1 (Android 15)",
        "processing_time_ms": 1_834,
        "transaction_id": "txn_" + dice.identifier()[:12],
        "gateway_ref": "904412087731",
        "request_source": "mobile_app",
        "error": {"type": "GatewayTimeoutError", "message": "no answer", "stack_trace": "at …"},
    }


FIELDS = (
    *("timestamp", "level", "service", "version", "environment", "hostname", "request_id"),
    *("trace_id", "user_id", "message", "event_type", "business_critical", "requires_monitoring"),
    *("payment_id", "amount", "currency", "payment_method", "upi_vpa", "gateway", "status"),
    *("error_code", "user_tier", "ip_address", "user_agent", "processing_time_ms"),
    *("transaction_id", "gateway_ref", "request_source", "error"),
)


def with_field(field: str, value: bytes, dice: Dice) -> bytes:
    """Return a payment whose field holds a value given as JSON text, right or wrong."""
    event = specimen(dice)
    event.pop(field, None)
    return with_members(orjson.dumps(field) + b":" + value, event)


def with_members(members: bytes, event: Event) -> bytes:
    """Return the event with more members, given as JSON text, at its end."""
    return orjson.dumps(event)[:-1] + b"," + members + b"}"


def enveloped(text: str) -> bytes:
    """Return an envelope around a text."""
    return orjson.dumps({"message": text, "@version": "1"})
