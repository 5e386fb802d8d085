"""Dead letters as a source: the same records once more, under their own ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial

from enricher.dead_letters.letter import Letter
from enricher.dead_letters.queue import Entry, Queue, entry_of, shape
from enricher.model import DeadLetter, DeadLetterSink, Delivery, Source

_RECORDS = 1000
_BYTES = 1 << 20


class FailedAgain(DeadLetterSink):
    """Takes the dead letters of a replay. They lie in the queue already, and stay as they are."""

    pipeline = ""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.counts: Counter[tuple[str, str, str]] = Counter()
        """By stage, error and shape of the reason."""

    async def open(self) -> None:
        """Do nothing."""

    async def write(self, letters: list[DeadLetter]) -> None:
        """Note which records failed, and why."""
        self.ids.update(letter.record.id for letter in letters)
        self.counts.update((one.stage, one.error, shape(one.reason)) for one in letters)

    async def close(self) -> None:
        """Do nothing."""


class LetterSource(Source):
    """Delivers letters; once a delivery is settled, those that did not fail again are removed.

    Sink first, queue second: whoever is killed in between finds the documents by their ids in
    the next replay.

    Args:
        queue: Closed by `close()`.
        entries: The letters to deliver; those that are cut or masked are passed over.
        failed: What the same run gives its dead letters to.
    """

    name = "dead letters"

    def __init__(self, queue: Queue, entries: Sequence[Entry], failed: FailedAgain) -> None:
        self.total_bytes = sum(entry.size for entry in entries)
        self.read_bytes = 0
        self._queue = queue
        self._entries = [entry for entry in entries if entry.is_whole]
        self._failed = failed
        self._stopping = False

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield the letters' records until all are read or `stop()` is called."""
        async for letters in gather(self._queue, self._entries):
            if self._stopping:
                return
            records = [letter.dead.record for letter in letters]
            size = sum(len(record.value) for record in records)
            yield Delivery(records, partial(self._settle, letters), size)
            self.read_bytes += size

    async def _settle(self, letters: list[Letter]) -> None:
        settled = [entry_of(one) for one in letters if one.id not in self._failed.ids]
        await self._queue.remove(settled)

    def stop(self) -> None:
        """Make `deliveries()` end."""
        self._stopping = True

    async def commit(self) -> bool:
        """Say that there is nothing to commit: what is settled is removed."""
        return True

    async def close(self) -> None:
        """Make the removals durable. Raises UserError where that fails."""
        await self._queue.close()


async def gather(queue: Queue, entries: Sequence[Entry]) -> AsyncIterator[list[Letter]]:
    """Yield letters in batches that are worth a request, of bounded size."""
    batch: list[Letter] = []
    size = 0
    async for letters in queue.read(entries):
        batch += letters
        size += sum(len(letter.dead.record.value) for letter in letters)
        if size >= _BYTES or len(batch) >= _RECORDS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
