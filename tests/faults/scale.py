"""How much of each case: a quick form for `make test`, a long one for `make faults`.

ENRICHER_FAULTS=long chooses the long one, with the figures of the table in docs/delivery.md.
"""

import os
from typing import NamedTuple


class Scale(NamedTuple):
    """The figures of all cases."""

    name: str
    seed: int
    killed_events: int
    killed_over_s: float
    """The producer takes that long; a daemon is killed every few seconds meanwhile."""
    killed_every_s: tuple[float, float]
    broker_events: int
    broker_kills: int
    recovery_s: float
    """How long after the broker is back the first new document may take."""
    rebalance_events: int
    rebalances: int
    rebalance_every_s: float
    answers_events: int
    """Of each case of spoiled or refused answers."""
    refused_s: float
    unauthorized_s: float
    restarts: int
    """Of Elasticsearch, by kill -9."""
    stalled_s: float
    burst_events: int
    """Sent at once while Elasticsearch is stalled."""
    terms: int
    """SIGTERMs at full load."""
    term_events: int
    """Between two of them."""
    reloads: int
    reload_events: int
    """For each of them."""
    redis_events: int
    """Sent before the daemon starts: enough for both of the next two."""
    redis_up_s: float
    redis_down_s: float
    swaps: int
    """Of the GeoIP file, each after it was damaged."""
    swap_events: int
    """A second, meanwhile."""
    redis_timeout_ms: int
    """The default in the long form; more where many tests share a machine."""
    mutated: int
    control_events: int
    black_hole_s: float
    """How long nobody who is told of alerts answers."""
    black_hole_events: int
    cost_rounds: int
    """Pairs of runs, with a black hole and without."""
    cost_events: int
    """Of each run."""
    beats_batches: int
    """Of a hundred events."""
    beats_kills: int
    http_events: int
    """Of each case in which clients POST."""
    http_kills: int
    file_lines: int
    """Of each way of rotating."""
    file_kills: int
    fraud_events: int
    fraud_over_s: float
    fraud_killed_every_s: float


QUICK = Scale(
    name="quick",
    seed=20251021,
    killed_events=12_000,
    killed_over_s=12,
    killed_every_s=(2, 4),
    broker_events=6_000,
    broker_kills=1,
    recovery_s=30,
    rebalance_events=6_000,
    rebalances=2,
    rebalance_every_s=3,
    answers_events=4_000,
    refused_s=4,
    unauthorized_s=3,
    restarts=1,
    stalled_s=8,
    burst_events=40_000,
    terms=3,
    term_events=4_000,
    reloads=3,
    reload_events=1_500,
    redis_events=60_000,
    redis_up_s=2,
    redis_down_s=3,
    swaps=6,
    swap_events=500,
    redis_timeout_ms=250,
    mutated=1_000,
    control_events=4_000,
    black_hole_s=5,
    black_hole_events=6_000,
    cost_rounds=1,
    cost_events=10_000,
    beats_batches=200,
    beats_kills=2,
    http_events=6_000,
    http_kills=2,
    file_lines=20_000,
    file_kills=5,
    fraud_events=6_000,
    fraud_over_s=12,
    fraud_killed_every_s=4,
)

LONG = Scale(
    name="long",
    seed=20251021,
    killed_events=200_000,
    killed_over_s=150,
    killed_every_s=(3, 9),
    broker_events=60_000,
    broker_kills=3,
    recovery_s=30,
    rebalance_events=60_000,
    rebalances=10,
    rebalance_every_s=3,
    answers_events=50_000,
    refused_s=60,
    unauthorized_s=20,
    restarts=3,
    stalled_s=60,
    burst_events=300_000,
    terms=30,
    term_events=8_000,
    reloads=20,
    reload_events=3_000,
    redis_events=1_200_000,
    redis_up_s=20,
    redis_down_s=60,
    swaps=100,
    swap_events=500,
    redis_timeout_ms=50,
    mutated=10_000,
    control_events=10_000,
    black_hole_s=150,
    black_hole_events=150_000,
    cost_rounds=8,
    cost_events=300_000,
    beats_batches=1_000,
    beats_kills=5,
    http_events=100_000,
    http_kills=15,
    file_lines=500_000,
    file_kills=20,
    fraud_events=200_000,
    fraud_over_s=150,
    fraud_killed_every_s=10,
)

SCALE = LONG if os.environ.get("ENRICHER_FAULTS") == "long" else QUICK
