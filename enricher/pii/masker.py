"""What is hidden of an event, field by field and by a scan; and of anything else that shows it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from enricher import path
from enricher.model import Event
from enricher.pii.fold import fold
from enricher.pii.hiding import Finding, Hide
from enricher.pii.kind import Kind
from enricher.pii.scanner import Scanner

Change = Callable[[Any], Any]
"""Gives a value with what is personal in it hidden. It never changes one in place."""
LIMIT = 1 << 13
"""Texts whose form is remembered before the memory starts again."""
MAX_REMEMBERED = 256
"""Characters of a text that is still remembered."""
_QUOTED = re.compile(r"""(?<!\w)'(?:[^'\\]|\\.)*'?|(?<!\w)"(?:[^"\\]|\\.)*"?""", re.DOTALL)
_DIGITS = re.compile(r"[0-9](?:[ -]?[0-9]){3,}")


class Masker:
    """Hides what a pipeline's author calls personal.

    Args:
        fields: Kinds by field.
        scan: Kinds that are looked for in texts.
        within: Fields that are scanned; empty stands for all.
        hide: What is put in the place of what is hidden.
    """

    def __init__(
        self, fields: Mapping[str, Kind], scan: Sequence[Kind], within: Iterable[str], hide: Hide
    ) -> None:
        keyed = [(path.parse(field), in_field(kind, hide)) for field, kind in fields.items()]
        self._fields = [inside(keys, change) for keys, change in keyed]
        scanner = Scanner(scan, hide) if scan else None
        if scanner:
            keyed += [(path.parse(field), scanner.value) for field in within]
        self.changes = tuple((keys[0], inside(keys[1:], change)) for keys, change in keyed)
        """By field of the event; each takes the value that stands there."""
        self.scan: Callable[[Event], None] | None = (
            scanner.event if scanner and not within else None
        )
        """What is done to the whole of an event at last."""
        kinds = list(dict.fromkeys((*fields.values(), *scan)))
        self._every = Scanner(kinds, hide, math.inf)

    def anything(self, value: Any) -> Any:
        """Hide all that any rule knows in a value that is an event, or may be anything."""
        for change in self._fields:
            value = change(value)
        return self._every.value(value)

    def text(self, text: str) -> str:
        """Hide what is found of any kind in a text."""
        hidden: str = self._every.value(text)
        return hidden

    def reason(self, text: str) -> str:
        """Give the reason of a failure without what it quotes, which may be a part of a value."""
        text = _DIGITS.sub(lambda found: re.sub("[0-9]", "*", found[0]), _QUOTED.sub("…", text))
        return self.text(text)

    def failures(self, value: Any) -> Any:
        """Do so with the field `failures` of an event."""
        if type(value) is not dict:
            return value
        return {k: self.reason(v) if type(v) is str else v for k, v in value.items()}


def inside(keys: tuple[str, ...], change: Change) -> Change:
    """Build the function that changes what lies at a path, in each element of lists on the way."""
    if not keys:
        return change
    key, change_inner = keys[0], inside(keys[1:], change)

    def follow(value: Any) -> Any:
        if type(value) is list:
            return [follow(element) for element in value]
        if type(value) is dict and value.get(key) is not None:
            return {**value, key: change_inner(value[key])}
        return value

    return follow


def in_field(kind: Kind, hide: Hide) -> Change:
    """Build the function that hides whatever stands in a field of a kind, numbers and lists too.

    Texts are remembered, since they repeat.
    """
    known: dict[str, str] = {}

    def hidden(text: str) -> str:
        folded = fold(text)
        form = hide(folded, [Finding(0, len(folded), kind)]) if folded.strip() else folded
        if len(known) >= LIMIT:
            known.clear()
        if len(text) <= MAX_REMEMBERED:
            known[text] = form
        return form

    def change(value: Any) -> Any:
        if type(value) is str:
            form = known.get(value)
            return hidden(value) if form is None else form
        if type(value) is float and value.is_integer():
            return hidden(str(int(value)))
        if type(value) in (int, float):
            return hidden(str(value))
        if type(value) is list:
            return [change(element) for element in value]
        if type(value) is dict:
            return {key: change(element) for key, element in value.items()}
        return value

    return change
