"""Make the log events of the payment service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from enricher.generator.dice import repeated, weighted
from enricher.generator.places import address_now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enricher.generator.customers import Customer
    from enricher.generator.dice import Dice

Event = dict[str, object]

# The limits of the amount categories, and their nearest neighbours.
BOUNDARIES: Final = (
    *(100, 500, 2_000, 10_000, 50_000),
    *(99.99, 499.99, 1_999.99, 9_999.99, 49_999.99),
    *(100.01, 500.01, 2_000.01, 10_000.01, 50_000.01),
)
ERRORS: Final = (
    ("GATEWAY_TIMEOUT", "GatewayTimeoutError", "no answer from the gateway within 30000 ms"),
    ("INSUFFICIENT_FUNDS", "PaymentDeclinedError", "the bank declined: insufficient funds"),
    ("BANK_UNAVAILABLE", "BankUnavailableError", "issuing bank is not reachable"),
    ("UPI_PSP_ERROR", "UpiProviderError", "the payee's provider answered U69"),
    ("INVALID_VPA", "ValidationError", "the VPA is not registered"),
    ("OTP_EXPIRED", "AuthenticationError", "one-time password expired"),
    ("RISK_DECLINED", "RiskDeclinedError", "blocked by a risk rule"),
)
_STACK = (
    "\n    at com.shop.pay.GatewayClient.charge(GatewayClient.java:{})"
    "\n    at com.shop.pay.PaymentProcessor.process(PaymentProcessor.java:{})"
)
_LEVELS = {"BUSINESS": 40, "INFO": 42, "DEBUG": 6, "WARN": 6, "ERROR": 5, "CRITICAL": 1}
_OUTCOMES = {
    ("PAYMENT_SUCCESS", "SUCCESS"): 35,
    ("PAYMENT_FAILED", "FAILED"): 5,
    ("PAYMENT_INITIATED", "PENDING"): 5,
    ("PAYMENT_LIMIT_EXCEEDED", "FAILED"): 2,
    ("PAYMENT_REFUNDED", "REFUNDED"): 2,
    ("SETTLEMENT_COMPLETED", "SUCCESS"): 1,
}
_GATEWAYS = {"razorpay": 9, "payu": 4, "cashfree": 3, "billdesk": 2, "ccavenue": 2}
_SOURCES = {"mobile_app": 7, "web": 2, "partner_api": 1}
_TALK = {
    "INFO": ("Payment request received", "Gateway answered", "Ledger entry written"),
    "DEBUG": ("Cache miss for gateway routing", "Signature checked", "Retry budget: 3"),
    "WARN": ("Gateway is slow", "Retrying the gateway (2 of 3)", "₹ amount rounded"),
}
_SMALLEST_PAISE = 64
_BOUNDARY = 1 << 18  # of 2**25
_WITH_ORDER = 0.7
_NO_AMOUNT = 0.003
_NO_VPA = 0.99
# Hundredths in which a correlation is an empty string, together or alone.
_NO_REQUEST = (1, 2)
_NO_TRACE = (2, 3, 4)
_NO_USER = (2, 5, 6)


def origins(service: str, version: str, levels: Mapping[str, int]) -> tuple[Event, ...]:
    """Return who logs at which level, for `Dice.pick`: one draw instead of four."""
    return repeated(
        (
            {
                "level": level,
                "service": service,
                "version": version,
                "environment": "staging" if number == 1 else "production",
                "hostname": f"{service}-{number:02d}",
            },
            share,
        )
        for level, share in levels.items()
        for number in range(1, 33)
    )


def _results() -> tuple[Event, ...]:
    return repeated(
        (
            {
                "message": event_type,
                "event_type": event_type,
                "business_critical": True,
                "requires_monitoring": status == "FAILED",
                "gateway": gateway,
                "status": status,
                "request_source": source,
            },
            often * many * some,
        )
        for (event_type, status), often in _OUTCOMES.items()
        for gateway, many in _GATEWAYS.items()
        for source, some in _SOURCES.items()
    )


_ORIGINS = origins("payment-service", "4.18.2", _LEVELS)
_BUSINESS = origins("payment-service", "4.18.2", {"BUSINESS": 1})
_RESULTS = _results()
_ANY_GATEWAY = weighted(_GATEWAYS)


def amount(dice: Dice) -> float:
    """Return rupees, log-normal around 900; one in 128 is a category's limit or next to it."""
    shape = dice.bits(25)
    if shape < _BOUNDARY:
        return dice.pick(BOUNDARIES)
    # Twenty coin tosses that each double or keep: a Galton board, and so log-normal without log().
    tosses = (shape & 0xFFFFF).bit_count()
    rupees = int((_SMALLEST_PAISE << tosses) * (1 + dice.random())) / 100
    return int(rupees) or rupees if tosses & 3 == 0 else rupees


def payment(stamp: str, customer: Customer, dice: Dice) -> Event:
    """Return one event of the payment service, as it is logged."""
    event = _head(stamp, customer, dice)
    level = str(event["level"])
    talk = _TALK.get(level)
    if talk:
        event["message"] = dice.pick(talk)
        if dice.random() < _WITH_ORDER:
            _order(event, customer, dice)
        return event
    _order(event, customer, dice)
    if level == "BUSINESS":
        _outcome(event, customer, dice)
    else:
        _failure(event, dice)
    return event


def business(stamp: str, customer: Customer, dice: Dice) -> Event:
    """Return one event of the payment service of the level BUSINESS."""
    event = _head(stamp, customer, dice, _BUSINESS)
    _order(event, customer, dice)
    _outcome(event, customer, dice)
    return event


def _head(
    stamp: str, customer: Customer, dice: Dice, places: tuple[Event, ...] = _ORIGINS
) -> Event:
    empty = int(dice.random() * 100)
    return {
        "timestamp": stamp,
        **dice.pick(places),
        "request_id": "" if empty in _NO_REQUEST else dice.identifier(),
        "trace_id": "" if empty in _NO_TRACE else dice.identifier(),
        "user_id": "" if empty in _NO_USER else customer.user_id,
        "payment_id": "pay_" + dice.identifier()[:14],
    }


def _order(event: Event, customer: Customer, dice: Dice) -> None:
    rare = dice.random()
    event["amount"] = amount(dice) if rare > _NO_AMOUNT else None
    event["currency"] = "INR"
    event["payment_method"] = method = dice.pick(customer.methods)
    if method == "UPI":
        event["upi_vpa"] = customer.vpa if rare < _NO_VPA else ""
    address = address_now(customer.address, dice)
    if address is not None:
        event["ip_address"] = address


def _outcome(event: Event, customer: Customer, dice: Dice) -> None:
    event.update(dice.pick(_RESULTS))
    event["user_tier"] = customer.tier
    event["processing_time_ms"] = _latency(dice)
    event["transaction_id"] = "txn_" + dice.identifier()[:12]
    event["user_agent"] = customer.user_agent
    if event["status"] == "FAILED":
        event["error_code"] = dice.pick(ERRORS)[0]
    else:
        event["gateway_ref"] = dice.identifier()[:12]


def _latency(dice: Dice) -> int:
    drawn = dice.bits(20)
    return (2 << (drawn & 0x1FFF).bit_count()) + (drawn >> 13)


def _failure(event: Event, dice: Dice) -> None:
    code, kind, words = dice.pick(ERRORS)
    event["message"] = f"Payment failed: {words}"
    event["status"] = "FAILED"
    event["gateway"] = dice.pick(_ANY_GATEWAY)
    event["error_code"] = code
    event["processing_time_ms"] = 900 + dice.below(30_000)
    event["error"] = {
        "type": kind,
        "message": words,
        "stack_trace": kind + _STACK.format(100 + dice.below(300), 40 + dice.below(200)),
    }
