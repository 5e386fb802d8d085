"""Files of the past: read in order, with their own times, and what labels name in them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest

from enricher.backtest.history import History
from enricher.backtest.labels import Labels, read_labels
from enricher.backtest.order import Entry
from enricher.build import build
from enricher.model import UserError

from .histories import config_of, payment, write

DAY_MS = 1_760_918_400_000
"""2025-10-20T00:00:00Z."""


def entries_of(files: list[Path], limit: int | None = None) -> tuple[list[Entry], History]:
    config = config_of()
    history = History([str(file) for file in files], label_field="id")
    batches = history.batches(config, build(config), limit)
    return [entry for batch in batches for entry in batch], history


def test_order_places_and_own_times(tmp_path: Path) -> None:
    """A record's timestamp is its event's, its position its number as read; its id is that of the file."""
    events = [payment(n) for n in (3, 1, 2, 400, 0)]
    entries, history = entries_of([write(tmp_path / "a.ndjson", events)])
    assert [entry.label for entry in entries] == ["p0", "p1", "p2", "p3", "p400"]
    assert [entry.record.timestamp for entry in entries] == [
        DAY_MS + 1_000 * second for second in (0, 1, 2, 3, 400)
    ]
    assert [entry.record.position for entry in entries] == [4, 1, 2, 0, 3]
    assert len({entry.record.id for entry in entries}) == 5
    assert entries[0].record.id.rpartition("-")[2] == str(
        sum(len(orjson.dumps(e)) + 1 for e in events[:4])
    )
    assert history.late == 0


def test_files_are_merged_and_may_be_compressed(tmp_path: Path) -> None:
    even = write(tmp_path / "even", [payment(n) for n in range(0, 40, 2)])
    odd = tmp_path / "odd.gz"
    odd.write_bytes(
        gzip.compress(write(tmp_path / "o", [payment(n) for n in range(1, 40, 2)]).read_bytes())
    )
    entries, _ = entries_of([even, odd])
    assert [entry.label for entry in entries] == [f"p{n}" for n in range(40)]
    assert sorted(entry.record.position for entry in entries) == [*range(40)]
    lines = [payment(3), b"no JSON", payment(39)]
    merged, _ = entries_of([even, write(tmp_path / "odd", lines)])
    assert [entry.label for entry in merged][1:6] == ["p2", "p3", None, "p4", "p6"]
    limited, _ = entries_of([even, odd], limit=7)
    assert [entry.label for entry in limited] == [f"p{n}" for n in range(7)]


def test_what_has_no_time_stays_beside_its_neighbours(tmp_path: Path) -> None:
    """No JSON, no time, a bad one: the time of the record before; none where there is none yet."""
    lines = [
        b"no JSON",
        payment(5),
        b"{",
        payment(6, timestamp=None),
        payment(7, timestamp="x"),
        payment(8),
    ]
    entries, _ = entries_of([write(tmp_path / "f", lines)])
    times = [entry.record.timestamp for entry in entries]
    assert times == [None, *[DAY_MS + 5_000] * 4, DAY_MS + 8_000]
    assert [entry.label for entry in entries] == [None, "p5", None, "p6", "p7", "p8"]


def test_a_label_names_a_text_or_a_number(tmp_path: Path) -> None:
    """Whatever else an event puts there names nothing: not even `true`, which Python takes for 1."""
    values: list[Any] = [1, "1", True, None, [1], {}, 1.5]
    lines = [payment(n, id=value) for n, value in enumerate(values)]
    entries, _ = entries_of([write(tmp_path / "f", lines)])
    assert [entry.label for entry in entries] == [1, "1", None, None, None, None, None]


def test_labels_are_read(tmp_path: Path) -> None:
    """By the first field of the first; a line that says it was none says nothing."""
    lines = [
        {"fraud": True, "payment_id": "a", "episode": "burst"},
        {"payment_id": "b", "fraud": False},
        {"payment_id": 7},
    ]
    file = write(tmp_path / "labels", lines)
    assert read_labels(file) == Labels("payment_id", frozenset({"a", 7}))
    assert read_labels(write(file, [{"a": 1, "b": 2}]), "b") == Labels("b", frozenset({2}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "there are no labels"),
        (b"{", ':1: write {"payment_id"'),
        (b'{"id": "a"}\n\n{"other": "b"}', ':3: write {"id"'),
        (b'{"id": ["a"]}', ':1: write {"id"'),
        (b"[1]", ':1: write {"payment_id"'),
        (b'{"fraud": true}', ':1: write {"payment_id"'),
    ],
)
def test_a_bad_label_is_told(tmp_path: Path, text: bytes, message: str) -> None:
    file = tmp_path / "labels"
    file.write_bytes(text)
    with pytest.raises(UserError, match=message.replace("{", r"\{")):
        read_labels(file)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_labels(tmp_path / "none")
