"""What is measured over the events of one key: one generated function for all fields of a stage.

Nine events out of ten look at a handful of values; calls would cost more than looking. Each part
below writes the lines that do for one measure what `measured` of `see.lua` does.
"""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from functools import lru_cache, reduce
from operator import add
from typing import Any, Protocol

import orjson

from enricher.state.spec import Answer, Measure, Spec, Value

Column = MutableSequence[Any]
"""What is kept of one field, event by event: JSON or None; of a number NaN stands for None."""
Kept = tuple[Any, ...]
"""An answer as it is kept: its form, and what each measure found, None for nothing."""
EXACT = 1e17
"""A whole number below is written without an exponent, and read back as an integer."""
NAN = math.nan


class Observe(Protocol):
    """Puts an event's values at their place among those of its key, and measures up to them."""

    def __call__(
        self,
        times: Sequence[int],
        columns: Sequence[Column],
        values: Sequence[Value],
        place: int,
        time_us: int,
    ) -> tuple[Kept, dict[str, Any]]:
        """Give the answer as it is kept, and as it is.

        Args:
            times: of the key's events in microseconds, rising, with the present one.
            columns: of `Spec.columns`; they are to get the values.
            values: by column.
            place: how many events come before the present one.
            time_us: of the present one.
        """
        ...


shared_json = lru_cache(maxsize=1 << 12)(orjson.loads)
"""Reads objects and lists, such as places: many events have the same, and none changes them."""


def is_number(column: str) -> bool:
    """Say whether a column is one of numbers."""
    return column.startswith("number:")


def empty(column: str, count: int) -> Column:
    """Build a column that knows nothing of so many events."""
    return array("d", [NAN]) * count if is_number(column) else [None] * count


def compile_observe(spec: Spec) -> Observe:
    """Generate the function of a stage."""
    form = tuple((one.target, one.kind == "previous") for one in spec.measures)
    lines = [
        *_inserts(spec),
        *_lowers(spec),
        *(line for n, measure in enumerate(spec.measures) for line in _finds(n, measure, spec)),
        "answer = {}",
    ]
    for number, (target, is_json) in enumerate(form):
        found = f"found_{number}"
        value = f"(shared if {found}[0] in '{{[' else loads)({found})" if is_json else found
        lines.append(f"if {found} is not None: answer[{target!r}] = {value}")
    founds = "".join(f", found_{number}" for number in range(len(form)))
    lines.append(f"return (form{founds}), answer")
    source = "def observe(times, columns, values, place, time_us):\n    " + "\n    ".join(lines)
    names: dict[str, Any] = {
        "form": form,
        "NAN": NAN,
        "bisect": bisect_right,
        "loads": orjson.loads,
        "number": number_of,
        "present": present,
        "shared": shared_json,
        "total_of": total_of,
    }
    exec(source, names)  # noqa: S102 - generated from a checked spec: its texts go through repr()
    observe: Observe = names["observe"]
    return observe


def answer_of(kept: Kept) -> Answer:
    """Give an answer again."""
    found = zip(kept[0], kept[1:], strict=True)
    return {
        target: orjson.loads(value) if is_json else value
        for (target, is_json), value in found
        if value is not None
    }


def _inserts(spec: Spec) -> Iterator[str]:
    """Write how the values get to their place."""
    count = len(spec.columns)
    for names, source in (("column", "columns"), ("value", "values")):
        if count:
            yield f"{''.join(f'{names}_{n}, ' for n in range(count))}= {source}"
    for number, name in enumerate(spec.columns):
        column, value = f"column_{number}", f"value_{number}"
        if is_number(name):
            yield f"{column}.insert(place, NAN if {value} is None else {value})"
        else:  # a text that is the same as before, as of a place, is kept once
            yield f"if place and {column}[place - 1] == {value}: {value} = {column}[place - 1]"
            yield f"{column}.insert(place, {value})"


def _lowers(spec: Spec) -> Iterator[str]:
    """Write where each window begins; most often no event but the present one lies in it."""
    for within_us in dict.fromkeys(one.within_us for one in spec.measures):
        if within_us is None:
            yield "lower = 0"
        else:
            since = f"time_us - {within_us}"
            yield f"lower_{within_us} = place"
            yield f"if place and times[place - 1] > {since}:"
            yield f"    lower_{within_us} = bisect(times, {since}, 0, place)"


def _finds(number: int, measure: Measure, spec: Spec) -> Iterator[str]:
    """Write how one measure is found."""
    found = f"found_{number}"
    lower = "lower" if measure.within_us is None else f"lower_{measure.within_us}"
    upper = "place" if measure.before else "place + 1"
    of = [spec.columns.index(name) for name in measure.of]
    if measure.kind == "previous":
        missing = " or ".join(_is_missing(column, spec) for column in dict.fromkeys(of))
        yield "at = place - 1"
        yield f"while at >= {lower} and ({missing}): at -= 1"
        yield f"{found} = column_{of[0]}[at] if at >= {lower} else None"
        return
    if not of:
        yield f"count = {found} = {upper} - {lower}"
    else:
        yield from _gathered(measure, of, lower, upper)
        yield f"{found} = {_SUMS[measure.kind]}"
    if measure.at_least:
        yield f"if count < {measure.at_least}: {found} = None"


def _is_missing(column: int, spec: Spec) -> str:
    value = f"column_{column}[at]"
    return f"{value} != {value}" if is_number(spec.columns[column]) else f"{value} is None"


def _gathered(measure: Measure, of: Sequence[int], lower: str, upper: str) -> Iterator[str]:
    """Write how the values of a measure are gathered, and their count and total."""
    columns = "".join(f"column_{column}, " for column in of)
    all_of_them = f"values = present(({columns}), {lower}, {upper}, {measure.last})"
    is_sum = measure.kind in ("sum", "mean")
    if is_sum and len(of) == 1:
        begin = lower
        if measure.last is not None:
            begin = "begin"
            yield f"begin = {upper} - {measure.last}"
            yield f"if begin < {lower}: begin = {lower}"
        yield f"values = column_{of[0]}[{begin}:{upper}]"
        yield "total = total_of(values, 0.0)"
        yield "if total != total:"  # some have no number
        yield f"    {all_of_them}"
        yield "    total = total_of(values, 0.0)"
    else:
        yield all_of_them
        if is_sum:
            yield "total = total_of(values, 0.0)"
    yield "count = len(values)"


_SUMS = {
    "count": "count",
    "distinct": "len(set(values))",
    "sum": "number(total)",
    "mean": "number(total / count) if count else None",
}
"""What a measure makes of the values."""


def present(columns: Sequence[Column], lower: int, upper: int, last: int | None) -> list[Any]:
    """Give the values of the first column where no column lacks one, of the last so many."""
    rows = zip(*[column[lower:upper] for column in columns], strict=True)
    values = [row[0] for row in rows if None not in row and row[0] == row[0]]
    return values if last is None else values[-last:]


def _added_up(values: Sequence[float], start: float) -> float:
    return reduce(add, values, start)


total_of: Callable[[Sequence[Any], float], float] = sum if sys.version_info < (3, 12) else _added_up
"""Adds up one after the other, as `see.lua` does; from 3.12 on `sum` makes up for what is lost."""


def number_of(value: float) -> int | float | None:
    """Write a whole number as one; None for what is no number at all."""
    if value.is_integer():
        return int(value) if abs(value) < EXACT else value
    return value if math.isfinite(value) else None
