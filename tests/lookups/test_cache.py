"""What is kept of the answers, for how long, and in how much room."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from enricher.lookups.cache import Cache, Found
from enricher.model import Shared

SECONDS = 10
LIMIT = 100
KEYS = [f"u{number}" for number in range(8)]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 12)),
        st.tuples(st.just("add"), st.sampled_from(KEYS), st.integers(1, 60)),
        st.tuples(st.just("late"), st.sampled_from(KEYS), st.integers(1, 60)),
    ),
    max_size=60,
)


class Model:
    """The same, kept simply: every answer with its time, the oldest first."""

    def __init__(self) -> None:
        self.now = 0.0
        self.known: dict[str, tuple[float, Found, int]] = {}

    def add(self, key: str, found: Found, size: int) -> None:
        self.known.pop(key, None)
        self.known[key] = (self.now, found, size)
        while self.size > LIMIT:
            del self.known[next(iter(self.known))]

    @property
    def size(self) -> int:
        return sum(size for _, _, size in self.known.values())


@given(steps)
def test_against_a_model(made: list[tuple[Any, ...]]) -> None:
    """What is fresh is the last answer and no older than it may be; what is young enough is fresh;
    what is known is what there is room for, the newest."""
    model = Model()
    cache = Cache(SECONDS, LIMIT, lambda: model.now)
    for number, (what, *rest) in enumerate(made):
        if what == "wait":
            model.now += rest[0]
        else:
            key, size = rest
            found: Found = Shared({"n": number}) if number % 3 else None
            if what == "add":
                cache.fresh()
            cache.add(key, found, size)  # late: the answer came after a generation had ended
            model.add(key, found, size)
        assert cache.last(KEYS) == {key: one[1] for key, one in model.known.items()}
        assert cache.size == model.size <= LIMIT
        fresh = cache.fresh()
        assert fresh[None] is None
        for key in KEYS:
            at, found, _ = model.known.get(key, (float("-inf"), None, 0))
            if key in fresh:
                assert fresh[key] is found
                assert model.now - at < SECONDS
            else:
                assert model.now - at >= SECONDS / 2 or key not in model.known


def test_nothing_is_kept_where_nothing_may_be() -> None:
    """Not even for a store that is away."""
    cache = Cache(0, LIMIT)
    cache.add("a", Shared({"n": 1}), 1)
    assert cache.fresh() == {None: None}
    assert cache.last(["a"]) == {}


def test_an_answer_that_has_no_room_is_not_kept() -> None:
    cache = Cache(SECONDS, LIMIT)
    cache.add("a", Shared({"n": 1}), 10)
    cache.add("b", Shared({"n": 2}), LIMIT + 1)
    assert cache.last(["a", "b"]) == {}
    assert cache.size == 0
