"""Tables in files: what is read, what is refused, and on which line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from enricher import document
from enricher import table as table_module
from enricher.table import Columns, load_table

CODES = Columns("code", "name")


def written(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize(
    ("name", "content", "columns", "table"),
    [
        ("t.yaml", "kerala: south\n5: [1, a]\nyes: NO\n", None,
         {"kerala": "south", "5": [1, "a"], "yes": "NO"}),
        ("t.yaml", "\ufeffa: 1\n", None, {"a": 1}),
        ("t.yml", "{}", None, {}),
        ("t.json", '\ufeff{"a": {"b": 1.5}, "c": null}', None, {"a": {"b": 1.5}, "c": None}),
        ("t.json", json.dumps({"é😀": "😀\n"}), None, {"é😀": "😀\n"}),
        ("t.JSON", '{"a":\t1}', None, {"a": 1}),
        ("t.csv", "kerala,south\ngujarat,west\n", None, {"kerala": "south", "gujarat": "west"}),
        ("t.csv", "\ufeffa,1\r\n\r\nb,\r\n", None, {"a": "1", "b": ""}),
        ("t.CSV", 'a,"x, ""y""\nz"\n" b ",2', None, {"a": 'x, "y"\nz', " b ": "2"}),
        ("t.csv", "", None, {}),
        ("t.csv", "code,x,name\n1,2,3\n4,5,6\n", CODES, {"1": "3", "4": "6"}),
        ("t.csv", "\ufeffname,code\n1,2\n", CODES, {"2": "1"}),
        ("t.csv", "name,code\n", CODES, {}),
        ("t.csv", "code\na\nb\n", Columns("code", "code"), {"a": "a", "b": "b"}),
    ],
)  # fmt: skip
def test_tables(
    tmp_path: Path, name: str, content: str, columns: Columns | None, table: dict[str, Any]
) -> None:
    """YAML with its types, JSON as it is, CSV as texts; a byte order mark is none of the table."""
    assert load_table(written(tmp_path, name, content), columns) == table


@pytest.mark.parametrize(
    ("name", "content", "columns", "problem"),
    [
        ("t.yaml", "a: 1\nb: [\n", None, "t.yaml:3: bad YAML: "),
        ("t.yaml", "a: 1\nb: 2\na: 3\nb: 4\n", None,
         't.yaml:3: duplicate key "a"; line 4: duplicate key "b"'),
        ("t.yaml", b"a: 1\nb: \xff\n", None, "t.yaml:2: is not UTF-8"),
        ("t.yaml", "- a\n", None, "t.yaml:1: a table is one mapping, of keys to values"),
        ("t.yaml", "", None, "t.yaml:1: a table is one mapping, of keys to values"),
        ("t.yaml", "a: 99999999999999999999\n", None,
         't.yaml: the value of "a" cannot be written: Integer exceeds 64-bit range'),
        ("t.json", '{"a": 1,\n "b" 2}', None,
         "t.json:2: bad JSON at column 6: Expecting ':' delimiter"),
        ("t.json", '{"a": 1,\n"b": "a",\n"a" : 3}', None, 't.json:3: duplicate key "a"'),
        ("t.json", '{"a": "\\ud800"}', None, 't.json: the value of "a" cannot be written: '),
        ("t.json", '{"a": NaN}', None, "t.json: NaN is no number of JSON"),
        ("t.json", b'{"a":\n"\xff"}', None, "t.json:2: is not UTF-8"),
        ("t.json", "[" * 100_000, None, "t.json: it is nested too deep"),
        ("t.json", "", None, "t.json:1: bad JSON at column 1"),
        ("t.csv", "a,1\nb\n", None, "t.csv:2: has 1 columns, not 2"),
        ("t.csv", "a,1\n\nb,2,3\n", None, "t.csv:3: has 3 columns, not 2"),
        ("t.csv", "a,1\nb,2\na,1\n", None, 't.csv:3: duplicate key "a"'),
        ("t.csv", b"a,1\nb,\xff\n", None, "t.csv:2: is not UTF-8"),
        ("t.csv", b"code,name\xff\n", CODES, "t.csv:1: is not UTF-8"),
        ("t.csv", 'a,1\nb,"2\nc,3\n', None, "t.csv:3: bad CSV: unexpected end of data"),
        ("t.csv", 'a,1\nb,"2"x\n', None, "t.csv:2: bad CSV: "),
        ("t.csv", "a,1\rb,2\n", None, "t.csv:1: bad CSV: new-line character seen"),
        ("t.csv", "a," + "x" * 200_000, None, "t.csv:1: bad CSV: field larger than field limit"),
        ("t.csv", "id,name\n1,2\n", CODES,
         't.csv:1: wants one column "code" in its first line, has id, name'),
        ("t.csv", "code,name,code\n", CODES, 't.csv:1: wants one column "code" in its first line'),
        ("t.csv", "", CODES, 't.csv:1: wants one column "code" in its first line, has '),
        ("t.csv", "code,name\n1,2\n3\n", CODES, "t.csv:3: has 1 columns, not 2"),
        ("t.yaml", "a: 1", CODES, "t.yaml: key_column and value_column are for CSV"),
    ],
)  # fmt: skip
def test_mistakes(
    tmp_path: Path, name: str, content: str | bytes, columns: Columns | None, problem: str
) -> None:
    """The error names the file, the line, and what is wrong there."""
    with pytest.raises(ValueError) as error:
        load_table(written(tmp_path, name, content), columns)
    assert str(error.value).startswith(f"{tmp_path}/{problem}")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda file: None, "cannot be read: No such file or directory"),
        (lambda file: file.mkdir(), "cannot be read: Is a directory"),
        (os.mkfifo, "cannot be read: it is no regular file"),
        (lambda file: file.symlink_to("/dev/zero"), "cannot be read: it is no regular file"),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.yaml"])
def test_what_is_no_file(
    tmp_path: Path, make: Callable[[Path], object], problem: str, name: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(ValueError) as error:
        load_table(tmp_path / name)
    assert str(error.value) == f"{tmp_path / name}: {problem}"


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large is not read at all; what is large for YAML and JSON may be CSV."""
    for name in ("t.yaml", "t.json"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(document.MAX_BYTES + 1)
        with pytest.raises(ValueError, match="it is larger than 8 MiB: write it as CSV"):
            load_table(tmp_path / name)
    rows = "".join(f"key {n},value {n % 100}\n" for n in range(300_000))
    table = load_table(written(tmp_path, "t.csv", rows))
    assert len(table) == 300_000
    assert table["key 299999"] == "value 99"
    assert table["key 99"] is table["key 299999"]  # a value is kept once
    with (tmp_path / "t.csv").open("r+b") as file:
        file.truncate(table_module.MAX_BYTES + 1)
    with pytest.raises(ValueError, match="it is larger than 256 MiB$"):
        load_table(tmp_path / "t.csv")


def test_a_file_that_is_written_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a table is none."""
    file = written(tmp_path, "t.csv", "a,1\nb,2\n")
    os.utime(file, (1, 1))
    read = table_module._read_csv

    def read_meanwhile(*arguments: Any) -> Any:
        found = read(*arguments)
        file.write_text("a,1\nb,3\n")
        return found

    monkeypatch.setattr(table_module, "_read_csv", read_meanwhile)
    with pytest.raises(ValueError, match="t.csv: cannot be read: it changed while it was read"):
        load_table(file)
