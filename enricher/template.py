"""Text with `{field}` in it. A missing field makes no text at all, never a literal `{field}`.

`{a.b}` is a field, `{@timestamp:%Y.%m.%d}` a time written by strftime's rules, `{a:.1f}` a number
with so many digits behind its point (`{a:,.0f}`: with commas), `{$name}` one of the values the
caller offers; `{{` and `}}` stand for braces. Event data is never a format string.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import AfterValidator, Field

from enricher import path
from enricher.functions import is_number
from enricher.inline import define
from enricher.model import Event
from enricher.moment import moment
from enricher.words import suggest

BUILTINS = {
    "now": "the time of processing, ISO 8601 in UTC",
    "hostname": "the name of this machine",
    "version": "the version of enricher",
    "pipeline": "the name of the pipeline",
}
_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SAFE_FORMAT = re.compile(r"(?:%[YmdHjGVuyZ]|[-._ /:T0-9])+")
"""Nothing below the hour: see `Moment`."""
_NUMBER_FORMAT = re.compile(r"(.+):(,?\.[0-9]f)")


class Part(NamedTuple):
    """A literal (`keys` empty), a field, or a builtin."""

    literal: str
    keys: tuple[str, ...] = ()
    format: str = ""
    """Of a time where it begins with `%`, else of a number."""
    builtin: str = ""


def parse(text: str, builtins: Collection[str] = BUILTINS) -> tuple[Part, ...]:
    """Split a template into its parts. Raises ValueError that says what is wrong.

    `builtins` are the names that `{$name}` may have.
    """
    parts: list[Part] = []
    literal, position = "", 0
    for found in _PART.finditer(text):
        literal += text[position : found.start()]
        position = found.end()
        if found[0] in ("{{", "}}"):
            literal += found[0][0]
            continue
        if found[1] is None:
            raise ValueError(f'a single "{found[0]}" in "{text}": write {found[0] * 2}')
        if literal:
            parts.append(Part(literal))
        literal = ""
        parts.append(_field(found[1], builtins))
    literal += text[position:]
    if literal or not parts:
        parts.append(Part(literal))
    return tuple(parts)


def _field(inside: str, builtins: Collection[str]) -> Part:
    if inside.startswith("$"):
        if inside[1:] not in builtins:
            known = suggest(inside[1:], builtins) or f" (there are {', '.join(builtins)})"
            raise ValueError(f'unknown value "{{{inside}}}"{known}')
        return Part("", builtin=inside[1:])
    if number := _NUMBER_FORMAT.fullmatch(inside):
        return Part("", path.parse(number[1]), number[2])
    field, _, time_format = inside.partition(":%")
    if time_format and not _SAFE_FORMAT.fullmatch(f"%{time_format}"):
        raise ValueError(f'"%{time_format}" is no time format (write it like %Y.%m.%d)')
    return Part("", path.parse(field), f"%{time_format}" if time_format else "")


def as_text(value: Any) -> str:
    """Write a value as text: None as nothing, objects and lists as JSON."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) in (int, float):
        return str(value)
    written = orjson.dumps(value)
    return orjson.loads(written) if written[:1] == b'"' else written.decode()  # such as a date


def renderer(
    text: str,
    builtins: Mapping[str, Callable[[], str]] | None = None,
    encode: Callable[[str], str] | None = None,
) -> Callable[[Event], str | None]:
    """Build the function that fills a template in.

    It gives None where a field is missing or an empty text. `encode` makes a field's text fit
    for where it stands, such as a URL.
    """
    names: dict[str, Any] = {"as_text": as_text, "encode": encode}
    pieces, conditions = [], []
    for number, part in enumerate(parse(text)):
        if part.builtin:
            names[f"builtin_{number}"] = (builtins or {})[part.builtin]
            pieces.append(f"builtin_{number}()")
        elif not part.keys:
            pieces.append(repr(part.literal))
        else:
            conditions.append(f"(_t{number} := {_source(part, number, names)})")
            pieces.append(f"encode(_t{number})" if encode else f"_t{number}")
    joined = " + ".join(pieces)
    if conditions:
        joined = f"({joined} if {' and '.join(conditions)} else None)"
    return define(("event",), joined, names)


def lenient_renderer(
    text: str, builtins: Mapping[str, Callable[[], str]] | None = None, missing: str = "–"
) -> Callable[[Event], str]:
    """Build the function that fills a template in for people; a missing field becomes `–`."""
    names: dict[str, Any] = {"as_text": as_text}
    pieces = []
    for number, part in enumerate(parse(text)):
        if part.builtin:
            names[f"builtin_{number}"] = (builtins or {})[part.builtin]
            pieces.append(f"builtin_{number}()")
        elif part.keys:
            pieces.append(f"({_source(part, number, names)} or {missing!r})")
        else:
            pieces.append(repr(part.literal))
    return define(("event",), " + ".join(pieces), names)


def _source(part: Part, number: int, names: dict[str, Any]) -> str:
    """Write the expression that gives a field as text, empty where it is missing."""
    get = path.source_of_get(part.keys)
    if not part.format:
        return f"(_r{number} if type(_r{number} := {get}) is str else as_text(_r{number}))"

    names[f"format_{number}"] = _writer(part.format)
    return f"format_{number}({get})"


def reader(part: Part) -> Callable[[Event], Any]:
    """Build the function that gives a part's field: its value, or a text as the part wants it."""
    get = path.getter(path.render(part.keys))
    if not part.format:
        return get
    write = _writer(part.format)
    return lambda event: write(get(event))


def _writer(form: str) -> Callable[[Any], str]:
    def write_time(value: Any) -> str:
        time = moment(value)
        return time.local.strftime(form) if time else ""

    def write_number(value: Any) -> str:
        return format(value, form) if is_number(value) else as_text(value)

    return write_time if form.startswith("%") else write_number


def _check(text: str) -> str:
    parse(text)
    return text


Template = Annotated[
    str,
    AfterValidator(_check),
    Field(description="Text with `{field}` or `{@timestamp:%Y.%m.%d}` in it."),
]
