"""Find personal data in any text, and in every text of an event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import is_
from typing import Any

import orjson

from enricher.model import Event
from enricher.pattern import compile_finder, compile_locator
from enricher.pii.fold import fold, odd, places
from enricher.pii.hiding import Finding, Hide
from enricher.pii.kind import Kind

CANDIDATES = 1000
"""Candidates of an event that are looked at, texts that may hold one counted, too: behind them a
text that may hold another is hidden whole, so that no event costs more than some milliseconds."""
WHOLE = "****"
REMEMBERED = 1 << 13
"""Texts without a hint that are remembered: what people are told repeats."""
MAX_REMEMBERED = 256
"""Characters of a text that is still remembered."""
_SHORTEST = 5
"""Characters of the shortest text that anything is found in: `ab@cd`."""
_SMALLEST = 10**11
"""The smallest integer that may be a number with a checksum."""


class Scanner:
    """Hides what it finds of some kinds.

    Args:
        kinds: Looked for; in a text that two claim, what either hides is hidden.
        hide: What is put in its place.
        candidates: Looked at, of one event.
    """

    def __init__(self, kinds: Sequence[Kind], hide: Hide, candidates: float = CANDIDATES) -> None:
        self._hide = hide
        self._kinds = [(kind, compile_locator(kind.pattern)) for kind in kinds]
        self._checked = [pair for pair in self._kinds if pair[0].has_checksum]
        hints = dict.fromkeys(kind.hint or kind.pattern for kind in kinds)
        self._find = compile_finder("|".join((*hints, odd())), is_utf8=True)
        self._candidates = self._left = candidates
        self._clean: set[str] = set()

    def event(self, event: Event) -> None:
        """Hide what is found in any value of an event; nested ones are copied."""
        if self._find(orjson.dumps([*event.values()]), 0) >= 0:
            self._left = self._candidates
            for key, value in event.items():
                changed = self._within(value)
                if changed is not value:
                    event[key] = changed

    def value(self, value: Any) -> Any:
        """Give a value with what is found in it hidden; the value itself where there is nothing."""
        if type(value) is str:
            if value in self._clean:
                return value
            if self._find(value.encode(errors="replace"), 0) < 0:
                if len(self._clean) >= REMEMBERED:
                    self._clean.clear()
                if len(value) <= MAX_REMEMBERED:
                    self._clean.add(value)
                return value
        self._left = self._candidates
        return self._within(value)

    def _within(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value, self._kinds) if len(value) >= _SHORTEST else value
        if kind is dict:
            changed = {k: new for k, old in value.items() if (new := self._within(old)) is not old}
            return {**value, **changed} if changed else value
        if kind is list:
            elements = [self._within(element) for element in value]
            return value if all(map(is_, elements, value)) else elements
        if kind is int and value >= _SMALLEST and self._checked:
            digits = str(value)
            hidden = self._text(digits, self._checked)
            return value if hidden is digits else hidden
        return value

    def _text(self, text: str, kinds: Sequence[Any]) -> str:
        if self._find(text.encode(errors="replace"), 0) < 0:
            return text
        if self._left <= 0:
            return WHOLE
        self._left -= 1
        folded = fold(text)
        data = folded.encode("ascii", "replace")  # one byte for each character
        found = sorted(one for pair in kinds for one in self._findings(folded, data, *pair))
        if self._left <= 0:
            return WHOLE
        if not found:
            return text
        # Digits that one mask leaves may look like another number, now that stars stand around.
        rewritten = self._rewritten(text, folded, found)
        return rewritten if rewritten == text else self._text(rewritten, kinds)

    def _findings(self, text: str, data: bytes, kind: Kind, locate: Any) -> Iterator[Finding]:
        start, end = locate(data, 0)
        while start >= 0 and self._left > 0:
            self._left -= 1
            if fits := kind.fit(text[start:end]):
                yield Finding(start, start + fits, kind)
            start, end = locate(data, start + 1)

    def _rewritten(self, text: str, folded: str, found: list[Finding]) -> str:
        at, done, pieces = places(text, folded), 0, []
        for group in _overlapping(found):
            start, end = group[0].start, max(one.end for one in group)
            inner = [Finding(s - start, e - start, kind) for s, e, kind in group]
            pieces += [text[done : at[start]], self._hide(folded[start:end], inner)]
            done = at[end - 1] + 1
        return "".join([*pieces, text[done:]])


def _overlapping(found: list[Finding]) -> Iterator[list[Finding]]:
    """Put findings that overlap together; they are in order."""
    group: list[Finding] = []
    end = 0
    for one in found:
        if group and one.start >= end:
            yield group
            group = []
        end = max(end, one.end) if group else one.end
        group.append(one)
    yield group
