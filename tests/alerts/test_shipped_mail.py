"""The mail of the shipped pipeline, on what its events become: generated ones, and hostile ones."""

from __future__ import annotations

import asyncio
import html
from typing import Any

import orjson
import pytest

from enricher import config
from enricher.alerts.digest import Digest, Match
from enricher.alerts.email import EmailTarget
from enricher.alerts.mail import Mail
from enricher.alerts.webhook import WebhookTarget
from enricher.connections import SmtpConnection
from enricher.generator import generate, hostile
from enricher.model import Document, Record

from ..lookups.stores import Store
from ..servers.smtp import MailServer
from ..test_payments import PIPELINE, USERS, plan_with, process
from .digests import AT
from .test_mail import HEADERS, Outline, bodies, parsed

CONFIG = config.load(PIPELINE, {})
[TARGET] = [alert.email for alert in CONFIG.pipeline.alerts if alert.email]


def shipped(mail: EmailTarget = TARGET) -> Any:
    assert CONFIG.pipeline.templates is not None
    return mail.build(None, CONFIG.folder / CONFIG.pipeline.templates, CONFIG.pipeline.name)


def documents(records: Any) -> list[Document]:
    given = [
        Record(one.value, f"r{number}", one.timestamp, "payment-logs/0", number, one.key)
        for number, one in enumerate(records)
    ]
    return [one for one in process(plan_with(Store(USERS)), given) if isinstance(one, Document)]


def match_of(document: Document) -> Match:
    alert = next((one for one in document.alerts if one.name == "HighRiskTransaction"), None)
    summary = alert.summary if alert else "a hostile event"
    return Match(
        "HighRiskTransaction", summary, orjson.loads(document.body), document.record.id, AT
    )


@pytest.fixture(scope="module")
def risky() -> list[Match]:
    """Matches of the alert among 20,000 generated events."""
    found = [match_of(one) for one in documents(generate(20_000)) if one.alerts]
    return [one for one in found if (one.event.get("fraud_risk_score") or 0) >= 3]


def test_every_match_is_told_with_all_that_people_need(risky: list[Match]) -> None:
    """PAYMENTS.md §4, for each generated match: subject and both bodies."""
    assert len(risky) >= 20
    sender = shipped()
    for match in risky:
        mail: Mail = sender._compose(Digest(match.alert, (match,), 1, AT, AT))
        event = match.event
        amount, user = event.get("amount"), event.get("user_id") or "–"
        assert mail.subject == f"HIGH RISK TRANSACTION ALERT: ₹{amount} - User {user}"
        assert mail.subject == match.summary
        page = "\n".join(Outline(mail.html).texts)
        wanted = [f"₹{amount}", user, f"{event['fraud_risk_score']} of 6", event["@timestamp"]]
        wanted += [event.get(name) or "–" for name in ("payment_method", "bank_name")]
        wanted += [f"{event.get('geo_city') or '–'}, {event.get('geo_state') or '–'}"]
        for value in (*wanted, *event["fraud_indicators"]):
            assert value in mail.text, value
            assert value in page, value


async def test_they_arrive(risky: list[Match]) -> None:
    """Over SMTP, to the teams that the pipeline names when nobody is named."""
    with MailServer() as server:
        connection = SmtpConnection.model_validate({"url": server.url})
        assert CONFIG.pipeline.templates is not None
        folder = CONFIG.folder / CONFIG.pipeline.templates
        sender = TARGET.build(connection, folder, CONFIG.pipeline.name)
        await sender.send(Digest("HighRiskTransaction", tuple(risky[:10]), len(risky), AT, AT + 60))
        [mail] = server.mails
    assert mail.recipients == ("security@localhost", "fraud@localhost")
    assert mail.message["Subject"].endswith(f"(and {len(risky) - 1} more)")
    for match in risky[:10]:
        assert match.event["user_id"] in mail.body("plain")
        assert html.escape(match.event["user_id"]) in mail.body("html")
    assert f"and {len(risky) - 10} more" in mail.body("plain")


def test_hostile_events_are_told_as_well() -> None:
    """Whatever became a document can be mailed and posted, and changes nothing but values."""
    found = documents(hostile(600))
    assert len(found) > 200
    senders = [shipped(), shipped(TARGET.model_copy(update={"template": None}))]
    target = WebhookTarget.model_validate({"url": "http://localhost/"})
    hook = target.build("payments")
    frames: list[list[Any]] = []
    for document in found:
        match = match_of(document)
        told = Digest(match.alert, (match,), 1, AT, AT)
        for sender in senders:
            message = parsed(sender._compose(told).encode())
            assert message.keys() == HEADERS
            frames.append(Outline(bodies(message)[1]).tags)
        posted = orjson.loads(hook._write(told))["matches"][0]["event"]
        assert posted == match.event or len(document.body) > 200_000
    assert all(frame == frames[0] for frame in frames[::2])  # of the shipped template


def test_a_whole_mail_costs_the_event_loop_little() -> None:
    """What is done on it is bounded by the cut values, whatever the events hold."""
    event = {name: "₹&<" * 300_000 for name in ("amount", "user_id", "payment_method", "bank_name")}
    matches = tuple(Match("A", "s", event, str(number), AT) for number in range(10))
    mail: Mail = shipped()._compose(Digest("A", matches, 10, AT, AT))
    assert len(mail.text) + len(mail.html) < 300_000
    assert asyncio.run(asyncio.to_thread(mail.encode))
