"""Write the texts of alerts: `{field}` of a match, `{$name}` of what is told with it.

Whatever an event holds stays a value: it is cut, rid of what would steer the reader's program,
and escaped for the place where it goes.
"""

from __future__ import annotations

import html
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from enricher import __version__
from enricher.alerts.digest import Digest, Match
from enricher.model import Event
from enricher.template import Part, as_text, parse, reader

MOST_FIELDS = 50
"""Fields that `{$fields}` writes; the others are a number."""
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Turns of direction and letters without a shape: a reader should see that something is there.
# What joins letters (U+200C, U+200D) stays: Hindi needs it.
_UNSEEN = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)


def tidy(text: str) -> str:
    """Put a text on one line, and show `\ufffd` for what nobody would see."""
    return _UNSEEN.sub("\ufffd", _CONTROLS.sub(" ", text))


def cut(text: str, most: int) -> str:
    """Shorten a text to so many characters; `…` says so."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


@dataclass(frozen=True, slots=True)
class Style:
    """How values get into a text."""

    escape: Callable[[str], str]
    """Makes a value harmless where it goes."""
    between: str = ", "
    """Stands between the items of a list."""
    row: Callable[[str, str], str] = "{}: {}".format
    """Writes a field's escaped name and value, for `{$fields}`."""
    end: str = "\n"
    """Stands between two rows."""
    most: int = 2_000
    """Characters of one value."""


_CELL = (
    '<td class="{}" valign="top" style="padding:4px 16px;color:{};word-break:break-word;">{}</td>'
)


def _html_row(name: str, value: str) -> str:
    cells = _CELL.format("soft", "#5b6778", name), _CELL.format("strong", "#1c2430", value)
    return f"<tr>{''.join(cells)}</tr>"


def _slack(text: str) -> str:
    return html.escape(tidy(text), quote=False)


RAW = Style(str)
"""For programs: what JSON needs is done by its encoder."""
PLAIN = Style(tidy, row="  {}: {}".format)
HTML = Style(lambda text: html.escape(tidy(text)), between="<br>", row=_html_row)
SLACK = Style(_slack, most=500)
"""`&`, `<` and `>` are all that begins a mention or a link. A section takes 3,000 characters."""


class View(NamedTuple):
    """What a text is written about."""

    digest: Digest
    match: Match
    untold: int
    """Matches that the whole text leaves out."""
    pipeline: str


Writer = Callable[[View], str]


def show_time(at: float) -> str:
    """Write seconds since the epoch for people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def show_span(first_at: float, last_at: float) -> str:
    """Write one time, or two where they are not the same second."""
    first, last = show_time(first_at), show_time(last_at)
    return first if first == last else f"{first} to {last}"


def more(count: int) -> str:
    """Write `and 942 more`; nothing for none."""
    return f"and {count} more" if count > 0 else ""


NAMES: dict[str, Writer] = {
    "alert": lambda view: view.digest.alert,
    "summary": lambda view: view.match.summary,
    "at": lambda view: show_time(view.match.at),
    "count": lambda view: str(view.digest.count),
    "more": lambda view: more(view.untold),
    "first": lambda view: show_time(view.digest.first_at),
    "last": lambda view: show_time(view.digest.last_at),
    "when": lambda view: show_span(view.digest.first_at, view.digest.last_at),
    "pipeline": lambda view: view.pipeline,
    "now": lambda _: datetime.now(UTC).isoformat(timespec="milliseconds"),
    "hostname": lambda _: socket.gethostname(),
    "version": lambda _: __version__,
}
"""What `{$name}` may be, but for `{$fields}`."""
KNOWN = (*NAMES, "fields")


def compile_text(text: str, style: Style) -> Writer:
    """Build the function that fills a text in; a missing field becomes `–`.

    Raises ValueError that says what is wrong with the text.
    """
    pieces = tuple(_piece(part, style) for part in parse(text, KNOWN))
    return lambda view: "".join([piece(view) for piece in pieces])


def _piece(part: Part, style: Style) -> Writer:
    if part.keys:
        read = reader(part)
        return lambda view: show(read(view.match.event), style) or "–"
    if part.builtin == "fields":
        return lambda view: style.end.join(rows(view.match.event, style))
    if part.builtin:
        name = NAMES[part.builtin]
        return lambda view: style.escape(cut(name(view), style.most))
    literal = part.literal
    return lambda _: literal


def show(value: Any, style: Style) -> str:
    """Write a value for its place: a list by its items, an object as JSON, None as nothing."""
    is_plain = type(value) is list and not any(type(item) in (dict, list) for item in value)
    shown: list[str] = []
    room = style.most
    for item in value if is_plain else (value,):
        if room <= 0:
            shown.append("…")
            break
        text = cut(as_text(item), room)
        shown.append(style.escape(text))
        room -= len(text) + len(style.between)
    return style.between.join(shown)


def rows(event: Event, style: Style) -> Iterator[str]:
    """Write the fields of an event, a row each."""
    for number, (name, value) in enumerate(event.items()):
        if number == MOST_FIELDS:
            yield style.row("…", style.escape(more(len(event) - number)))
            return
        yield style.row(style.escape(cut(name, 100)), show(value, style) or "–")
