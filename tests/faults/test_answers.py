"""Elasticsearch refuses, or what it says is lost on the way: every record is settled once all the same."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from enricher.generator import HostileRecord

from . import results
from .checker import Verdict
from .proxy import Fault, Proxy
from .scale import SCALE
from .world import World

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _small_deliveries(world: World) -> Iterator[None]:
    """Let there be many requests, so that shares of them mean something; see also `over_s`."""
    world.write_pipeline(max_records=100)
    yield


def through(world: World, proxy: Proxy, fault: Fault, lasts_s: float | None = None) -> Verdict:
    """Run the events through a fault, and end the daemon in order.

    Args:
        world: of the case.
        proxy: that fails.
        fault: from the start.
        lasts_s: seconds after which all is well again, while the producer goes on for that
            long; None: to the end, a thousand events a second.
    """
    proxy.fault = fault
    daemon = world.start()
    world.ledger.send(
        SCALE.answers_events, seed=SCALE.seed, over_s=lasts_s or SCALE.answers_events / 1000
    )
    if lasts_s is not None:
        proxy.fault = Fault()
    world.until_settled()
    assert daemon.stop() == 0, world.logs
    return world.verdict()


def test_a_bulk_that_is_applied_and_then_reset_is_there_once(world: World, proxy: Proxy) -> None:
    """20 % of the bulks are applied, then the connection is reset: the same ids come again."""
    verdict = through(world, proxy, Fault(reset=0.2))
    assert verdict.clean, verdict
    counts = proxy.traffic.counts
    assert proxy.counts["reset"] > 0
    assert counts["sent again after an unknown outcome"] > 0
    assert counts["sent again after acceptance"] == 0
    results.note(
        "20 % of bulks applied, then the connection reset",
        verdict,
        resets=proxy.counts["reset"],
        items_sent_again=counts["sent again after an unknown outcome"],
    )


def test_answers_cut_short_or_for_others_are_no_answers(world: World, proxy: Proxy) -> None:
    """Truncated and mismatched answers: the outcome is unknown, the same ids come again."""
    verdict = through(world, proxy, Fault(truncated=0.15, mismatched=0.15))
    assert verdict.clean, verdict
    assert proxy.counts["truncated"] > 0
    assert proxy.counts["mismatched"] > 0
    assert proxy.traffic.counts["sent again after acceptance"] == 0
    results.note(
        "15 % of answers truncated, 15 % mismatched",
        verdict,
        truncated=proxy.counts["truncated"],
        mismatched=proxy.counts["mismatched"],
    )


def test_of_a_half_refused_bulk_only_the_refused_items_come_again(
    world: World, proxy: Proxy
) -> None:
    """50 % of the items 429 or 503: an item that was accepted is never sent a second time."""
    verdict = through(world, proxy, Fault(items_refused=0.5), SCALE.refused_s)
    assert verdict.clean, verdict
    refused, items = proxy.counts["items refused"], proxy.traffic.counts["items"]
    assert refused > 0
    assert proxy.traffic.counts["sent again after acceptance"] == 0
    assert items == verdict.sent + refused
    results.note(
        f"50 % of items 429/503 for {SCALE.refused_s:g} s",
        verdict,
        items_refused=refused,
        items_sent_after_acceptance=proxy.traffic.counts["sent again after acceptance"],
    )


def test_a_refused_request_comes_again_as_a_whole(world: World, proxy: Proxy) -> None:
    """Half of the requests 429 or 503, and all of them slow: nothing is lost, nothing is there twice."""
    verdict = through(world, proxy, Fault(requests_refused=0.5, delay_s=0.05), SCALE.refused_s)
    assert verdict.clean, verdict
    refused = proxy.counts["answered 429"] + proxy.counts["answered 503"]
    assert refused > 0
    assert proxy.traffic.counts["sent again after acceptance"] == 0
    results.note(
        f"50 % of requests 429/503, all 50 ms late, for {SCALE.refused_s:g} s",
        verdict,
        requests_refused=refused,
    )


def test_what_fits_is_indexed_and_the_rest_is_a_dead_letter(world: World, proxy: Proxy) -> None:
    """413 above 1 MiB: requests are halved until they fit; a single document too large is a letter."""
    proxy.fault = Fault(max_bytes=MIB)
    world.write_pipeline(max_records=1000, max_bytes=4 * MIB)
    world.ledger.send(SCALE.answers_events, seed=SCALE.seed)
    large = [_large(number, 1000 * number) for number in range(0, 1000, 50)]
    too_large = [_large(number, MIB - 100) for number in range(5)]
    world.ledger.send_raw([*large, *too_large])
    daemon = world.start()
    world.until_settled()
    assert daemon.stop() == 0, world.logs
    verdict = world.verdict()
    assert verdict.clean, verdict
    assert proxy.counts["answered 413"] > 0
    assert verdict.dead_letters == len(too_large)
    assert {letter.headers["error"] for letter in world.letters()} == {"request_too_large"}
    results.note("413 above 1 MiB", verdict, answers_413=proxy.counts["answered 413"])


def _large(number: int, size: int) -> HostileRecord:
    timestamp = 1_760_900_000_000 + number
    value = b'{"service":"order-service","level":"INFO","note":"%s"}' % (b"x" * size)
    return HostileRecord("order-logs", None, value, timestamp, "large")


def test_while_the_key_is_refused_nothing_is_committed_or_given_up(
    world: World, proxy: Proxy
) -> None:
    """401 for a while: the pipeline waits, no offset moves, and goes on by itself."""
    daemon = world.start()
    world.ledger.send(SCALE.answers_events // 2, seed=SCALE.seed)
    world.until_settled()
    before = world.committed()
    proxy.fault = Fault(unauthorized=True)
    world.ledger.send(SCALE.answers_events // 2, seed=SCALE.seed + 1)
    time.sleep(SCALE.unauthorized_s)
    assert proxy.counts["answered 401"] > 0
    assert world.committed() == before
    assert daemon.is_running, world.logs
    proxy.fault = Fault()
    recovery_s = world.until_settled()
    assert daemon.stop() == 0, world.logs
    verdict = world.verdict()
    assert verdict.clean, verdict
    assert verdict.dead_letters == 0
    results.note(
        f"401 for {SCALE.unauthorized_s:g} s", verdict, s_until_all_was_settled=round(recovery_s)
    )
