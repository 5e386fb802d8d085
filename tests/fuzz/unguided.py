"""Inputs without a look at what they reach: mutated seeds, words and noise."""

from __future__ import annotations

import time

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.target import Target


@st.composite
def mutated(draw: st.DrawFn, target: Target) -> bytes:
    """A seed, or something that failed once, with pieces cut out and others put in."""
    data = draw(st.sampled_from([*target.seeds, *target.findings()]))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(data)))
        end = draw(st.integers(begin, min(len(data), begin + 20)))
        piece = draw(st.sampled_from(target.words) | st.binary(max_size=4))
        data = data[:begin] + piece + data[end:]
    return data


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Give inputs that are nearly right, put together of what right ones are made of, or noise."""
    words = st.lists(st.sampled_from(target.words), max_size=30).map(b"".join)
    return mutated(target) | words | st.binary(max_size=200)


def run(target: Target, examples: int) -> None:
    """Try so many inputs. Raises what the target raises, for the smallest input that does."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(inputs(target))
    def attempt(data: bytes) -> None:
        target.run(data)

    attempt()


def run_for(target: Target, seconds: float) -> int:
    """Try inputs for so long; gives how many."""
    end, count, some = time.monotonic() + seconds, 0, 200
    while time.monotonic() < end:
        run(target, some)
        count += some
    return count
