"""A dead letter for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import click

from enricher.cli.outcomes import plain
from enricher.dead_letters.letter import Letter

_ROW = 16


def as_text(letter: Letter) -> str:
    """Write a letter whole; nothing in it can act on a terminal."""
    dead, record = letter.dead, letter.dead.record
    rows = {
        "stage": dead.stage,
        "error": dead.error,
        "reason": dead.reason,
        "pipeline": letter.pipeline,
        "time": letter.time,
        "stream": record.stream,
        "offset": str(record.position),
        "timestamp": moment_of(record.timestamp),
        "key": "" if record.key is None else short(record.key),
        "value": f"{len(record.value):,} bytes",
    }
    if letter.cut:
        rows["value"] += (
            f" of {letter.cut.size:,}: cut, it cannot be replayed; sha256 {letter.cut.sha256}"
        )
    if dead.is_masked:
        rows["value"] += "; personal data is masked, it cannot be replayed"
    lines = [click.style(plain(letter.id), bold=True)]
    lines += [f"  {name:<10} {plain(text)}" for name, text in rows.items() if text]
    lines += [f"    {line}" for line in value_lines(record.value)]
    return "\n".join(lines)


def moment_of(timestamp: int | None) -> str:
    """Write milliseconds since the epoch, and what time that is where a calendar has it."""
    if timestamp is None:
        return ""
    try:
        time = datetime.fromtimestamp(timestamp / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return str(timestamp)
    return f"{timestamp} ({time})"


def short(value: bytes) -> str:
    """Write bytes as text, or as hex where they are none."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"hex {value.hex()}"


def value_lines(value: bytes) -> Iterator[str]:
    """Write a value as its lines of text, or as rows of hex where it is none."""
    try:
        yield from (plain(line) for line in value.decode().split("\n"))
    except UnicodeDecodeError:
        for at in range(0, len(value), _ROW):
            row = value[at : at + _ROW]
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
            yield f"{at:08x}  {row.hex(' '):<47}  {text}"
