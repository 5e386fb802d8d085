"""Durations in buckets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from enricher.histogram import LATENCY_S, Histogram

NOW_S = 1_700_000_000.0


@given(
    st.lists(st.integers(-(10**13), 2 * 10**13) | st.integers(1_699_999_985_000, 1_700_000_001_000))
)
def test_many_at_once_count_as_each_alone(stamps: list[int]) -> None:
    """In any order; what lies ahead counts as now. A scrape must never see a sum that falls."""
    together, alone = Histogram(LATENCY_S), Histogram(LATENCY_S)
    together.observe_since(stamps, NOW_S)
    for stamp in stamps:
        alone.observe(max(0.0, (1000 * NOW_S - stamp) / 1000))
    assert together.buckets() == alone.buckets()
    assert abs(together.sum - alone.sum) <= 1e-6 * max(1.0, alone.sum)


def test_a_sample_counts_for_all() -> None:
    """As often as it is told to."""
    histogram, each = Histogram(LATENCY_S), Histogram(LATENCY_S)
    histogram.observe_since([1_699_999_999_000, 1_699_999_000_000], NOW_S, 8)
    each.observe_since([1_699_999_999_000, 1_699_999_000_000] * 8, NOW_S)
    assert histogram.buckets() == each.buckets()
    assert histogram.sum == each.sum


def test_a_value_on_a_bound_counts_below_it() -> None:
    histogram = Histogram(LATENCY_S)
    histogram.observe_since([1_699_999_999_995, 1_699_999_990_000, 1_699_999_989_999], NOW_S)
    counts = dict(histogram.buckets())
    assert (counts["0.005"], counts["5.0"], counts["10.0"], counts["+Inf"]) == (1, 1, 2, 3)
