"""Elasticsearch stands still while ten times the usual comes in: memory stays within the budget."""

from __future__ import annotations

import threading
import time
from typing import Self

from . import results
from .daemon import Daemon
from .proxy import Fault, Proxy
from .scale import SCALE
from .world import World

BUDGET = 64 << 20
"""The default."""
WARM_S = 5


class Gauge:
    """Samples a daemon's resident memory, and keeps the most."""

    def __init__(self, daemon: Daemon) -> None:
        self.peak = 0
        self._daemon = daemon
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(0.1) and self._daemon.is_running:
            self.peak = max(self.peak, self._daemon.resident_bytes())


def test_memory_is_bounded_while_elasticsearch_is_stalled(world: World, proxy: Proxy) -> None:
    """Then, and when all of it is sent at full speed: the usual, the budget and a quarter of it."""
    daemon = world.start("--budget-mib", str(BUDGET >> 20))
    usual = SCALE.burst_events / SCALE.stalled_s / 10
    world.ledger.send(int(usual * WARM_S), seed=SCALE.seed, over_s=WARM_S)
    world.until_settled()
    idle = daemon.resident_bytes()
    with Gauge(daemon) as gauge:
        proxy.fault = Fault(stalled=True)
        begin = time.monotonic()
        world.ledger.send(SCALE.burst_events, seed=SCALE.seed + 1, over_s=SCALE.stalled_s / 2)
        time.sleep(max(0, begin + SCALE.stalled_s - time.monotonic()))
        assert proxy.counts["stalled"] > 0
        stalled = gauge.peak
        proxy.fault = Fault()
        settled_s = world.until_settled(300)
    assert daemon.stop() == 0, world.logs
    verdict = world.verdict()
    assert verdict.clean, f"{verdict}\n{world.logs}"
    shown = f"{idle >> 20} MiB idle, {stalled >> 20} stalled, {gauge.peak >> 20} afterwards"
    assert gauge.peak <= idle + 1.25 * BUDGET, shown
    results.note(
        f"Elasticsearch stalled for {SCALE.stalled_s:g} s under a tenfold burst",
        verdict,
        MiB_budget=BUDGET >> 20,
        MiB_resident_idle=idle >> 20,
        MiB_while_stalled=stalled >> 20,
        MiB_afterwards=gauge.peak >> 20,
        s_until_all_was_settled=round(settled_s),
    )
