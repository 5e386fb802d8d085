"""What a webhook says: JSON for any program, or a body of the author's, Slack's for one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher import document, fields
from enricher.alerts.digest import Digest
from enricher.alerts.webhook import WebhookTarget

from .digests import EVENT, digest
from .hook import hook, sender, target
from .test_mail import texts

SLACK_BODY: dict[str, Any] = {
    "text": "{$summary} {$more}",
    "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "*{$alert}* {user_id}"}}],
}


async def post(told: Digest, **settings: Any) -> Any:
    """Give what one digest becomes."""
    async with hook() as server, sender(server.url, **settings) as made:
        await made.send(told)
        return server.bodies[0]


def written(told: Digest, **settings: Any) -> Any:
    """Give the same without a server."""
    made = target("http://localhost/", **settings).build("payments")
    return json.loads(made._write(told))


async def test_the_body_that_any_program_can_read() -> None:
    async with hook() as server, sender(server.url) as made:
        for _ in range(2):
            await made.send(digest(EVENT, EVENT | {"amount": 5}, count=943))
        request, _ = server.seen[0]
        first, again = server.bodies
    assert first == again == {
        "id": first["id"],
        "pipeline": "payments",
        "alert": "HighRiskTransaction",
        "summary": "HIGH RISK",
        "count": 943,
        "first_at": "2025-10-20T22:40:00.000+00:00",
        "last_at": "2025-10-20T22:55:42.000+00:00",
        "matches": [
            {
                "summary": "HIGH RISK",
                "record_id": "id-0",
                "at": "2025-10-20T22:40:00.000+00:00",
                "event": EVENT,
            },
            {
                "summary": "HIGH RISK",
                "record_id": "id-1",
                "at": "2025-10-20T22:40:01.000+00:00",
                "event": EVENT | {"amount": 5},
            },
        ],
    }  # fmt: skip
    assert request.method == "POST"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Idempotency-Key"] == f'"{first["id"]}"'


async def test_a_body_of_the_authors() -> None:
    """The structure is his; a text that is one field keeps its type, what is missing is null."""
    body = {
        "title": "{$alert}: ₹{amount}",
        "amount": "{amount}",
        "indicators": "{fraud_indicators}",
        "missing": "{missing}",
        "count": "{$count}",
        "more": "{$more}",
        "nested": [{"{key}": "{missing} {{}}"}, 5, True, None, "user"],
    }
    assert await post(digest(EVENT, EVENT, count=943), body=body) == {
        "title": "HighRiskTransaction: ₹84999.5",
        "amount": 84999.5,
        "indicators": ["night transaction", "high amount (enterprise)"],
        "missing": None,
        "count": 943,
        "more": "and 942 more",
        "nested": [{"{key}": "– {}"}, 5, True, None, "user"],
    }


async def test_the_example_for_slack_in_the_reference() -> None:
    """As it is documented: it parses, fills in, and has the shape that Slack takes."""
    [text] = [one for one in fields.description(WebhookTarget).split("\n\n") if one.startswith("`")]
    body = document.parse(text.strip("`"), "example").value
    got = await post(digest(EVENT, count=943), body=body, escape="slack")
    section = got["blocks"][0]
    assert got["text"] == "HIGH RISK and 942 more"
    assert (section["type"], section["text"]["type"]) == ("section", "mrkdwn")
    assert section["text"]["text"] == "*HighRiskTransaction* and 942 more, ₹84999.5, user u-204381"


@pytest.mark.parametrize("attack", ["<!channel>", "<@U1>", "<https://evil.example|Bank>", "&lt;", "a\n*b*"])  # fmt: skip
def test_no_event_mentions_a_channel_or_forges_a_link(attack: str) -> None:
    told = digest(EVENT | {"user_id": attack}, summary=attack)
    got = written(told, body=SLACK_BODY, escape="slack")
    safe = attack.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    assert got["text"] == f"{safe} "
    assert got["blocks"][0]["text"]["text"] == f"*HighRiskTransaction* {safe}"


def test_slack_is_known_by_its_host() -> None:
    """Unless the author says otherwise."""
    told = digest(EVENT | {"user_id": "<!here>"})
    for url, escape, safe in (
        ("https://hooks.slack.com/services/x", None, True),
        ("https://hooks.slack.com/services/x", "none", False),
        ("https://hooks.slack.com.example.org/x", None, False),
        ("https://chat.example.com/x", "slack", True),
    ):
        made = target(url, body={"text": "{user_id}"}, escape=escape).build("p")
        assert json.loads(made._write(told))["text"] == ("&lt;!here&gt;" if safe else "<!here>")


def test_long_values_do_not_make_slack_refuse_an_alert() -> None:
    """A section holds 3,000 characters: whoever writes much must not silence the alert."""
    event = {f"f{number}": "<" * 100_000 for number in range(20)}
    body = {"text": "".join(f"{{f{number}}}" for number in range(20))}
    assert len(written(digest(event), body=body, escape="slack")["text"]) < 3_000


@given(texts, st.lists(texts, max_size=3))
def test_values_stay_values_whatever_they_hold(value: str, items: list[str]) -> None:
    """JSON is written by structure: no text becomes a field, nor ends one."""
    value = value.encode(errors="replace").decode()  # a document has no half characters
    items = [one.encode(errors="replace").decode() for one in items]
    told = digest({"v": value, "l": items})
    body = {"v": "{v}", "l": "{l}", "t": "<{v}>", "end": 1}
    got = written(told, body=body)
    short = value if len(value) <= 2_000 else f"{value[:1_999]}…"
    assert got["v"] == short
    assert got["t"] == f"<{short or '–'}>"
    assert got["end"] == 1
    assert list(got) == list(body)
    assert written(told)["matches"][0]["event"] == {"v": value, "l": items}
    assert list(written(told, body=body, escape="slack")) == list(body)


def test_a_body_is_bounded() -> None:
    """A match whose event is too large is told without it, the next one with it; none is missing."""
    large, small = {"v": "x" * 300_000}, {"v": 1}
    got = written(digest(large, small, *[{"v": "y" * 100_000}] * 8, count=943))
    events = [match["event"] and len(match["event"]) for match in got["matches"]]
    assert events == [None, 1, 1, 1, *[None] * 6]
    assert got["count"] == 943
    body = {"o": "{o}", "t": "{t}"}
    bounded = written(digest({"o": {"a": ["x"] * 100_000}, "t": "t" * 1_000_000}), body=body)
    assert len(json.dumps(bounded)) < 20_000
    assert bounded["o"].endswith("…")
