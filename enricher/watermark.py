"""How far one partition, or one file, is settled: the offset that may be committed.

Pure bookkeeping, no I/O. It follows the offsets that were delivered, not "+1": compaction and
transaction markers leave gaps that no record will ever fill. The cost is per span (one span a
delivery and partition), never per record.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Span:
    """Consecutively delivered records of one partition that are settled together."""

    first: int
    last: int
    """Offset of the last record, inclusive; there may be gaps between the two."""
    records: int
    size: int
    """Raw bytes."""
    at: float = 0.0
    """When it was delivered, in seconds of a monotonic clock."""
    settled: bool = False


class Watermark:
    """The contiguous watermark of one partition, for as long as one assignment lasts.

    A span that is settled early waits for those before it: committing past an unsettled record
    would lose that record in a crash.
    """

    __slots__ = ("_spans", "next", "outstanding", "position", "records", "size")

    def __init__(self) -> None:
        self._spans: deque[Span] = deque()
        self.position: int | None = None
        """The offset to commit: last contiguous settled offset + 1; None before there is one."""
        self.next: int | None = None
        """Last delivered offset + 1; None before the first delivery."""
        self.outstanding = 0
        """Spans that are delivered and not settled."""
        self.records = 0
        """Records delivered at or after `position`, settled or not."""
        self.size = 0
        """Raw bytes of those records."""

    def deliver(
        self, first: int, last: int, records: int = 1, size: int = 0, at: float = 0.0
    ) -> Span:
        """Note that the records from offset `first` to `last` (inclusive) were delivered.

        Raises:
            ValueError: The offsets do not follow those delivered before.
        """
        if last < first or (self.next is not None and first < self.next):
            raise ValueError(f"offsets {first} to {last} do not follow {self.next}")
        span = Span(first, last, records, size, at)
        self._spans.append(span)
        self.next = last + 1
        self.outstanding += 1
        self.records += records
        self.size += size
        return span

    def settle(self, span: Span) -> None:
        """Note that every record of a span is settled; a second time changes nothing."""
        if span.settled:
            return
        span.settled = True
        self.outstanding -= 1
        spans = self._spans
        while spans and spans[0].settled:
            done = spans.popleft()
            self.position = done.last + 1
            self.records -= done.records
            self.size -= done.size

    @property
    def waiting_since(self) -> float | None:
        """When the first delivery that may not be settled was made; None when all are."""
        return self._spans[0].at if self._spans else None

    @property
    def unsettled(self) -> int | None:
        """The first delivered offset that may not be settled; `next` when all are."""
        return self._spans[0].first if self._spans else self.next
