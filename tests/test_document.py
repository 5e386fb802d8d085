"""YAML is read as people mean it, and variables are put in after it is parsed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.document import MAX_BYTES, Document, parse, read_file, show, substitute


def value_of(text: str) -> Any:
    document = parse(text, "f.yaml")
    assert document.problems == []
    return document.value


def problems_of(document: Document) -> list[str]:
    return [str(problem) for problem in document.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("no", "no"),
        ("yes", "yes"),
        ("On", "On"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("5", 5),
        ("-5", -5),
        ("+5", 5),
        ("010", 10),
        ("0o17", 15),
        ("0xff", 255),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("5.5", 5.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1e", "1e"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("2025-10-20", "2025-10-20"),
        ("2025-10-20T10:15:30Z", "2025-10-20T10:15:30Z"),
        ("10-15", "10-15"),
        ("0-100", "0-100"),
        ("50000+", "50000+"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("|\n  5\n", "5\n"),
        ("=", "="),
        ("1" * 500, "1" * 500),
    ],
)
def test_plain_values(text: str, value: object) -> None:
    """1.2's booleans and numbers; a country, a time and a date are texts."""
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)
    assert value_of(f"a: {text}") == {"a": value}


def test_structure() -> None:
    """Keys are texts, quoted or not; an alias stands for its value."""
    assert value_of("{NO: 1, 5: 2, 'a b': 3}") == {"NO": 1, "5": 2, "a b": 3}
    assert value_of("a: &x [1, {b: c}]\nd: *x") == {"a": [1, {"b": "c"}], "d": [1, {"b": "c"}]}
    assert value_of("") is None
    assert value_of("# nothing") is None


def test_key_written_twice_is_a_mistake() -> None:
    document = parse("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n", "f.yaml")
    assert problems_of(document) == [
        'f.yaml:4:3: b: duplicate key "c"',
        'f.yaml:5:1: duplicate key "a"',
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1", "f.yaml:2:1: bad YAML: while parsing a flow sequence did not find"),
        ("a: b: c", "f.yaml:1:5: bad YAML: mapping values are not allowed"),
        ("a: !!python/object:os.system x", "unknown tag"),
        ("a: !secret x", "unknown tag !secret"),
        ("? [1, 2]\n: x", "f.yaml:1:3: a key must be a text"),
        ("a: *x", "undefined alias"),
        ("a: \x00", "bad YAML"),
        ("a: 1\n---\nb: 2", "bad YAML"),
        ("\ta: 1", "bad YAML"),
        ("[" * 5000, "bad YAML"),
        ("[" * 150 + "]" * 150, "too many or too deep"),
        ("a: &a [*a]", "too many or too deep"),
    ],
)
def test_bad_yaml_is_told_with_its_place(text: str, problem: str) -> None:
    """A mistake, never an exception."""
    (found,) = problems_of(parse(text + "\n", "f.yaml"))
    assert problem in found
    assert found.startswith("f.yaml:")


def test_aliases_cannot_grow_without_bound() -> None:
    """A few lines that stand for a billion values are refused."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for n in range(1, 10):
        lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]")
    (found,) = problems_of(parse("\n".join(lines), "f.yaml"))
    assert "too many or too deep values" in found


@pytest.mark.parametrize("text", ["- " * 100_000, "[" * 100_000, "{a: " * 50_000, "? " * 50_000])
def test_depth_is_bounded(text: str) -> None:
    """What is nested deeper would end the process, at a reload too."""
    (problem,) = problems_of(parse(text, "f.yaml"))
    assert "too many or too deep values" in problem
    assert value_of("[" * 100 + "]" * 100)


def test_no_path_of_a_secret_makes_it_fail() -> None:
    document = parse(r'a: "${file:/\0}"', "f.yaml")
    substitute(document, {})
    assert "the secret file" in problems_of(document)[0]


def test_size_is_bounded() -> None:
    (found,) = problems_of(parse("x" * (MAX_BYTES + 1), "f.yaml"))
    assert "larger than" in found


def test_marks() -> None:
    """Each value knows its line and column; a problem without a place takes its parent's."""
    document = parse('stages:\n  - translate:\n      tabel: {}\n      when: "a b"\n', "p.yaml")
    path = ("stages", 0, "translate")
    known = str(document.problem((*path, "tabel"), "no"))
    lost = str(document.problem((*path, "lost", 5), "no"))
    assert known == "p.yaml:3:7: stages[0].translate.tabel: no"
    assert lost == "p.yaml:2:5: stages[0].translate.lost[5]: no"
    assert document.problem((*path, "when"), "no", offset=2).column == 16
    assert document.problem((), "no").line == 1
    assert show(("a", 1, "b", 2, 3)) == "a[1].b[2][3]"


ENV = {"NAME": "value", "EMPTY": "", "YAML": "[1, {a: b}]", "NESTED": "${NAME}"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${NAME}", "value"),
        ("x-${NAME}-${NAME}", "x-value-value"),
        ("${NAME:-other}", "value"),
        ("${EMPTY}", ""),
        ("${EMPTY:-other}", "other"),
        ("${MISSING:-}", ""),
        ("${MISSING:-http://a:1}", "http://a:1"),
        ("${MISSING:-a:-b}", "a:-b"),
        ("$${NAME}", "${NAME}"),
        ("$NAME $ $$", "$NAME $ $$"),
        ("${YAML}", "[1, {a: b}]"),
        ("${NESTED}", "${NAME}"),
    ],
)
def test_variables(text: str, value: str) -> None:
    """Put in once, within a text: a value never adds structure."""
    document = parse(f"a: ['{text}']\nb: {{c: '{text}'}}", "f.yaml")
    substitute(document, ENV)
    assert document.problems == []
    assert document.value == {"a": [value], "b": {"c": value}}


def test_variables_stay_text() -> None:
    """A number in a variable is a text; keys and the tests of a pipeline have no variables."""
    document = parse("a: ${N}\n'${N}': 1\ntests: ['${N}', '${MISSING}']", "f.yaml")
    substitute(document, {"N": "5"})
    assert document.problems == []
    assert document.value == {"a": "5", "${N}": 1, "tests": ["${N}", "${MISSING}"]}


def test_missing_variable_is_named_with_its_place() -> None:
    document = parse("a: 1\nb:\n  - c: x${HOST}y\n    d: ${1x}\n", "f.yaml")
    substitute(document, {})
    assert problems_of(document) == [
        "f.yaml:3:5: b[0].c: the variable HOST is not set: set it, or write ${HOST:-default}",
        'f.yaml:4:5: b[0].d: "${1x}" is no variable: write ${NAME} or ${NAME:-default}',
    ]
    document = parse("a: x${HOST}y", "f.yaml")
    substitute(document, {}, allow_missing=True)
    assert document.problems == []
    assert document.value == {"a": "xmissing-HOSTy"}


def test_secret_from_a_file(tmp_path: Path) -> None:
    """Its last line end is no part of it; a file that is away is named, its text never."""
    (tmp_path / "key").write_text("s3cret\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    document = parse(f"a: '${{file:{tmp_path}/key}}'", "f.yaml")
    substitute(document, {})
    assert document.value == {"a": "s3cret"}
    document = parse(f"a: '${{file:{tmp_path}/no}}'\nb: '${{file:{tmp_path}/binary}}'", "f.yaml")
    substitute(document, {})
    first, second = problems_of(document)
    assert f"f.yaml:1:1: a: the secret file {tmp_path}/no cannot be read: No such file" in first
    assert "cannot be read: not UTF-8" in second


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    assert "No such file" in problems_of(read_file(tmp_path / "no.yaml"))[0]
    assert "Is a directory" in problems_of(read_file(tmp_path))[0]
    assert "not UTF-8" in problems_of(read_file(tmp_path / "latin.yaml"))[0]


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the reader itself fail."""
    document = parse(text, "f.yaml")
    substitute(document, {})
    assert all(problem.line >= 1 for problem in document.problems)
