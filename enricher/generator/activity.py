"""Make the log events of the order, user and fraud services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enricher.generator.dice import weighted
from enricher.generator.payments import Event, amount, origins
from enricher.generator.places import address_now

if TYPE_CHECKING:
    from enricher.generator.customers import Customer
    from enricher.generator.dice import Dice

_LEVELS = {"INFO": 60, "BUSINESS": 20, "WARN": 8, "DEBUG": 6, "ERROR": 5, "CRITICAL": 1}
_ORDERS = weighted(
    {
        ("ORDER_PLACED", "Order placed"): 40,
        ("ORDER_SHIPPED", "Order handed to the courier"): 30,
        ("ORDER_DELIVERED", "Order delivered"): 20,
        ("ORDER_CANCELLED", "Order cancelled by the customer"): 10,
    }
)
_USERS = weighted(
    {
        ("USER_LOGIN", "User logged in"): 70,
        ("USER_LOGIN_FAILED", "Wrong password"): 15,
        ("USER_REGISTERED", "Account created"): 8,
        ("KYC_COMPLETED", "KYC documents accepted"): 7,
    }
)
_FINDINGS = weighted(
    {
        ("velocity", "Many payments in a short time"): 50,
        ("location", "Payment far from the usual place"): 30,
        ("amount", "Amount far above the user's mean"): 20,
    }
)


_NO_USER = 0.025
_ORDER_SERVICE = origins("order-service", "2.7.0", _LEVELS)
_USER_SERVICE = origins("user-service", "3.1.4", _LEVELS)
_FRAUD_DETECTION = origins("fraud-detection", "1.12.0", _LEVELS)


def order(stamp: str, customer: Customer, dice: Dice) -> Event:
    """Return one event of the order service."""
    event_type, message = dice.pick(_ORDERS)
    event = _head(_ORDER_SERVICE, stamp, customer, dice)
    event["message"] = message
    event["event_type"] = event_type
    event["order_id"] = "ord_" + dice.identifier()[:12]
    event["amount"] = amount(dice)
    event["items"] = 1 + dice.below(6)
    event["delivery_city"] = customer.city
    return event


def user(stamp: str, customer: Customer, dice: Dice) -> Event:
    """Return one event of the user service."""
    event_type, message = dice.pick(_USERS)
    event = _head(_USER_SERVICE, stamp, customer, dice)
    event["message"] = message
    event["event_type"] = event_type
    event["user_tier"] = customer.tier
    event["user_agent"] = customer.user_agent
    address = address_now(customer.address, dice)
    if address is not None:
        event["ip_address"] = address
    return event


def finding(stamp: str, customer: Customer, dice: Dice) -> Event:
    """Return one event of the fraud detection."""
    rule, message = dice.pick(_FINDINGS)
    event = _head(_FRAUD_DETECTION, stamp, customer, dice)
    event["message"] = message
    event["payment_id"] = "pay_" + dice.identifier()[:14]
    event["amount"] = amount(dice)
    event["rule"] = rule
    event["fraud_score"] = dice.below(101)
    event["ip_address"] = address_now(customer.address, dice)
    return event


def _head(services: tuple[Event, ...], stamp: str, customer: Customer, dice: Dice) -> Event:
    event: Event = {
        "timestamp": stamp,
        **dice.pick(services),
        "request_id": dice.identifier(),
        "trace_id": dice.identifier(),
        "user_id": customer.user_id if dice.random() > _NO_USER else "",
    }
    level = event["level"]
    if level == "BUSINESS":
        event["business_critical"] = True
    elif level in ("ERROR", "CRITICAL"):
        event["error"] = {"type": "UpstreamError", "message": "connection reset by peer"}
    return event
