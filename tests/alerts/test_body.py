"""Files of bodies: a part for each match between two marks; mistakes are told with their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from enricher.alerts.body import MOST_CHARACTERS, read_body
from enricher.alerts.text import HTML, PLAIN
from enricher.model import ConfigError

from .digests import digest

TEXT = """\
{$count} of {$alert}, first {user}
{$each}
- {user}: {{₹{amount}}}, {$at}
{$end}
{$more}
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "a.txt"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_part_between_the_marks_is_written_for_each_match(tmp_path: Path) -> None:
    """Outside of it, a field is one of the first match."""
    body = read_body(write(tmp_path, TEXT), PLAIN, "p")
    events = [{"user": f"u{number}", "amount": number} for number in range(12)]
    lines = body(digest(*events)).splitlines()
    assert lines[0] == "12 of HighRiskTransaction, first u0"
    assert lines[1] == "- u0: {₹0}, 2025-10-20 22:40:00 UTC"
    assert lines[10] == "- u9: {₹9}, 2025-10-20 22:40:09 UTC"
    assert lines[11:] == ["and 2 more"]


def test_marks_may_be_indented_and_lines_end_as_they_like(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbfhead\r\n  {$each}  \r\n{a}\r\n\t{$end}")
    assert read_body(file, PLAIN, "p")(digest({"a": 1}, {"a": 2})) == "head\n1\n2\n"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("{a\n{$each}\nb}\n{$end}\n", [(1, 'a single "{"'), (3, 'a single "}"')]),
        ("{$each}\n{$cuont}\n{$end}", [(2, 'did you mean "count"')]),
        ("{$each}\n{$each}\n{$end}", [(2, "stands in line 1 already")]),
        ("{$end}\n{$each}", [(1, 'stands before "{$each}"')]),
        ("a\nb\n", [(2, "must stand around")]),
        ("{$each}\n", [(1, "must stand around")]),
        ("", [(1, "must stand around")]),
        ("x {$each} y\n{$end}", [(1, 'unknown value "{$each}"'), (2, "stands before")]),
        ("{$each}\n{a b}\n{$end}\nbody {color: red}", [(2, "is no field path"), (4, "")]),
    ],
)  # fmt: skip
def test_every_mistake_is_told_with_its_line(
    tmp_path: Path, text: str, places: list[tuple[int, str]]
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_body(write(tmp_path, text), HTML, "p")
    problems = caught.value.problems
    assert [(one.line, one.file) for one in problems] == [
        (line, str(tmp_path / "a.txt")) for line, _ in places
    ]
    for problem, (_, message) in zip(problems, places, strict=True):
        assert message in problem.message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a.txt: cannot be read: No such file or directory"):
        read_body(tmp_path / "a.txt", PLAIN, "p")
    (tmp_path / "a.txt").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="a.txt: is not UTF-8"):
        read_body(tmp_path / "a.txt", PLAIN, "p")


def test_matches_beyond_the_bound_are_counted_as_more(tmp_path: Path) -> None:
    """The first is told in any case; nothing is missing from the count."""
    text = "{$each}\n" + "{a}" * 20 + "\n{$end}\n{$more}"
    body = read_body(write(tmp_path, text), HTML, "p")
    large = {"a": "&" * 1_000_000}
    got = body(digest(*[large] * 10, count=943))
    assert got.endswith("…\nand 942 more")
    assert len(got) < 3 * MOST_CHARACTERS
    mixed = body(digest({"a": "x" * 2_000}, {"a": "x" * 2_000}, large, large))
    assert mixed.endswith("\nand 2 more")
    assert len(mixed) <= MOST_CHARACTERS + 100
