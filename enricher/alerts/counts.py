"""What became of the matches that one sender had to tell: plain counters, read by whoever asks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Of one alert and one sender: `matched` is what was told, suppressed, dropped, and waits."""

    matched: int = 0
    told: int = 0
    """Matches in messages that the other side has taken."""
    messages: int = 0
    suppressed: int = 0
    """Matches whose fingerprint was told before, or waits to be."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Matches that nobody will be told of, by reason."""
    folded: int = 0
    """Matches that were told under fewer labels than their own."""

    def drop(self, count: int, reason: str) -> None:
        """Note that nobody will be told of so many."""
        if count:
            self.dropped[reason] += count

    @property
    def waiting(self) -> int:
        """Give the matches that still have to be told."""
        return self.matched - self.told - self.suppressed - self.dropped.total()
