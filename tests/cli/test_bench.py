"""`enricher bench`: what a pipeline costs, as a ratio to the codec's."""

from __future__ import annotations

from pathlib import Path

from .program import TINY, TINY_EVENTS, enricher_each


def test_bench(tmp_path: Path) -> None:
    """A table for people, JSON for programs, and a word where there is nothing to measure."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "events").write_bytes(TINY_EVENTS * 200)
    (tmp_path / "empty").write_bytes(b"\n\n")
    table, data, empty = enricher_each(
        (
            ("bench", "tiny.yaml", "events"),
            ("bench", "tiny.yaml", "events", "--format", "json"),
            ("bench", "tiny.yaml", "empty"),
        ),
        folder=tmp_path,
    )
    assert (table.code, table.err) == (0, "")
    assert table.out.startswith("1,400 events; codec floor ")
    (result,) = data.lines
    assert list(result) == ["events", "floor_us", "ratio", "event_us", "by_stage"]
    assert list(result["by_stage"]) == ["json", "convert", "strict", "drop", "routes"]
    assert result["ratio"] > 1
    assert min(result["by_stage"].values()) > 0
    for name in result["by_stage"]:
        assert f"  {name} " in table.out
    assert (empty.code, empty.out) == (2, "")
    assert empty.err == "empty: there are no records to measure\n"
