"""The loop's stalls are seen, the longest for a minute."""

from __future__ import annotations

import asyncio
import time

from enricher.pulse import EVERY_S, RECENT_S, Pulse


def test_the_longest_of_the_last_minute_is_kept_and_no_longer() -> None:
    pulse = Pulse()
    assert pulse.longest_s == 0
    for at, late in ((0.0, 0.3), (1.0, 0.5), (2.0, 0.1), (3.0, 0.2)):
        pulse.note(late, at)
    assert pulse.longest_s == 0.5
    pulse.note(0.0, 1.0 + RECENT_S)
    assert pulse.longest_s == 0.5
    pulse.note(0.0, 1.1 + RECENT_S)
    assert pulse.longest_s == 0.2
    pulse.note(0.05, 4.0 + RECENT_S)
    assert pulse.longest_s == 0.05
    assert pulse.lateness.buckets()[-1] == ("+Inf", 7)


async def test_a_blocked_loop_is_noticed() -> None:
    """A stage that takes 300 ms delays the beat by nearly as much."""
    pulse = Pulse()
    task = asyncio.create_task(pulse.beat())
    await asyncio.sleep(2 * EVERY_S)
    time.sleep(0.3)
    await asyncio.sleep(2 * EVERY_S)
    task.cancel()
    assert pulse.longest_s > 0.3 - EVERY_S - 0.02
    beyond = dict(pulse.lateness.buckets())
    assert beyond["+Inf"] - beyond["0.1"] >= 1
