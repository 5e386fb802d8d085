"""The items of `_bulk` requests and answers: what was sent, what was accepted, what came again."""

import random
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

_ACCEPTED = frozenset({200, 201, 409})


class Item(NamedTuple):
    """One document of a request."""

    action: str
    index: str  # type: ignore[assignment]  # hides tuple.index(), which nobody calls
    id: str


class Traffic:
    """Counts by item. An item whose answer was spoiled may come again; one that was accepted may not."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._accepted: set[Item] = set()
        self._unknown: set[Item] = set()

    def received(self, body: bytes) -> list[Item]:
        """Count a request's items and give them."""
        items = items_of(body)
        self.counts["requests"] += 1
        self.counts["items"] += len(items)
        self.counts["sent again after acceptance"] += len(self._accepted.intersection(items))
        self.counts["sent again after an unknown outcome"] += len(self._unknown.intersection(items))
        return items

    def unknown(self, items: Sequence[Item]) -> None:
        """Note that the sender cannot know what became of them."""
        self._unknown.update(items)

    def answered(self, items: Sequence[Item], answer: Any) -> None:
        """Note what the sender was told."""
        for item, result in zip(items, answer["items"], strict=True):
            status = result[item.action]["status"]
            self.counts[f"item {status}"] += 1
            if status in _ACCEPTED:
                self._accepted.add(item)
                self._unknown.discard(item)


def items_of(body: bytes) -> list[Item]:
    """Read the actions of a `_bulk` body; every one has a document on the next line."""
    items = []
    for line in body.split(b"\n")[:-1:2]:
        ((action, meta),) = orjson.loads(line).items()
        items.append(Item(action, meta["_index"], meta["_id"]))
    return items


def keep(body: bytes, without: Container[int]) -> bytes:
    """Leave items out of a body."""
    lines = body.split(b"\n")[:-1]
    kept = [line for at, line in enumerate(lines) if at // 2 not in without]
    return b"".join(line + b"\n" for line in kept)


def merge(answer: bytes, items: Sequence[Item], refused: Mapping[int, int]) -> bytes:
    """Put the refused items, by their place and status, into the answer for the others."""
    if not refused:
        return answer
    decoded = orjson.loads(answer)
    others = iter(decoded["items"])
    decoded["items"] = [
        _refusal(item, refused[at]) if at in refused else next(others)
        for at, item in enumerate(items)
    ]
    decoded["errors"] = True
    return orjson.dumps(decoded)


def _refusal(item: Item, status: int) -> dict[str, Any]:
    error = {"type": "es_rejected_execution_exception", "reason": "rejected by the tests' proxy"}
    return {item.action: {"_id": item.id, "status": status, "error": error}}


def swap(answer: bytes, dice: random.Random) -> bytes:
    """Make an answer that does not fit its request: an item is missing, or two are swapped."""
    decoded = orjson.loads(answer)
    items = decoded["items"]
    if len(items) > 1 and dice.random() < 0.5:
        one, other = dice.sample(range(len(items)), 2)
        items[one], items[other] = items[other], items[one]
    else:
        items.pop(dice.randrange(len(items)))
    return orjson.dumps(decoded)
