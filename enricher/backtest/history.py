"""Read files of the past in the order in which it happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count

from enricher import path
from enricher.backtest.order import Entry, Reorder, merged
from enricher.config import PipelineConfig
from enricher.inline import define
from enricher.lines import read_records
from enricher.model import Event, Failure, Record
from enricher.moment import exact_us, read, to_epoch_ms, zone
from enricher.plan import Plan
from enricher.stages.timestamp import Timestamp

LATENESS_S = 300.0
_SCALARS = (str, int)


class History:
    """The records of some files, in order of their events' times.

    Args:
        files: read side by side, `-` is standard input.
        lateness_s: by how much a record may be late within its file and still be put in order.
        label_field: field whose value labels name; None where there are none.
    """

    def __init__(
        self, files: Sequence[str], lateness_s: float = LATENESS_S, label_field: str | None = None
    ) -> None:
        self._files = files
        self._label_field = label_field
        self._orders = [Reorder(int(lateness_s * 1000)) for _ in files]

    @property
    def late(self) -> int:
        """Give how many records were too late to be put in order."""
        return sum(order.late for order in self._orders)

    def batches(
        self, config: PipelineConfig, plan: Plan, limit: int | None = None
    ) -> Iterator[list[Entry]]:
        """Yield batches in order; the position of a record is its number, as they were read.

        A record's timestamp is its event's own time, as if it had been read when it happened.
        Raises UserError for a file that cannot be read.
        """
        numbers = count()
        streams = [
            in_order(file, order, seer(config, plan, self._label_field, numbers))
            for file, order in zip(self._files, self._orders, strict=True)
        ]
        left = limit
        for entries in merged(streams):
            batch = entries if left is None else entries[:left]
            if not batch:
                return
            yield batch
            left = None if left is None else left - len(batch)


See = Callable[[list[Record], bool], list[Entry]]
"""Gives the entries of records, decoded or not."""


def in_order(file: str, order: Reorder, see: See) -> Iterator[list[Entry]]:
    """Yield what is in a file. Raises UserError where it cannot be read."""
    for records in read_records(file):
        yield order.add(see(records, not order.is_crowded))
    yield order.rest()


def seer(
    config: PipelineConfig, plan: Plan, label_field: str | None, numbers: Iterator[int]
) -> See:
    """Build the function that reads time and label of the records of one file."""
    time_of, decode = event_time(config), plan.decode.quickly
    get = path.getter(label_field) if label_field else define(("event",), "None")
    new, scalars = tuple.__new__, _SCALARS  # named tuples' own way takes three times as long
    before = 0

    def see(records: list[Record], keep: bool) -> list[Entry]:
        nonlocal before
        entries = []
        for (value, name, _, stream, _, key), event in zip(records, decode(records), strict=True):
            moment = time_of(event)
            moment = before = before if moment is None else moment
            label = get(event) if type(event) is dict else None
            record = new(Record, (value, name, moment or None, stream, next(numbers), key))
            label = label if type(label) in scalars else None
            entries.append(new(Entry, (moment, record, label, event if keep else None)))
        return entries

    return see


def event_time(config: PipelineConfig) -> Callable[[Event | Failure], int | None]:
    """Build the function that reads an event's own time, as the first timestamp stage does.

    It gives ms since the epoch, and None where there is no event or no time that can be read.
    """
    stage = next((stage for stage in config.stages if isinstance(stage, Timestamp)), Timestamp())
    get, default = path.getter(stage.field), zone(stage.timezone)

    def time_of(event: Event | Failure) -> int | None:
        text = get(event) if type(event) is dict else None
        if type(text) is not str:
            return None
        try:
            try:
                return exact_us(text) // 1000
            except TypeError:  # without an offset
                return to_epoch_ms(read(text, default))
        except (ValueError, OverflowError):
            return None

    return time_of
