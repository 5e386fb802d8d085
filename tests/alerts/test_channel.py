"""A channel tells each fingerprint once, in few digests, and its counts always add up."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enricher.alerts import channel as channels
from enricher.alerts.alert import Alert
from enricher.alerts.channel import Channel, Rules
from enricher.alerts.counts import Counts
from enricher.alerts.digest import MOST_SHOWN, Digest
from tests.alerts.recorder import hit

RULES = Rules(repeat_after_s=600, group_wait_s=10, group_interval_s=60, max_per_hour=5, ttl_s=100)


class Clock:
    """Gives the seconds that a test wants."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A channel whose clock stands still until it is moved."""

    def __init__(self, rules: Rules = RULES, *, shared: bool = False) -> None:
        self.clock = Clock()
        self.counts = Counts()
        self.channel = Channel("Fraud", rules, self.counts, shared=shared, clock=self.clock)

    def take(self, count: int, fingerprint: str = "") -> None:
        for number in range(count):
            name = fingerprint or f"{self.counts.matched}"
            self.channel.take(name.encode(), hit(number, at=self.clock.now))

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    def sent(self) -> Digest | None:
        """Send what is due."""
        digest = self.channel.depart()
        if digest:
            self.channel.arrived()
        return digest


def test_matches_of_a_while_are_one_digest() -> None:
    """The first one waits for the others; ten are shown, all are counted."""
    bench = Bench()
    bench.take(1)
    bench.pass_time(9.9)
    assert bench.sent() is None
    bench.take(951)
    bench.pass_time(0.1)
    digest = bench.sent()
    assert digest is not None
    assert (digest.count, len(digest.shown), digest.unseen) == (952, MOST_SHOWN, 942)
    assert [one.event["n"] for one in digest.shown] == [0, *range(9)]
    assert (digest.first_at, digest.last_at) == (1000.0, 1009.9)
    assert bench.counts == Counts(matched=952, told=952, messages=1)


def test_what_comes_within_the_interval_is_in_the_next_digest() -> None:
    bench = Bench()
    bench.take(1)
    bench.pass_time(10)
    assert bench.sent()
    bench.take(3)
    bench.pass_time(59)
    assert bench.sent() is None
    bench.take(2)
    bench.pass_time(1)
    digest = bench.sent()
    assert digest is not None
    assert digest.count == 5


def test_ten_thousand_in_a_minute_are_two_messages() -> None:
    """By the defaults of a pipeline file; none is missing from the counts."""
    alert = Alert(name="Fraud", when="true", summary="s")
    bench = Bench(Rules(**{name: getattr(alert, name) for name in Rules._fields}))
    sent = []
    for second in range(15 * 60):
        if second < 60:
            bench.take(167 if second < 40 else 166)
        bench.pass_time(1)
        digest = bench.sent()
        if digest:
            sent.append(digest.count)
    assert sum(sent) == bench.counts.matched == 10_000
    assert len(sent) == 2


def test_no_more_messages_an_hour_than_allowed() -> None:
    """What is over stays in the digest; a place is free an hour after the oldest message."""
    bench = Bench()
    sent = []
    for _ in range(2 * 60):  # a match a minute, for two hours
        bench.take(1)
        bench.pass_time(60)
        digest = bench.sent()
        if digest:
            sent.append((bench.clock.now, digest.count))
    assert len(sent) == 2 * RULES.max_per_hour
    assert sent[5][0] - sent[0][0] >= 3600
    assert sum(count for _, count in sent) + bench.channel.waiting == 120


def test_a_fingerprint_is_told_once_in_a_while() -> None:
    bench = Bench()
    bench.take(3, "user 1")
    bench.pass_time(10)
    digest = bench.sent()
    assert digest is not None
    assert digest.count == 1
    bench.pass_time(599)
    bench.take(1, "user 1")
    assert bench.channel.waiting == 0
    bench.pass_time(1)
    bench.take(1, "user 1")
    assert bench.channel.waiting == 1
    assert bench.counts.suppressed == 3


def test_what_was_dropped_was_not_told() -> None:
    """Its fingerprints are told when they come again."""
    bench = Bench()
    bench.take(2, "user 1")
    bench.pass_time(10)
    assert bench.channel.depart()
    assert bench.channel.gave_up("expired") == 1
    bench.take(1, "user 1")
    assert bench.channel.waiting == 1
    assert (bench.counts.suppressed, bench.counts.dropped) == (1, {"expired": 1})


def test_what_was_dropped_was_not_told_however_many_there_were() -> None:
    """Of more matches than are known at a time, none counts as one that waits for ever."""
    bench = Bench()
    bench.take(channels.MOST_KNOWN + 1)
    bench.pass_time(10)
    assert bench.channel.depart()
    bench.channel.gave_up("expired")
    bench.take(1, fingerprint=f"{channels.MOST_KNOWN}")
    assert (bench.counts.suppressed, bench.channel.waiting) == (0, 1)


def test_only_one_digest_is_under_way() -> None:
    """While a server hangs, all that comes is one more digest: memory does not grow."""
    bench = Bench()
    bench.take(1)
    bench.pass_time(10)
    assert bench.channel.depart()
    bench.take(100_000)
    bench.pass_time(10_000)
    assert bench.channel.depart() is None
    assert bench.channel.due_in_s() is None
    assert bench.channel.waiting == 100_001
    assert len(bench.channel._known) <= channels.MOST_KNOWN
    gathered = bench.channel._waiting
    assert gathered is not None
    assert (len(gathered.shown), len(gathered.fingerprints)) == (MOST_SHOWN, channels.MOST_KNOWN)


def test_what_others_told_is_not_told_again() -> None:
    """Matches count only once they are looked up; where too many wait, they count at once."""
    bench = Bench(shared=True)
    bench.take(3)
    assert bench.channel.due_at() is None
    bench.channel.checked(2, {b"0"})
    assert bench.counts.suppressed == 1
    assert bench.channel.waiting == 2
    bench.take(channels.MOST_UNCHECKED)
    assert len(bench.channel.unchecked) == channels.MOST_UNCHECKED
    assert bench.channel.waiting == channels.MOST_UNCHECKED + 2


def test_what_waits_to_be_looked_up_is_bounded_by_its_bytes() -> None:
    """What is shown in the end is whole; of what was too much, the summary alone is there."""
    bench = Bench(shared=True)
    text = "x" * (channels.MOST_BYTES // 3)
    for number in range(5):
        bench.channel.take(b"%d" % number, hit(number, text=text))
    assert sum(len(one.hit.body) for one in bench.channel.unchecked) <= channels.MOST_BYTES
    bench.channel.checked(5, {b"0"})
    bench.pass_time(10)
    digest = bench.sent()
    assert digest is not None
    assert ["text" in one.event for one in digest.shown] == [True, False, False, False]
    assert [one.summary for one in digest.shown] == [f"risk {n}" for n in range(1, 5)]
    for number in range(5, 7):
        bench.channel.take(b"%d" % number, hit(number, text=text))
    assert all(len(one.hit.body) > 1000 for one in bench.channel.unchecked)


def test_what_is_left_at_the_end_is_counted() -> None:
    bench = Bench(shared=True)
    bench.take(2)
    bench.channel.checked(1, ())
    bench.pass_time(10)
    assert bench.channel.depart()
    bench.take(3)
    assert bench.channel.abandon("stopped") == 5
    assert bench.counts.dropped == {"stopped": 5}
    assert bench.channel.waiting == 0


class Model(RuleBasedStateMachine):
    """A channel beside an account of what it may do, written down in another way."""

    @initialize(
        wait=strategies.integers(0, 20),
        interval=strategies.integers(0, 90),
        hourly=strategies.integers(1, 4),
        repeat=strategies.integers(1, 400),
        shared=strategies.booleans(),
    )
    def begin(self, wait: int, interval: int, hourly: int, repeat: int, shared: bool) -> None:
        self.terms = Rules(repeat, wait, interval, hourly, 1e9)
        self.clock = Clock()
        self.counts = Counts()
        self.channel = Channel("Fraud", self.terms, self.counts, shared=shared, clock=self.clock)
        self.shared = shared
        self.pending: set[bytes] = set()
        self.unchecked: deque[bytes] = deque()
        self.leaving: set[bytes] = set()
        self.departed: Digest | None = None
        self.told_at: dict[bytes, float] = {}
        self.ended_at = -1e9
        self.sent: list[tuple[float, int]] = []
        self.suppressed = self.matched = self.dropped = 0

    @rule(user=strategies.integers(0, 8), times=strategies.integers(1, 3))
    def take(self, user: int, times: int) -> None:
        name = b"%d" % user
        for _ in range(times):
            self.matched += 1
            told = self.clock.now - self.told_at.get(name, -1e9) < self.terms.repeat_after_s
            if told or name in self.pending | self.leaving | {*self.unchecked}:
                self.suppressed += 1
            elif self.shared:
                self.unchecked.append(name)
            else:
                self.pending.add(name)
            self.channel.take(name, hit(user, at=self.clock.now))

    @rule(seconds=strategies.sampled_from((0.5, 5, 30, 100, 1000, 3600)))
    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: self.unchecked)
    @rule(data=strategies.data())
    def look_up(self, data: Any) -> None:
        count = data.draw(strategies.integers(0, len(self.unchecked)))
        told = data.draw(strategies.sets(strategies.sampled_from(list(self.unchecked))))
        for _ in range(count):
            name = self.unchecked.popleft()
            if name in told:
                self.suppressed += 1
            else:
                self.pending.add(name)
        self.channel.checked(count, told)

    @precondition(lambda self: self.departed is None)
    @rule()
    def depart(self) -> None:
        digest = self.channel.depart()
        hour = [at for at, _ in self.sent if self.clock.now - at < 3600]
        allowed = (
            self.clock.now - self.ended_at >= self.terms.group_interval_s
            and len(hour) < self.terms.max_per_hour
        )
        if digest is None:
            return
        assert allowed
        assert digest.count == len(self.pending)
        assert 1 <= len(digest.shown) <= MOST_SHOWN
        assert digest.first_at <= digest.last_at <= self.clock.now
        assert self.clock.now - digest.first_at >= self.terms.group_wait_s
        self.departed, self.leaving, self.pending = digest, self.pending, set()

    @precondition(lambda self: self.departed is not None)
    @rule(took=strategies.booleans())
    def end(self, took: bool) -> None:
        assert self.departed is not None
        if took:
            assert set(self.channel.arrived()) == self.leaving
            self.sent.append((self.clock.now, self.departed.count))
            self.told_at |= dict.fromkeys(self.leaving, self.clock.now)
        else:
            assert self.channel.gave_up("refused") == self.departed.count
            self.dropped += self.departed.count
        self.ended_at, self.departed, self.leaving = self.clock.now, None, set()

    @precondition(lambda self: self.pending and self.departed is None)
    @rule()
    def what_waits_departs_in_the_end(self) -> None:
        due = self.channel.due_in_s()
        assert due is not None
        assert due <= 3600 + self.terms.group_wait_s + self.terms.group_interval_s
        self.clock.now += due
        self.depart()
        assert self.departed is not None

    @invariant()
    def adds_up(self) -> None:
        if not hasattr(self, "counts"):
            return
        counts = self.counts
        told = sum(count for _, count in self.sent)
        waiting = len(self.pending) + len(self.leaving) + len(self.unchecked)
        assert (counts.matched, counts.told, counts.messages) == (
            self.matched,
            told,
            len(self.sent),
        )
        assert (counts.suppressed, counts.dropped.total()) == (self.suppressed, self.dropped)
        assert self.channel.waiting == waiting == counts.waiting


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # of the machine, when it is busy
)
