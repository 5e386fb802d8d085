"""A stage's function that asks for a key: of a whole batch, or asked first and applied later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from enricher.each import each
from enricher.lookups.cache import Found
from enricher.lookups.cached import CachedStore
from enricher.model import Event


@dataclass(slots=True)
class KeyedLookup:
    """A function of a batch that can also be asked first and applied later, event by event."""

    stage: object
    """Whose function it is: one that is equal asks the same."""
    key: Callable[[Event], str | None]
    """The key of an event; None where there is none."""
    apply: Callable[[Event, Found], None]
    """Writes what was found to an event. Raises `Failure`."""
    asked: CachedStore
    _note: Callable[..., dict[int, str]] = field(init=False)
    _apply_all: Callable[..., dict[int, str]] = field(init=False)

    def __post_init__(self) -> None:
        """Generate the loops over a batch."""
        self._note = each(noter(self.key), ["event"], ["keys"])
        self._apply_all = each(self.apply, ["event", "found"])

    async def fetch(self, keys: list[str | None]) -> list[Found]:
        """Give what is stored under each key. Never raises."""
        return await self.asked.fetch(keys)

    async def __call__(self, events: list[Event]) -> Mapping[int, str]:
        """Look up and write for a whole batch; give the reasons of those that failed."""
        keys: list[str | None] = []
        self._note(events, keys)
        return self._apply_all(events, await self.fetch(keys))


def noter(key: Callable[[Event], str | None]) -> Callable[..., None]:
    """Build the function that notes the key of an event."""

    def note(event: Event, keys: list[str | None]) -> None:
        keys.append(key(event))

    return note


def keep_answers(former: Iterable[object], functions: Iterable[object]) -> None:
    """Let look-ups go on with what those that were set up like them know of the same store."""
    known = [one for one in former if isinstance(one, KeyedLookup)]
    for new in functions:
        for old in known:
            if isinstance(new, KeyedLookup) and (new.stage, new.asked.store) == (
                old.stage,
                old.asked.store,
            ):
                new.asked.cache = old.asked.cache
