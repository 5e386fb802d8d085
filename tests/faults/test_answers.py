"""Elasticsearch refuses, or what it says is lost on the way: every record is settled once all the same."""

from __future__ import annotations

from . import results
from .checker import Verdict
from .proxy import Fault, Proxy
from .scale import SCALE
from .world import World


def through(world: World, proxy: Proxy, fault: Fault) -> Verdict:
    """Run the events through a fault that lasts, and end the daemon in order."""
    proxy.fault = fault
    world.ledger.send(SCALE.answers_events, seed=SCALE.seed)
    daemon = world.start()
    world.until_settled()
    assert daemon.stop() == 0, world.logs
    return world.verdict()


def test_a_bulk_that_is_applied_and_then_reset_is_there_once(world: World, proxy: Proxy) -> None:
    """20 % of the bulks are applied, then the connection is reset: the same ids come again."""
    verdict = through(world, proxy, Fault(reset=0.2))
    assert verdict.clean, verdict
    assert proxy.counts["reset"] > 0
    again = proxy.traffic.counts["sent again after an unknown outcome"]
    assert again > 0
    assert proxy.traffic.counts["sent again after acceptance"] == 0
    results.note(
        "20 % of bulks applied, then reset", verdict, resets=proxy.counts["reset"], items_sent_again=again
    )
