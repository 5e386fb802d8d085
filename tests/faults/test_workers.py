"""A supervisor's workers are killed: it starts them again, and they share what is left."""

from __future__ import annotations

import random
import time

import psutil

from . import results
from .scale import SCALE
from .test_killed import producing
from .world import World


def test_a_worker_is_killed_every_few_seconds(world: World) -> None:
    """kill -9 of one of two workers, at random, while events come in; SIGTERM then ends both in order."""
    dice = random.Random(SCALE.seed)
    world.write_pipeline(group_instance_id="worker")
    supervisor = world.start("--workers", "2")
    world.until(lambda: len(workers(supervisor.process.pid)) == 2, 30, "two workers")
    kills = 0
    with producing(world, SCALE.killed_events, SCALE.killed_over_s) as producer:
        while producer.is_alive():
            time.sleep(dice.uniform(*SCALE.killed_every_s))
            running = workers(supervisor.process.pid)
            if running:  # after many deaths in a row the supervisor takes its time
                dice.choice(running).kill()
                kills += 1
    settled_s = world.until_settled()
    assert supervisor.stop() == 0, world.logs
    verdict = world.verdict()
    assert verdict.clean, f"{verdict}\n{world.logs}"
    low, high = SCALE.killed_every_s
    results.note(
        f"kill -9 of one of two workers every {low:g}–{high:g} s (`--workers 2`)",
        verdict,
        kills=kills,
        s_from_the_last_event_until_all_was_settled=round(settled_s),
    )


def workers(pid: int) -> list[psutil.Process]:
    """Give the workers of a supervisor."""
    return psutil.Process(pid).children()
