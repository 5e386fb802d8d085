"""Ask a store for one stage, and wait while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from enricher.lookups.cached import BACKOFF
from enricher.model import Unavailable
from enricher.state.spec import TOO_LATE, Answer, Sighting, Spec, States
from enricher.waiting import Notice

LARGEST = 4096
"""Events of one round trip."""


@dataclass(slots=True)
class Answered:
    """Events that had a key, by what became of them."""

    answered: int = 0
    late: int = 0
    """Refused: what their windows held may be forgotten."""
    nobody: int = 0
    """The store was away: a failure."""


@dataclass(slots=True)
class Asking:
    """What one stage asks."""

    states: States
    spec: Spec
    waits: bool
    """Whether a batch waits for a store that is away."""
    counts: Answered = field(default_factory=Answered)
    """For whoever watches; so is the next."""
    blocked: str | None = None
    """Why nothing goes on at the moment; None while all is well."""
    _notice: Notice = field(default_factory=Notice)

    async def see(self, sightings: Sequence[Sighting]) -> list[Answer]:
        """See events in their order, and answer each. Never raises.

        What was not answered is asked again, in ever smaller parts: too much for the deadline of
        one round trip would be so for ever.
        """
        answers: list[Answer] = []
        size, attempt = LARGEST, 0
        while len(answers) < len(sightings):
            at = len(answers)
            told = await self.states.see(self.spec, sightings[at : at + size])
            away = next((one for one in told if isinstance(one, Unavailable)), None)
            if away is None or not self.waits:
                answers += told
                self._count(told)
                size, attempt = min(2 * size, LARGEST), 0
                continue
            attempt += 1
            size = max(1, size // 2)
            await self._pause(away, attempt)
        return answers

    def _count(self, told: Sequence[Answer]) -> None:
        answered = [type(one) for one in told].count(dict)
        late = told.count(TOO_LATE) if answered < len(told) else 0
        self.counts.late += late
        self.counts.answered += answered
        self.counts.nobody += len(told) - late - answered

    async def _pause(self, away: Unavailable, attempt: int) -> None:
        name = self.spec.name
        self.blocked = f"{name}: {away}; records wait, nothing is lost"
        self._notice.error(f"{name}: the store is away; records wait, nothing is lost")
        try:
            await asyncio.sleep(BACKOFF.delay(attempt))
        finally:
            self.blocked = None
