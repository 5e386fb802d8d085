"""A daemon that sends is killed under load, and so is Redis: no output is lost, none counts twice."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

import orjson
from redis import Redis

from tests.integration.topic import each_once, read

from . import results
from .mutated import mutated
from .scale import SCALE
from .test_killed import BROKEN, producing
from .world import World

RISKY = 1
"""Points of the shipped score from which on something is sent: some of the events."""
EXPIRE_S = 3_600


class Sending:
    """The shipped pipeline with a message and a value for every risky payment."""

    def __init__(self, world: World, redis_url: str) -> None:
        self.world = world
        self.topic = f"risky-{world.group}"
        self.prefix = f"{world.group}:"
        self.redis: Any = Redis.from_url(redis_url)
        world.kafka.create_topics({self.topic: 4}, {"retention.ms": "-1"})
        body = {"payment": "{payment_id}", "score": "{fraud_risk_score}", "n": "{sequence}"}
        to_redis = {"key": self.prefix + "{sequence}", "expire_s": EXPIRE_S, "body": body}
        to_kafka = {"topic": self.topic, "key": "{payment_id}", "body": body}
        when = f"fraud_risk_score >= {RISKY}"
        pipeline = json.loads(world.pipeline.read_text())
        pipeline["outputs"] = [
            {"name": "risky", "when": when, "kafka": to_kafka},
            {"name": "flag", "when": when, "redis": to_redis},
        ]
        world.pipeline.write_text(json.dumps(pipeline))

    def check(self) -> dict[str, int]:
        """Hold what was sent to the documents: one message by its id and one value for each."""
        wanted = {}
        for _, identity, event in self.world.documents():
            if event.get("fraud_risk_score", 0) >= RISKY:
                names = {"payment": "payment_id", "score": "fraud_risk_score", "n": "sequence"}
                wanted[identity] = {name: event.get(field) for name, field in names.items()}
        assert wanted
        written = asyncio.run(read(self.world.kafka.bootstrap, self.topic))
        messages = list(each_once(written))
        assert len({one.id for one in messages}) == len(messages)
        assert {one.id: one.body for one in messages} == {
            f"{identity}/risky": body for identity, body in wanted.items()
        }
        assert all(one.key == one.body["payment"] for one in messages)
        # What is broken has no number of its own: the record's id is in the place of the field.
        self.check_values(
            {
                str(identity if body["n"] is None else body["n"]): body
                for identity, body in wanted.items()
            }
        )
        return {"outputs": len(wanted), "written_twice": len(written) - len(messages)}

    def check_values(self, wanted: dict[str, dict[str, Any]]) -> None:
        keys = [self.prefix + name for name in wanted]
        values = self.redis.mget(keys)
        assert [value and orjson.loads(value) for value in values] == list(wanted.values())
        assert sum(1 for _ in self.redis.scan_iter(f"{self.prefix}*")) == len(keys)
        assert all(0 < self.redis.ttl(key) <= EXPIRE_S for key in keys[:100])


def test_a_daemon_that_sends_is_killed_every_few_seconds(world: World, valkey: Any) -> None:
    """kill -9 of one of two daemons, at random, while events and broken records come in."""
    sending = Sending(world, valkey.url)
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
    world.until_settled()
    assert [daemon.stop() for daemon in running] == [0, 0], world.logs
    verdict = world.verdict()
    assert verdict.clean, f"{verdict}\n{world.logs}"
    low, high = SCALE.killed_every_s
    results.note(
        f"kill -9 every {low:g}–{high:g} s of one of two daemons that send to Kafka and Redis",
        verdict,
        kills=kills,
        **sending.check(),
    )


def test_redis_is_killed_while_values_are_set(world: World, valkey: Any) -> None:
    """Again and again: its outputs wait for it, and what was acknowledged is there."""
    sending = Sending(world, valkey.url)
    daemon = world.start()
    kills = 0
    with producing(world, SCALE.killed_events, SCALE.killed_over_s) as producer:
        while producer.is_alive():
            time.sleep(SCALE.killed_every_s[0])
            valkey.kill()
            time.sleep(1)
            valkey.start()
            kills += 1
    world.until_settled()
    assert daemon.stop() == 0, world.logs
    verdict = world.verdict()
    assert verdict.clean, f"{verdict}\n{world.logs}"
    results.note(
        f"Redis killed every {SCALE.killed_every_s[0] + 1:g} s while values are set",
        verdict,
        kills=kills,
        **sending.check(),
    )
