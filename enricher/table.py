"""A table in a file: YAML, JSON, or CSV for large ones."""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from enricher import document, steady

MAX_BYTES = 256 << 20
"""Of a CSV file; some five million rows. YAML and JSON, parsed whole, have `document.MAX_BYTES`."""
SHOWN = 10
"""Mistakes in a YAML file that are told at once."""


class Columns(NamedTuple):
    """The columns of a CSV file that count, by the names in its first line."""

    key: str
    value: str


def load_table(file: Path, columns: Columns | None = None) -> Mapping[str, Any]:
    """Read a table. Raises ValueError that names the file, the line, and what is wrong there."""
    is_csv = file.suffix.lower() == ".csv"
    if columns and not is_csv:
        raise ValueError(f"{file}: key_column and value_column are for CSV: name it …csv")
    try:
        with steady.opened(file) as source:
            _require_size(source, is_csv=is_csv)
            return _read_csv(source, columns) if is_csv else _read_whole(source, file)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ValueError(f"{file}: cannot be read: {reason}") from None
    except _LineError as error:
        raise ValueError(f"{file}:{error.line}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _require_size(source: BinaryIO, *, is_csv: bool) -> None:
    limit = MAX_BYTES if is_csv else document.MAX_BYTES
    if os.fstat(source.fileno()).st_size > limit:
        remedy = "" if is_csv else ": write it as CSV"
        raise ValueError(f"it is larger than {limit >> 20} MiB{remedy}")


class _LineError(ValueError):
    """A mistake in a line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _read_csv(source: BinaryIO, columns: Columns | None) -> dict[str, str]:
    """Read rows of two columns or, below a line with their names, two of several columns.

    The cells stay texts.
    """
    if source.read(3) != codecs.BOM_UTF8:
        source.seek(0)
    rows = csv.reader(map(bytes.decode, source), strict=True)
    table: dict[str, str] = {}
    same: dict[str, str] = {}
    """Values are few: each is kept once."""
    try:
        key_at, value_at, width = _places(next(rows, []), columns) if columns else (0, 1, 2)
        for row in rows:
            if len(row) != width:
                if not row:
                    continue
                raise _LineError(rows.line_num, f"has {len(row)} columns, not {width}")
            key, value = row[key_at], row[value_at]
            if key in table:
                raise _LineError(rows.line_num, f'duplicate key "{key}"')
            table[key] = same.setdefault(value, value)
    except UnicodeDecodeError:
        raise _LineError(rows.line_num + 1, "is not UTF-8") from None
    except csv.Error as error:
        raise _LineError(rows.line_num, f"bad CSV: {error}") from None
    return table


def _places(header: list[str], columns: Columns) -> tuple[int, int, int]:
    for name in columns:
        if header.count(name) != 1:
            raise _LineError(
                1, f'wants one column "{name}" in its first line, has {", ".join(header)}'
            )
    return header.index(columns.key), header.index(columns.value), len(header)


def _read_whole(source: BinaryIO, file: Path) -> dict[str, Any]:
    raw = source.read()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _LineError(raw.count(b"\n", 0, error.start) + 1, "is not UTF-8") from None
    read: Callable[[str], Any] = _read_json if file.suffix.lower() == ".json" else _read_yaml
    table = read(text)
    if type(table) is not dict:
        raise _LineError(1, "a table is one mapping, of keys to values")
    for key, value in table.items():
        try:
            orjson.dumps(value)
        except TypeError as error:
            raise ValueError(f'the value of "{key}" cannot be written: {error}') from None
    return table


def _read_yaml(text: str) -> Any:
    parsed = document.parse(text, "")
    if parsed.problems:
        first, *others = parsed.problems[:SHOWN]
        more = [f"; line {problem.line}: {problem.message}" for problem in others]
        raise _LineError(first.line, first.message + "".join(more))
    return parsed.value


def _read_json(text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            raise _twice(counts.most_common(1)[0][0], text)
        return found

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise _LineError(error.lineno, f"bad JSON at column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _twice(key: str, text: str) -> _LineError:
    places = list(re.finditer(rf"{re.escape(json.dumps(key, ensure_ascii=False))}\s*:", text))
    at = places[1].start() if len(places) > 1 else 0
    return _LineError(text.count("\n", 0, at) + 1, f'duplicate key "{key}"')


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
