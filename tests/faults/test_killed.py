"""Daemons and servers are killed under load, and come back."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from . import results
from .mutated import mutated
from .scale import SCALE
from .world import World

BROKEN = 50
"""Records at a time that mostly end in the dead letters, where they are to be there once, too."""
FULL = 10_000
"""Events that a daemon has in flight at most, with its default budget."""


@contextmanager
def producing(
    world: World, count: int, over_s: float, fraud: float | None = None
) -> Iterator[threading.Thread]:
    """Let the producer send meanwhile; at the end all is sent."""
    wanted = len(world.ledger) + count
    settings = {"seed": SCALE.seed, "over_s": over_s, "fraud": fraud}
    thread = threading.Thread(target=world.ledger.send, args=(count,), kwargs=settings)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()
    assert len(world.ledger) >= wanted, "the producer failed"


def test_a_daemon_is_killed_every_few_seconds(world: World) -> None:
    """kill -9 of one of two daemons, at random, while events and broken records come in."""
    dice = random.Random(SCALE.seed)
    running = [world.start(), world.start()]
    kills = 0
    with producing(world, SCALE.killed_events, SCALE.killed_over_s) as producer:
        while producer.is_alive():
            time.sleep(dice.uniform(*SCALE.killed_every_s))
            world.ledger.send_raw(mutated(BROKEN, SCALE.seed + kills))
            at = dice.randrange(2)
            assert running[at].is_running, world.logs
            running[at].kill()
            running[at] = world.start()
            kills += 1
    settled_s = world.until_settled()
    assert [daemon.stop() for daemon in running] == [0, 0], world.logs
    verdict = world.verdict()
    assert verdict.clean, f"{verdict}\n{world.logs}"
    low, high = SCALE.killed_every_s
    results.note(
        f"kill -9 of one of two daemons every {low:g}–{high:g} s",
        verdict,
        kills=kills,
        s_from_the_last_event_until_all_was_settled=round(settled_s),
    )


def test_the_broker_is_killed_and_restarted(world: World) -> None:
    """The daemon waits for the broker, and goes on within half a minute."""
    daemon = world.start()
    part = SCALE.broker_events // (SCALE.broker_kills + 1)
    world.ledger.send(part, seed=SCALE.seed)
    longest_s = 0.0
    for kill in range(SCALE.broker_kills):
        world.until_indexed((kill + 1) * part // 2)  # it dies at work
        world.kafka.kill()
        time.sleep(3)
        world.kafka.start()
        begin = time.monotonic()
        world.ledger.send_raw(mutated(BROKEN, SCALE.seed + kill))
        world.ledger.send(part, seed=SCALE.seed + 1 + kill)
        world.until_progress()
        longest_s = max(longest_s, time.monotonic() - begin)
    world.until_settled()
    assert daemon.stop() == 0, world.logs
    verdict = world.verdict()
    assert verdict.clean, f"{verdict}\n{world.logs}"
    assert longest_s <= SCALE.recovery_s
    results.note(
        f"broker killed and restarted {SCALE.broker_kills} times",
        verdict,
        kills=SCALE.broker_kills,
        s_until_it_committed_again=round(longest_s, 1),
    )


def test_elasticsearch_is_killed_and_restarted(world: World) -> None:
    """What was under way comes again under the same ids; nothing is committed meanwhile."""
    daemon = world.start()
    part = SCALE.broker_events // (SCALE.restarts + 1)
    world.ledger.send(part, seed=SCALE.seed)
    longest_s = 0.0
    for kill in range(SCALE.restarts):
        world.until_indexed(int((kill + 0.5) * part))
        world.elasticsearch.kill()
        world.ledger.send_raw(mutated(BROKEN, SCALE.seed + kill))
        world.ledger.send(part, seed=SCALE.seed + 1 + kill)
        time.sleep(2)
        world.elasticsearch.start()
        begin = time.monotonic()
        world.until_progress()
        longest_s = max(longest_s, time.monotonic() - begin)
    world.until_settled()
    assert daemon.stop() == 0, world.logs
    verdict = world.verdict()
    assert verdict.clean, f"{verdict}\n{world.logs}"
    results.note(
        f"Elasticsearch killed and restarted {SCALE.restarts} times",
        verdict,
        kills=SCALE.restarts,
        s_until_it_committed_again=round(longest_s, 1),
    )


def test_it_is_told_to_end_at_full_load(world: World) -> None:
    """SIGTERM, again and again: each time it exits with 0 within its deadline, and all it read is settled."""
    longest_s = 0.0
    world.ledger.send(2 * FULL, seed=SCALE.seed)  # more than it can have in flight, and as much
    for turn in range(SCALE.terms):
        world.ledger.send(SCALE.term_events, seed=SCALE.seed + turn)
        daemon = world.start("--drain-s", "20")
        world.until_more()
        begin = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert daemon.process.wait(25) == 0, world.logs
        longest_s = max(longest_s, time.monotonic() - begin)
        # What it indexed is committed: nothing is left to be repeated.
        assert len(world.ledger) - world.lag() == world.indexed()
    assert world.lag() > 0, "it was not at full load"
    daemon = world.start()
    world.until_settled()
    assert daemon.stop() == 0, world.logs
    verdict = world.verdict()
    assert verdict.clean, f"{verdict}\n{world.logs}"
    results.note(
        f"SIGTERM at full load, {SCALE.terms} times", verdict, s_to_exit_at_most=round(longest_s, 1)
    )
