"""JSON as an author lays it out: the structure is fixed, its texts are templates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from enricher import path, template
from enricher.functions import INT64, is_finite
from enricher.inline import define
from enricher.model import Event

MAX_DEPTH = 16
"""Objects and lists within each other."""
_Place = tuple[str | int, ...]


def check(body: Any, known: Collection[str] = template.BUILTINS) -> None:
    """Check every text and number of a body.

    Args:
        body: as the file has it.
        known: names that `{$name}` may have.

    Raises:
        ValidationError: with the place of each mistake.
    """
    mistakes = [
        InitErrorDetails(type="value_error", loc=place, input="", ctx={"error": error})
        for place, error in _mistakes(body, (), known)
    ]
    if mistakes:
        raise ValidationError.from_exception_data("body", mistakes)


def _mistakes(
    value: Any, place: _Place, known: Collection[str]
) -> Iterator[tuple[_Place, ValueError]]:
    if len(place) > MAX_DEPTH:
        yield place, ValueError(f"a body is at most {MAX_DEPTH} objects and lists deep")
    elif isinstance(value, str):
        try:
            template.parse(value, known)
        except ValueError as error:
            yield place, error
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _mistakes(inner, (*place, key), known)
    elif (type(value) is int and value not in INT64) or not is_finite(value):
        yield place, ValueError("JSON cannot hold this number")


def writer(body: Any, builtins: Mapping[str, Callable[[], str]]) -> Callable[[Event], bytes]:
    """Build the function that fills a body in and writes it as JSON.

    A text that is one `{field}` alone gives the field's value with its type; any other text with
    a field in it a text. Where a field is missing, it gives null.
    """
    names: dict[str, Any] = {"dumps": orjson.dumps, "join": b"".join}
    # The join copies the bytes to their size, as that of a document does.
    return define(("event",), f"join((dumps({_source(body, builtins, names)}), b''))", names)


def _source(value: Any, builtins: Mapping[str, Callable[[], str]], names: dict[str, Any]) -> str:
    """Write the expression that gives a part of a body."""
    if isinstance(value, dict):
        pairs = (f"{key!r}: {_source(inner, builtins, names)}" for key, inner in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_source(inner, builtins, names) for inner in value)}]"
    if not isinstance(value, str):
        return repr(value)
    first, *others = template.parse(value)
    if not (others or first.keys or first.builtin):
        return repr(first.literal)
    is_copy = first.keys and not (others or first.format)
    name = f"text_{len(names)}"
    names[name] = (
        path.getter(path.render(first.keys)) if is_copy else template.renderer(value, builtins)
    )
    return f"{name}(event)"
