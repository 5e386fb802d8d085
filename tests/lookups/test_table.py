"""Tables of reference data: what they give, and how a mistake in one is told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from enricher.lookups import table as tables
from enricher.lookups.table import read_table


def table(folder: Path, name: str, content: bytes | str, *fields: str) -> dict[str, Any]:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return {key: orjson.loads(row) for key, row in read_table(file, "id", fields).items()}


def test_csv(tmp_path: Path) -> None:
    """Quotes, newlines and delimiters in cells; an empty cell is no field; the last row of a key counts."""
    text = (
        '\ufeffid,city,note\r\nm1,Pune,"a ""b"", c"\r\n\r\n'
        'm2,,"two\nlines"\r\n"₹,3",Kochi,\r\nm1,Agra,\r\n'
    )
    assert table(tmp_path, "t.csv", text) == {
        "m1": {"id": "m1", "city": "Agra"},
        "m2": {"id": "m2", "note": "two\nlines"},
        "₹,3": {"id": "₹,3", "city": "Kochi"},
    }


def test_tabs(tmp_path: Path) -> None:
    assert table(tmp_path, "T.TSV", "name\tid\na,b\t1\n") == {"1": {"name": "a,b", "id": "1"}}


@pytest.mark.parametrize("name", ["t.ndjson", "t.jsonl"])
def test_lines_of_json(tmp_path: Path, name: str) -> None:
    """Values keep their types; a key that is a number is found by its text."""
    text = '\ufeff{"id": 7, "a": {"b": [1]}}\n\n  {"a": null, "id": "x"}\r\n{"id": 1.5}'
    assert table(tmp_path, name, text) == {
        "7": {"id": 7, "a": {"b": [1]}},
        "x": {"id": "x", "a": None},
        "1.5": {"id": 1.5},
    }


def test_some_fields(tmp_path: Path) -> None:
    """Only what is wanted is kept in memory."""
    assert table(tmp_path, "t.csv", "id,a,b\n1,x,y\n", "b", "no") == {"1": {"b": "y"}}
    assert table(tmp_path, "t.jsonl", '{"id":1,"a":{"c":2},"b":3}', "a") == {"1": {"a": {"c": 2}}}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", "", 't.csv:1: no column "id"'),
        ("t.csv", "idd,a\n1,2\n", 't.csv:1: no column "id" (did you mean "idd"?)'),
        ("t.csv", "id,a,a\n", "t.csv:1: two columns have one name"),
        ("t.csv", "id,a\n1,2\n3\n", "t.csv:3: 1 cells, the header has 2 columns"),
        ("t.csv", 'id,a\n1,"x\ny"\n3,4,5\n', "t.csv:4: 3 cells"),
        ("t.csv", "id,a\n1,2\n,4\n", 't.csv:3: "id" is no key: write a text or a number'),
        ("t.csv", 'id,a\n1,"2"x\n', "t.csv:2: "),
        ("t.csv", 'id,a\n1,"2\n', "t.csv:2: unexpected end of data"),
        ("t.csv", b"id,a\n" + b"1,2\n" * 5000 + b"1,\xff\n", "t.csv:5002: not UTF-8"),
        ("t.csv", "id,a\n1," + "x" * 200_000 + "\n", "t.csv:2: field larger than field limit"),
        ("t.jsonl", '{"id":1}\n{"id":\n', "t.jsonl:2: no JSON: "),
        ("t.jsonl", b'{"id":1}\n{"id":"\xff"}\n', "t.jsonl:2: no JSON: "),
        ("t.jsonl", '{"id":1}\n\n[1]\n', 't.jsonl:3: write one JSON object a line, each with "id"'),
        ("t.jsonl", '"id"\n', 't.jsonl:1: write one JSON object a line, each with "id"'),
        ("t.jsonl", '{"ID":1}\n', 't.jsonl:1: write one JSON object a line, each with "id"'),
        ("t.jsonl", '{"id":null}\n', 't.jsonl:1: "id" is no key: write a text or a number'),
        ("t.jsonl", '{"id":[1]}\n', 't.jsonl:1: "id" is no key'),
        ("t.yaml", "id: 1", "t.yaml: a table's name ends in one of .csv, .tsv, .ndjson, .jsonl"),
    ],
)
def test_mistakes(tmp_path: Path, name: str, content: bytes | str, told: str) -> None:
    """File and line, what is wrong, and what to write."""
    with pytest.raises(ValueError) as caught:
        table(tmp_path, name, content)
    assert told in str(caught.value)


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    """A pipe without a writer is not waited for."""
    cases = {"no": "No such file or directory", "pipe": "it is no regular file"}
    for kind in (".csv", ".jsonl"):
        os.mkfifo(tmp_path / f"pipe{kind}")
        for name, reason in cases.items():
            with pytest.raises(ValueError, match=f"{name}{kind}: cannot be read: {reason}"):
                read_table(tmp_path / f"{name}{kind}", "id")


@pytest.mark.parametrize(("name", "content"), [("t.csv", "id\n1\n"), ("t.jsonl", '{"id":1}\n')])
def test_a_table_that_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    """Half a table is none."""
    (tmp_path / name).write_text(content)
    os.utime(tmp_path / name, (1, 1))

    def key_meanwhile(value: object, _: str) -> str:
        (tmp_path / name).write_text(content)
        return str(value)

    monkeypatch.setattr(tables, "_key", key_meanwhile)
    with pytest.raises(ValueError, match=f"{name}: cannot be read: it changed while it was read"):
        read_table(tmp_path / name, "id")
