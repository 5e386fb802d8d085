"""Read a table of reference data: CSV with a header, or one JSON object a line."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from enricher import steady
from enricher.template import as_text
from enricher.words import suggest

DELIMITERS = {".csv": ",", ".tsv": "\t"}
LINES = (".ndjson", ".jsonl")
MARK = b"\xef\xbb\xbf"
"""What some programs write first into a file of UTF-8."""


def read_table(file: Path, key_field: str, fields: Collection[str] = ()) -> dict[str, bytes]:
    """Read the rows of a file as JSON objects, by the text of one of their fields.

    The last row of a key counts. A cell of CSV is a text; an empty one is no field.

    Args:
        file: its name's ending says what it is.
        key_field: the column, or the field at the top of each object.
        fields: those that are kept, all where empty.

    Raises ValueError that names the file, a line of it where a row is not as it should be.
    """
    wanted = frozenset(fields)
    try:
        with steady.opened(file) as source:
            rows = _rows(file, source, key_field)
            if not wanted:
                return dict(rows)
            return {
                key: _written({n: v for n, v in orjson.loads(row).items() if n in wanted})
                for key, row in rows
            }
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror or error}") from None


def _written(row: dict[str, Any]) -> bytes:
    """Write a row as JSON that takes its size: what orjson gives is part of a larger buffer."""
    return b"".join((orjson.dumps(row), b""))


def _rows(file: Path, source: BinaryIO, key_field: str) -> Iterator[tuple[str, bytes]]:
    """Give keys and rows as JSON."""
    kind = file.suffix.lower()
    if kind in LINES:
        return _objects(file, source, key_field)
    if kind in DELIMITERS:
        return _cells(file, source, key_field, DELIMITERS[kind])
    known = ", ".join((*DELIMITERS, *LINES))
    raise ValueError(f"{file}: a table's name ends in one of {known}")


def _objects(file: Path, source: BinaryIO, key_field: str) -> Iterator[tuple[str, bytes]]:
    for number, line in enumerate(source, 1):
        row = line.removeprefix(MARK).strip() if number == 1 else line.strip()
        if not row:
            continue
        try:
            key = orjson.loads(row)[key_field]
        except orjson.JSONDecodeError as error:
            raise ValueError(f"{file}:{number}: no JSON: {error.msg}") from None
        except (KeyError, TypeError, IndexError):
            raise ValueError(
                f'{file}:{number}: write one JSON object a line, each with "{key_field}"'
            ) from None
        yield _key(key, f'{file}:{number}: "{key_field}"'), row


def _cells(
    file: Path, source: BinaryIO, key_field: str, delimiter: str
) -> Iterator[tuple[str, bytes]]:
    text = io.TextIOWrapper(source, "utf-8-sig", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        at = _column(file, header, key_field)
        for row in reader:
            if not row:
                continue
            where = f"{file}:{reader.line_num}"
            if len(row) != len(header):
                raise ValueError(f"{where}: {len(row)} cells, the header has {len(header)} columns")
            cells = {name: cell for name, cell in zip(header, row, strict=True) if cell}
            yield _key(row[at], f'{where}: "{key_field}"'), _written(cells)
    except csv.Error as error:
        raise ValueError(f"{file}:{reader.line_num}: {error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file}:{_undecodable(file)}: not UTF-8") from None
    finally:
        text.detach()  # it would close the file with itself


def _column(file: Path, header: list[str], key_field: str) -> int:
    if len(set(header)) != len(header):
        raise ValueError(f"{file}:1: two columns have one name")
    if key_field not in header:
        raise ValueError(f'{file}:1: no column "{key_field}"{suggest(key_field, header)}')
    return header.index(key_field)


def _key(value: Any, what: str) -> str:
    """Write a key as `{field}` of a template would."""
    key = None if isinstance(value, dict | list) else as_text(value)
    if not key:
        raise ValueError(f"{what} is no key: write a text or a number")
    return key


def _undecodable(file: Path) -> int:
    """Give the number of the first line that is not UTF-8; the reader decodes many at a time."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 0
