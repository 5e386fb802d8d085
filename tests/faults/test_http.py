"""Clients that POST and retry: nothing is lost and nothing is there twice, whatever happens."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from tests.servers.process import free_ports

from . import results
from .checker import Verdict, check
from .posting import ID_FIELD, Batch, Clients, batches
from .proxy import Fault, Proxy
from .scale import SCALE
from .world import World


def listen(world: World, **settings: Any) -> int:
    """Let the pipeline's source be this one; gives its port."""
    (port,) = free_ports(1)
    pipeline = json.loads(world.pipeline.read_text())
    own = {"listen": f"127.0.0.1:{port}", "id_field": ID_FIELD}
    pipeline["sources"] = [{"http": own | settings}]
    world.pipeline.write_text(json.dumps(pipeline))
    return port


def verdict_of(world: World, sent: list[Batch]) -> Verdict:
    entries = [entry for batch in sent for entry in batch.entries]
    return check(entries, world.documents(), world.letters())


def test_a_daemon_is_killed_while_clients_post(world: World) -> None:
    """kill -9 under load, again and again: who had no answer sends the same under the same ids."""
    port = listen(world)
    sent = list(batches(SCALE.http_events, SCALE.seed))
    daemon = world.start()
    with Clients(port, sent, SCALE.seed) as clients:
        for kill in range(1, SCALE.http_kills + 1):
            due = kill * len(sent) // (SCALE.http_kills + 1)
            world.until(partial(clients.have_settled, due), 120, f"{due} batches settled")
            assert daemon.is_running, world.logs
            daemon.kill()
            daemon = world.start()
        world.until(lambda: clients.are_done, 120, "all sent")
    assert clients.settled == len(sent), world.logs
    verdict = verdict_of(world, sent)
    assert verdict.clean, f"{verdict}\n{world.logs}"
    assert daemon.stop() == 0, world.logs
    assert clients.outcomes["none"] > 0, "nobody was without an answer"
    results.note(
        f"kill -9 of a daemon that clients POST to, {SCALE.http_kills} times",
        verdict,
        kills=SCALE.http_kills,
        requests_without_an_answer=clients.outcomes["none"],
    )


def test_a_storm_of_429(world: World, proxy: Proxy) -> None:
    """The sink is slow and there is room for little: who is told to come later loses nothing."""
    proxy.fault = Fault(delay_s=0.05)
    port = listen(world, max_held_bytes=200_000)
    sent = list(batches(SCALE.http_events, SCALE.seed + 1))
    daemon = world.start()
    with Clients(port, sent, SCALE.seed) as clients:
        world.until(lambda: clients.are_done, 600, "all sent")
    assert clients.settled == len(sent), world.logs
    verdict = verdict_of(world, sent)
    assert verdict.clean, f"{verdict}\n{world.logs}"
    assert daemon.stop() == 0, world.logs
    assert clients.outcomes["429"] > len(sent) // 4, clients.outcomes
    results.note(
        "a storm of 429: room for 200,000 bytes, eight clients, a slow Elasticsearch",
        verdict,
        answers_429=clients.outcomes["429"],
        answers_200=clients.outcomes["200"],
    )
