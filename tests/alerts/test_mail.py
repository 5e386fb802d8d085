"""No event can do harm through a mail: not to its headers, not to whom it goes, not to its bodies."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enricher.alerts.email import EmailTarget
from enricher.alerts.text import cut, tidy

from .digests import AT, EVENT, digest

TEMPLATES = Path(__file__).parents[2] / "templates"
SUBJECT = "HIGH RISK TRANSACTION ALERT: ₹{amount} - User {user_id}"
HEADERS = [
    *("Subject", "From", "To", "Date", "Message-ID", "In-Reply-To", "References"),
    *("Auto-Submitted", "MIME-Version", "Content-Type"),
]
ATTACKS = (
    "\r\nBcc: evil@example.org",
    "\nTo: evil@example.org\n\nbody",
    "\r\n\r\n--===============\r\nContent-Type: text/html\r\n\r\n<script>",
    "=?utf-8?q?=0D=0ABcc:_evil@example.org?=",
    "=?utf-8?b?DQpCY2M6IGV2aWxAZXhhbXBsZS5vcmc=?=",
    "=?us-ascii?q?=0ABcc:_evil@example.org?=",
    "?= =?utf-8?q?x",
    "\x0b\x0c\x1c\x85\u2028Bcc: evil@example.org",
    "a@b, evil@example.org",
    "evil@example.org>",
    '"><img src=x onerror=alert(1)><!--',
    "</td></table></body></html>",
    "</style><style>*{display:none}",
    "{$each}",
    "{amount.__class__} {$end} {{}}",
    "\r\n.\r\nMAIL FROM:<evil@example.org>\r\n",
    "\ud800\udfff",
    "\u202e\u2066\ufeff\x00",
    "&#60;b&#62; &lt;",
    "ठेकेदार ₹ 𝒳" * 30,
)
texts = st.one_of(
    st.text(st.characters(), max_size=60),
    st.sampled_from(ATTACKS),
    st.lists(st.sampled_from(ATTACKS) | st.text(max_size=9), max_size=4).map("".join),
    st.text(st.sampled_from('=?utf8bq_ \r\n:,<>@"\\'), max_size=40),
    st.integers(1, 4_000).map("x".__mul__),
)
values = st.one_of(texts, st.integers(-(2**63), 2**63 - 1), st.none(), st.lists(texts, max_size=3))
events = st.fixed_dictionaries(dict.fromkeys(EVENT, values))


def target(**settings: Any) -> EmailTarget:
    given: dict[str, Any] = {
        "sender": "Enricher <enricher@alerts.example.com>",
        "to": "security@example.com, fraud@example.com",
        "subject": SUBJECT,
        "template": "high-risk-transaction",
    }
    return EmailTarget.model_validate(given | settings)


def mail_of(*events: Any, settings: dict[str, Any] | None = None, **more: Any) -> bytes:
    """Give the bytes of a mail, without a server."""
    sender = target(**settings or {}).build(None, TEMPLATES, "payments")
    return sender._compose(digest(*events, **more)).encode()


def parsed(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def bodies(message: EmailMessage) -> tuple[str, str]:
    """Give text and HTML; they are all there is."""
    assert message.get_content_type() == "multipart/alternative"
    parts = list(message.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    text, html = (part.get_content() for part in parts)
    return text, html


class Outline(HTMLParser):
    """The tags of a page, with what stands in them apart; line breaks are of lists."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[Any] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "br":
            self.tags.append((tag, attrs))
        self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        self.tags.append("comment")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_what_the_mail_says() -> None:
    """PAYMENTS.md §4: the subject, and every field in both bodies."""
    message = parsed(mail_of(EVENT))
    assert message.keys() == HEADERS
    assert str(message["Subject"]) == "HIGH RISK TRANSACTION ALERT: ₹84999.5 - User u-204381"
    assert str(message["From"]) == "Enricher <enricher@alerts.example.com>"
    assert str(message["To"]) == "security@example.com, fraud@example.com"
    assert message["Date"].datetime.timestamp() == AT
    assert message["Auto-Submitted"] == "auto-generated"
    text, html = bodies(message)
    shown = "\n".join(Outline(html).texts)
    for value in (
        *("₹84999.5", "UPI", "u-204381", "Ludhiana, punjab", "4 of 6", "HDFC Bank"),
        *("2025-10-20T23:45:30.123+05:30", "night transaction", "high amount (enterprise)"),
        "HighRiskTransaction",
    ):
        assert value in text
        assert value in shown
    assert "more" not in text + html


def test_many_matches_are_one_mail_that_counts_them() -> None:
    events = [EVENT | {"amount": number} for number in range(10)]
    message = parsed(mail_of(*events, count=943))
    assert str(message["Subject"]).endswith("₹0 - User u-204381 (and 942 more)")
    for body in bodies(message):
        assert all(f"₹{number}" in body for number in range(10))
        assert "943" in body
        assert "and 933 more" in body
        assert "2025-10-20 22:40:00 UTC to 2025-10-20 22:55:42 UTC" in body


@given(st.lists(events, min_size=1, max_size=2))
def test_an_event_changes_values_and_nothing_else(events: list[dict[str, Any]]) -> None:
    """The headers, the addresses, the lines of the text and the tags of the HTML stay what they are."""
    content = mail_of(*events, count=7, alert="A", summary=str(events[0]["user_id"]))
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    content.decode("ascii")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content)
    message = parsed(content)
    assert message.keys() == HEADERS
    assert not message.defects
    assert [one.addr_spec for one in message["To"].addresses] == ["security@example.com", "fraud@example.com"]  # fmt: skip
    assert str(message["From"]) == "Enricher <enricher@alerts.example.com>"
    subject = str(message["Subject"])
    assert len(subject.splitlines()) == 1
    assert subject.startswith("HIGH RISK TRANSACTION ALERT: ₹")
    assert subject.endswith(" (and 6 more)")
    assert len(subject) <= 220
    text, html = bodies(message)
    harmless = parsed(mail_of(*[EVENT] * len(events), count=7, alert="A"))
    plain, page = bodies(harmless)
    assert [line[:17] for line in text.splitlines() if line[:1].isalpha()] == [
        line[:17] for line in plain.splitlines() if line[:1].isalpha()
    ]
    assert len(text.splitlines()) == len(plain.splitlines())
    assert Outline(html).tags == Outline(page).tags


@given(texts.filter(bool), st.integers(1, 190))
@example("=?utf-8?q?=0D=0ABcc:_evil@example.org?=", 1)
@example("=?utf-8?q?=0D=0ABcc:_evil@example.org?=", 100)
@example("00000 000000000000000000000000000000000:::::\xa1 \xa1", 51)
def test_a_subject_arrives_as_it_was_written(value: str, before: int) -> None:
    """Whatever it holds, and wherever it is folded."""
    settings = {"subject": "{a}{b}", "template": None}
    got = parsed(mail_of({"a": "y" * before, "b": value}, settings=settings))["Subject"]
    written = " ".join(tidy("y" * before + cut(value, 200)).split())
    want = written if len(written) <= 200 else f"{written[:199]}…"
    assert str(got) == want


@pytest.mark.parametrize("size", [1_000, 1_000_000])
def test_a_mail_is_bounded(size: int) -> None:
    """Ten events of a megabyte each, with and without a template."""
    event = {name: "\u20b9&" * (size // 2) for name in EVENT} | {
        f"f{n}": "₹" * 9 for n in range(999)
    }
    for template in ("high-risk-transaction", None):
        content = mail_of(*[event] * 10, settings={"template": template})
        assert len(content) < 1_500_000


def test_an_alert_without_a_template_shows_all_fields() -> None:
    message = parsed(mail_of(EVENT, settings={"template": None}))
    text, html = bodies(message)
    shown = Outline(html).texts
    for name, value in EVENT.items():
        assert f"  {name}: " in text
        assert name in shown
        assert isinstance(value, list) or str(value) in shown
    for said in ("HighRiskTransaction", "HIGH RISK", "2025-10-20 22:40:00 UTC", "payments"):
        assert said in text
        assert any(said in one for one in shown)


def test_the_same_digest_has_the_same_message_id_and_no_other_has() -> None:
    def named(*events: Any, **more: Any) -> Any:
        return parsed(mail_of(*events, **more))

    one, again = named(EVENT), named(EVENT | {"amount": 1})  # by its records, not their content
    others = [named(EVENT, count=2), named(EVENT, EVENT), named(EVENT, alert="Other")]
    assert one["Message-ID"] == again["Message-ID"]
    assert len({mail["Message-ID"] for mail in (one, *others)}) == 4
    assert re.fullmatch(r"<[0-9a-f]{24}@alerts\.example\.com>", one["Message-ID"])
    threads = [mail["References"] for mail in (one, *others)]
    assert threads[0] == threads[1] == threads[2] != threads[3]
    assert one["In-Reply-To"] == one["References"] != one["Message-ID"]


@pytest.mark.parametrize(
    "host", ["x", "a" * 60 + ".example.com", ".".join(["very-long-name"] * 11), "1.2.3.4"]
)
def test_ids_of_any_sender_are_not_folded(host: str) -> None:
    """A program that threads mails compares them as they are."""
    content = mail_of(EVENT, settings={"sender": f"e@{host}"})
    assert re.search(rb"^Message-ID: <[0-9a-f]{24}@[a-z0-9.-]+>\r$", content, re.MULTILINE)
    assert re.search(rb"^References: <[0-9a-f]{24}@[a-z0-9.-]+>\r$", content, re.MULTILINE)
    assert parsed(content)["From"].addresses[0].addr_spec == f"e@{host}"
