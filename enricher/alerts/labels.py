"""What Alertmanager allows in labels, annotations and URLs, and how fields get into them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated
from urllib.parse import quote

from pydantic import AfterValidator

from enricher.alerts.text import cut
from enricher.model import Event
from enricher.template import lenient_renderer, renderer

Builtins = Mapping[str, Callable[[], str]]
Texts = tuple[str | None, ...]
"""Of the labels, as an event fills them in."""
Labels = tuple[tuple[str, str], ...]
"""Names and values, in the order of the pipeline file; tells one alert from another."""

MAX_LABEL = 256
"""Characters of a label's value that are kept."""
MOST_REMEMBERED = 1000
"""Sets of labels that are remembered."""
MAX_REMEMBERED = 1000
"""Characters of a set that is."""
MAX_TEXT = 4096
"""Characters of an annotation, and of a URL."""
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters but tab and newline; those that turn the direction of writing, too."""
_CONTROL_OR_LINES = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_QUOTES = re.compile(r"""['"`!\\<>]""")
"""What ends a text inside a URL's own language, once the URL is decoded: Kibana's, for one."""


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f'"{name}" is no label: letters, digits and _ only, no digit first')
    if name.startswith("__"):
        raise ValueError(f'"{name}" is reserved: a label does not begin with __')
    return name


LabelName = Annotated[str, AfterValidator(_check_name)]


def clean(text: str, limit: int) -> str:
    """Make a text fit for one line: no control characters, no more characters than the limit."""
    if not text.isprintable():
        text = _CONTROL_OR_LINES.sub(" ", text)
    return cut(text.strip(), limit)


def labeller(name: str, names: Sequence[str]) -> Callable[[Texts], Labels]:
    """Build the function that makes labels of their texts; what is missing or empty is left out.

    Args:
        name: of the alert; its `alertname` unless a label of that name has a value.
        names: of the labels.
    """
    known: dict[Texts, Labels] = {}
    """An error that fires goes on firing."""

    def labels(texts: Texts) -> Labels:
        found = known.get(texts)
        if found is None:
            values = [clean(text or "", MAX_LABEL) for text in texts]
            given = {label: value for label, value in zip(names, values, strict=True) if value}
            found = tuple(({"alertname": name} | given).items())
            if len(known) >= MOST_REMEMBERED:
                known.clear()
            if sum([len(text or "") for text in texts]) <= MAX_REMEMBERED:
                known[texts] = found
        return found

    return labels


def annotator(
    templates: Mapping[str, str], builtins: Builtins
) -> Callable[[Event], dict[str, str]]:
    """Build the function that gives an event's annotations; a missing field becomes `–`."""
    renderers = {name: lenient_renderer(text, builtins) for name, text in templates.items()}

    def annotations(event: Event) -> dict[str, str]:
        return {
            name: cut(_CONTROL.sub(" ", render(event)), MAX_TEXT)
            for name, render in renderers.items()
        }

    return annotations


def linker(text: str, builtins: Builtins) -> Callable[[Event], str | None]:
    """Build the function that gives an event's URL; None where a field is missing or all too long.

    A value stays inside its place: it is percent-encoded, and loses what could end a text in
    the language that a URL may hold.
    """
    render = renderer(text, builtins, _encode)

    def link(event: Event) -> str | None:
        url = render(event)
        return url if url and len(url) <= MAX_TEXT else None

    return link


def _encode(value: str) -> str:
    return quote(_QUOTES.sub("", clean(value, MAX_LABEL)), safe="")
