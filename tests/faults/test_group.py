"""The consumer group is rebalanced again and again: no offset passes a record that is not settled."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer

from . import results
from .scale import SCALE
from .test_killed import producing
from .world import World


def test_a_member_joins_and_leaves_again_and_again(world: World) -> None:
    """A consumer takes half of the partitions and gives them back, under load.

    While it holds them nobody commits for them; and whenever one looks, each record below a
    committed offset is in an index or among the dead letters.
    """
    daemon = world.start()
    over_s = SCALE.rebalances * (SCALE.rebalance_every_s + 2)
    joined = observations = 0
    with producing(world, SCALE.rebalance_events, over_s) as producer:
        while producer.is_alive():
            asyncio.run(_join_and_leave(world))
            joined += 1
            observations += _observe(world)
    world.until_settled()
    _observe(world)
    assert daemon.stop() == 0, world.logs
    verdict = world.verdict()
    assert verdict.clean, f"{verdict}\n{world.logs}"
    assert joined >= SCALE.rebalances / 2
    assert observations > 0
    results.note(
        f"a member joins and leaves, every {SCALE.rebalance_every_s:g} s",
        verdict,
        rebalances=2 * joined,
        records_seen_below_a_committed_offset=observations,
    )


async def _join_and_leave(world: World) -> None:
    intruder = AIOKafkaConsumer(
        *world.topics,
        bootstrap_servers=world.kafka.bootstrap,
        group_id=world.group,
        enable_auto_commit=False,
        session_timeout_ms=6_000,
        heartbeat_interval_ms=500,
    )
    try:
        await intruder.start()
        async with asyncio.timeout(60):
            while not intruder.assignment():
                await asyncio.sleep(0.05)
        held = intruder.assignment()
        begin = {tp: await intruder.committed(tp) for tp in held}
        await asyncio.sleep(SCALE.rebalance_every_s / 2)
        if intruder.assignment() == held:
            assert {tp: await intruder.committed(tp) for tp in held} == begin
    finally:
        await intruder.stop()
    await asyncio.sleep(SCALE.rebalance_every_s / 2)


def _observe(world: World) -> int:
    """Hold what is committed against what is there; give how many records were looked at."""
    committed = world.committed()  # first: what is settled can only grow
    there = {found.id for found in world.documents()} | {letter.id for letter in world.letters()}
    entries = list(world.ledger.entries)
    below = [e.id for e in entries if e.offset < committed.get((e.topic, e.partition), 0)]
    early = [identity for identity in below if identity not in there]
    assert not early, f"committed and not settled: {early[:5]}\n{world.logs}"
    return len(below)
