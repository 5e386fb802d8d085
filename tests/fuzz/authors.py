"""Parsers of what authors of pipelines write."""

from __future__ import annotations

import copy
from typing import Any

from enricher import document, template
from enricher.expression import ExpressionError, compile_predicate
from enricher.fuse import Fuser
from tests.fuzz.target import Target

EVENT: dict[str, Any] = {
    "n": 5,
    "f": -2.5,
    "t": "text",
    "null": None,
    "yes": True,
    "list": [1, "a", None],
    "a": {"b": {"c": "deep"}},
    "a.b": "dotted",
    "@timestamp": "2025-10-20T15:45:30+05:30",
}
EVENTS: list[dict[str, Any]] = [EVENT, {}, dict.fromkeys(EVENT, "5"), dict.fromkeys(EVENT, [])]


def run_expression(data: bytes) -> None:
    """A told mistake, or one truth on any event, called or written out, that changes nothing."""
    text = data.decode(errors="replace")
    try:
        predicate = compile_predicate(text)
    except ExpressionError as error:
        assert str(error)
        assert 0 <= error.offset <= len(text)
        return
    fuser = Fuser()
    written = compile(fuser.expression(predicate, ["event"]), "written", "eval")
    for event in EVENTS:
        before = copy.deepcopy(event)
        truth = bool(predicate(event))
        assert bool(eval(written, {**fuser.names, "event": event})) is truth
        assert event == before


def run_template(data: bytes) -> None:
    """A told mistake, or a text; a literal comes out as it is."""
    text = data.decode(errors="replace")
    try:
        parts = template.parse(text)
    except ValueError as error:
        assert str(error)
        return
    builtins = dict.fromkeys(template.BUILTINS, str)
    render, leniently = template.renderer(text, builtins), template.lenient_renderer(text, builtins)
    for event in EVENTS:
        rendered, told = render(event), leniently(event)
        assert rendered is None or rendered == told
    if "{" not in text and "}" not in text:
        assert render({}) == text
        assert len(parts) == 1


def run_yaml(data: bytes) -> None:
    """A document, or mistakes that stand somewhere in it."""
    text = data.decode(errors="replace")
    if "file:" in text:  # reads it, whatever it is
        return
    found = document.parse(text, "f.yaml")
    document.substitute(found, {"SET": "value", "EMPTY": ""})
    lines = text.count("\n") + text.count("\r") + sum(map(text.count, "\x85\u2028\u2029"))
    for problem in found.problems:
        assert problem.message
        # An end in the middle of something is told to be behind the last line.
        assert 1 <= problem.line <= lines + 2, problem
        assert problem.column >= 1
        assert str(problem).startswith("f.yaml:")
    for path in found.marks:
        document.show(path[:-1] if path[-1:] == ("=",) else path)


TARGETS = (
    Target(
        "expression",
        run_expression,
        [
            b'level in ["ERROR", "X"] and not (amount + 1 > 2.5 * n) or a.b.c == "x"',
            b'lower(t) == "text" and matches(t, "^t.*t$") and ["a.b"] != null',
            b"1 <= n < 10 and @timestamp != null or length(list) / n >= -1",
        ],
        [
            *(b" and ", b" or ", b"not ", b"(", b")", b"[", b"]", b",", b'"', b"'", b" in ", b" not in ", b"=="),
            *(b"!=", b"<=", b"<", b"+", b"-", b"*", b"/", b"**", b"@timestamp", b"a.b", b'["a.b"]', b"n", b"t", b"null"),
            *(b"true", b"1", b"-2.5", b"1e999", b"lower(", b"length(", b"matches(", b"is_number(", b"starts_with("),
            *(b"lambda", b"__class__", b"if", b"else", b"\n", b"\\", b":=", b"f'", b"b'", "ǁ".encode(), b"\0", b"9" * 30),
        ],
    ),
    Target(
        "template",
        run_template,
        [b"payment-{@timestamp:%Y.%m.%d}", b"{{literal}} {a.b.c} {$now}", b'{["a.b"]} {n}'],
        [b"{", b"}", b"{{", b"}}", b"$now", b":%Y", b"%", b"@timestamp", b"a.b", b'["a.b"]', b".", b'"', b"\\", b"\0"],
    ),
    Target(
        "yaml",
        run_yaml,
        [
            b"name: x\nstages:\n  - json: {}\n  - set: {fields: {a: '${SET}', b: \"${NONE:-x}\"}}\n",
            b"a: &x [1, 2]\nb: *x\nc: |\n  text\n  more\nd: >-\n  folded\n",
            b'"a\\x41": !!str 5\n? b\n: c\n---\n',
        ],
        [
            *(b"a: ", b"- ", b"\n", b"  ", b"{", b"}", b"[", b"]", b",", b": ", b"&x ", b"*x", b"!!str ", b"!x ", b"|\n"),
            *(b">-\n", b'"', b"'", b"\\x00", b"\\", b"? ", b"---\n", b"...\n", b"%YAML 1.2\n", b"<<: ", b"#", b"\t", b"=", b"~"),
            *(b"${", b"}", b"${SET}", b"${EMPTY:-d}", b"$${", b"0x", b"0o9", b"1e400", b"-", b"9" * 500, b"\xe2\x80\xa8"),
        ],
    ),
)  # fmt: skip
