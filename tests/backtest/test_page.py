"""The report: whole, without anything from elsewhere, and deaf to what events say."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import orjson
import pytest

from enricher.backtest.page import page
from enricher.backtest.result import Result

from .histories import ABROAD, BAD, HARMLESS, RULES, WORST, backtest, payment

EVIL = "</script></style><script>alert(1)</script><img src=x onerror='a()'>\"&\u202e\x00\x1b[2J"
EVENTS = [payment(number, **fields) for number, fields in enumerate([HARMLESS] * 9 + [BAD, WORST])]
VOID = frozenset({"meta"})


class Reader(HTMLParser):
    """Notes every tag and attribute, and sees that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def hostile() -> Result:
    """Run events that are hostile in every place that the report shows."""
    events = [
        *EVENTS,
        payment(20, **ABROAD, id=EVIL, note=EVIL, **{EVIL_KEY: 1}),
        b"no JSON",
    ]
    text = RULES.replace("at night", f"'{EVIL_YAML}'")
    return backtest(
        events,
        text,
        against=text.replace("add: 20", "add: 26").replace("  - drop:", STAMP),
        frauds=[EVIL],
    )[0]


EVIL_KEY = "<b onclick=a()>"
EVIL_YAML = "<script>alert(2)</script> & co"
STAMP = '  - set: {fields: {note: "<b>{id}</b>"}}\n  - drop:'


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("events", [EVENTS, [], EVENTS[:1]], ids=["some", "none", "one"])
def test_the_report_is_sound(events: list[object], labelled: bool) -> None:
    """Tags close, plots are XML, and the figures stand in it."""
    result = backtest(events, against=RULES, frauds=["p10"] if labelled else None)[0]
    text = page(result)
    reader = read(text)
    assert text.startswith("<!doctype html>")
    assert f"{len(events):,} events" in reader.text
    assert "large ({amount})" in reader.text
    plots = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(plots) == (3 if labelled and events else 1)
    for plot in plots:
        assert ET.fromstring(plot).get("aria-label")
    if labelled and len(events) > 1:
        assert "50.0 %" in reader.text


def test_nothing_comes_from_elsewhere_and_nothing_runs() -> None:
    """No script, no link, no address; the page's own policy forbids them as well."""
    text = page(hostile())
    reader = read(text)
    assert reader.tags.isdisjoint({"script", "img", "link", "iframe", "object", "a", "b", "form"})
    names = {name for name, _ in reader.attributes}
    assert names.isdisjoint({"src", "href", "xlink:href", "style", "action", "srcset"})
    assert not any(name.startswith("on") for name in names)
    assert not re.search(r"url\(|@import|https?:|//", text)
    policies = [value for name, value in reader.attributes if name == "content"]
    assert any(value and value.startswith("default-src 'none'") for value in policies)


def test_texts_of_events_are_texts() -> None:
    """What an event holds stands there to be read, and is no markup."""
    reader = read(page(hostile()))
    assert EVIL_YAML in reader.text
    assert "alert(1)" in reader.text
    assert orjson.dumps(f"<b>{EVIL}</b>").decode() in reader.text


def test_light_and_dark_and_paper() -> None:
    text = page(backtest(EVENTS)[0])
    for query in ("prefers-color-scheme: dark", "@media print", "color-scheme: light dark"):
        assert query in text
