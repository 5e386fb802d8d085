"""What the embedded store forgets, and what it keeps when a reload wants something else."""

from __future__ import annotations

import gc
import tracemalloc

from enricher.state import MemoryStates
from enricher.state.spec import Measure, Sighting, Spec

MINUTE_US = 60_000_000
SPEC = Spec(
    "p:w",
    (Measure("n", "count", within_us=10 * MINUTE_US),),
    ("number:amount", "json:place"),
    20 * MINUTE_US,
    1000,
)
NOW_US = 1_763_620_000_000_000


def batch(start: int, keys: int, minute: int) -> list[Sighting]:
    return [
        Sighting(f"u{n}", f"e{n}-{minute}", NOW_US + minute * MINUTE_US + n, (1.0, '"x"'))
        for n in range(start, start + keys)
    ]


async def test_keys_that_are_silent_go() -> None:
    """Memory grows with the keys that are active within the retention, not with all there were."""
    states = MemoryStates()

    async def run(minutes: range) -> int:
        for minute in minutes:
            await states.see(SPEC, batch(100 * minute, 100, minute))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        await run(range(210))  # keys go by turns of half an hour: all looks are at the same phase
        (keys,) = states._stages.values()
        early = await run(range(210, 390))
        late = await run(range(390, 1200))
    finally:
        tracemalloc.stop()
    assert late < 1.2 * early
    assert len(keys.young) + len(keys.old) <= 100 * 2 * 31


async def test_one_event_from_the_future_ages_nobody() -> None:
    """The rest of its batch shows what time it is."""
    states = MemoryStates()
    await states.see(SPEC, batch(0, 10, 0))
    for minute in (1, 2, 3):
        future = Sighting("odd", f"f{minute}", NOW_US + 10**15 * minute, (1.0, None))
        await states.see(SPEC, [future, *batch(20, 5, minute)])
    assert await states.see(SPEC, batch(0, 10, 4)) == [{"n": 2}] * 10


async def test_a_reload_goes_on_with_what_it_can() -> None:
    """Events stay; of a field that was not kept before nothing is known of them."""
    states = MemoryStates()
    await states.see(SPEC, batch(0, 1, 0))
    wanted = (
        Measure("n", "count", within_us=10 * MINUTE_US),
        Measure("spent", "sum", ("number:amount",)),
        Measure("cards", "distinct", ("json:card",)),
    )
    spec = SPEC._replace(measures=wanted, columns=("json:card", "number:amount"))
    (answer,) = await states.see(spec, [Sighting("u0", "new", NOW_US + MINUTE_US, ('"c"', 2.0))])
    assert answer == {"n": 2, "spent": 3, "cards": 1}
    (again,) = await states.see(spec, [Sighting("u0", "e0-0", NOW_US, (None, 1.0))])
    assert again == {"n": 1}  # its first answer, from before


async def test_stages_share_nothing() -> None:
    states = MemoryStates()
    await states.see(SPEC, batch(0, 1, 0))
    assert await states.see(SPEC._replace(name="p:other"), batch(0, 1, 1)) == [{"n": 1}]
