"""The oracle: the ledger against what Elasticsearch and the dead-letter topic hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .ledger import SEQUENCE, Entry, fingerprint, same_value

SHOWN = 5


class Found(NamedTuple):
    """A document, where it stands."""

    index: str  # type: ignore[assignment]  # hides tuple.index(), which nobody calls
    id: str
    fields: Mapping[str, Any]


class Letter(NamedTuple):
    """A dead letter; those of one id are one (the topic is compacted)."""

    id: str
    value: bytes
    headers: Mapping[str, str]


@dataclass(slots=True)
class Verdict:
    """What is wrong, by the ids of the records (of documents, where nobody sent them)."""

    sent: int = 0
    indexed: int = 0
    dead_letters: int = 0
    lost: list[str] = field(default_factory=list)
    """In no index and not among the dead letters."""
    twice: list[str] = field(default_factory=list)
    """Under two ids, in two indices, or in an index and among the dead letters."""
    altered: list[str] = field(default_factory=list)
    """A field that came in is missing or another; or a dead letter's bytes are."""
    unknown: list[str] = field(default_factory=list)
    """Nobody sent it, or it stands under an id that is not its own."""

    @property
    def clean(self) -> bool:
        """Whether every record is in exactly one place, as it was sent, and nothing else is."""
        return not (self.lost or self.twice or self.altered or self.unknown)

    def __str__(self) -> str:
        wrong = {name: getattr(self, name) for name in ("lost", "twice", "altered", "unknown")}
        shown = ", ".join(f"{len(ids)} {name} {ids[:SHOWN]}" for name, ids in wrong.items())
        return f"{self.sent} sent, {self.indexed} indexed, {self.dead_letters} dead; {shown}"


def check(entries: Iterable[Entry], documents: Iterable[Found], letters: list[Letter]) -> Verdict:
    """Compare by id and by the hash of the fields that came in."""
    verdict = Verdict()
    by_id = {entry.id: entry for entry in entries}
    by_sequence = {entry.sequence: entry for entry in by_id.values()}
    verdict.sent = len(by_id)
    places: dict[str, int] = {}
    for identity in _settled(verdict, by_id, by_sequence, documents, letters):
        places[identity] = places.get(identity, 0) + 1
    verdict.lost = [identity for identity in by_id if identity not in places]
    verdict.twice = [identity for identity, count in places.items() if count > 1]
    return verdict


def _settled(
    verdict: Verdict,
    by_id: Mapping[str, Entry],
    by_sequence: Mapping[int, Entry],
    documents: Iterable[Found],
    letters: list[Letter],
) -> Iterator[str]:
    """Yield the id of the record that stands there, for every place."""
    for document in documents:
        verdict.indexed += 1
        entry = by_id.get(document.id)
        if entry is None:
            verdict.unknown.append(document.id)
            entry = by_sequence.get(document.fields.get(SEQUENCE, -1))
        if entry is not None:
            if fingerprint(document.fields, entry.keys) != entry.fields and entry.keys:
                verdict.altered.append(entry.id)
            yield entry.id
    for letter in {letter.id: letter for letter in letters}.values():
        verdict.dead_letters += 1
        entry = by_id.get(letter.id)
        if entry is None:
            verdict.unknown.append(letter.id)
            continue
        if not same_value(entry, letter.value):
            verdict.altered.append(entry.id)
        yield entry.id
