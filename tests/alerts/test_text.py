"""Values get into the texts of alerts as values: cut, on one line, escaped for their place."""

from __future__ import annotations

import html
import unicodedata
from typing import Any

import pytest

from enricher.alerts.text import (
    HTML,
    MOST_FIELDS,
    PLAIN,
    RAW,
    SLACK,
    Style,
    View,
    compile_text,
    cut,
    show_time,
    tidy,
)

from .digests import AT, digest


def fill(text: str, event: dict[str, Any], style: Style = PLAIN, **more: Any) -> str:
    told = digest(event, **more)
    return compile_text(text, style)(View(told, told.shown[0], told.count - 1, "payments"))


def test_fields_of_a_match_and_names_of_its_digest() -> None:
    text = "{$alert} {$count} {$more}|{$summary}|{a.b} {missing} {null}|{$first} {$last}|{$at}|{$pipeline}"
    event = {"a": {"b": 1.5}, "null": None}
    assert fill(text, event, count=943) == (
        "HighRiskTransaction 943 and 942 more|HIGH RISK|1.5 – –|2025-10-20 22:40:00 UTC "
        "2025-10-20 22:55:42 UTC|2025-10-20 22:40:00 UTC|payments"
    )


def test_one_match_has_one_time_and_none_more() -> None:
    assert fill("{$when}|{$more}|", {}) == "2025-10-20 22:40:00 UTC||"
    assert fill("{$when}", {}, count=2) == "2025-10-20 22:40:00 UTC to 2025-10-20 22:40:01 UTC"
    assert show_time(AT) == "2025-10-20 22:40:00 UTC"


def test_a_time_is_written_as_the_template_wants_it() -> None:
    event = {"@timestamp": "2025-10-20T23:45:30+05:30", "no": "x"}
    assert fill("{@timestamp:%d/%m/%Y} {no:%Y}", event) == "20/10/2025 –"


def test_an_unknown_name_is_told_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r'\{\$sumary\}" \(did you mean "summary"\?\)'):
        compile_text("{$sumary}", PLAIN)
    with pytest.raises(ValueError, match="there are alert, summary, .* fields"):
        compile_text("{$nothing_like_it}", PLAIN)


@pytest.mark.parametrize(
    ("value", "plain", "markup", "slack"),
    [
        ("<b>&\"'", "<b>&\"'", "&lt;b&gt;&amp;&quot;&#x27;", "&lt;b&gt;&amp;\"'"),
        ("<!channel> <https://evil|Bank>",) * 2
        + ("&lt;!channel&gt; &lt;https://evil|Bank&gt;",) * 2,
        ("a\r\n\tb\x00\x85\u2028c", "a b c", "a b c", "a b c"),
        ("pay\u202egpj.exe\u200b", "pay\ufffdgpj.exe\ufffd") + ("pay\ufffdgpj.exe\ufffd",) * 2,
        ("हिन्दी ₹ क्\u200dष", "हिन्दी ₹ क्\u200dष") + ("हिन्दी ₹ क्\u200dष",) * 2,
        (["a<", 2, None, True], "a<, 2, , true", "a&lt;<br>2<br><br>true", "a&lt;, 2, , true"),
        ([], "–", "–", "–"),
        ({"a": "<"}, '{"a":"<"}', "{&quot;a&quot;:&quot;&lt;&quot;}", '{"a":"&lt;"}'),
        ([{"a": 1}], '[{"a":1}]', "[{&quot;a&quot;:1}]", '[{"a":1}]'),
        (12499.5, "12499.5", "12499.5", "12499.5"),
        (False, "false", "false", "false"),
        ("{a} {$count} {{", "{a} {$count} {{", "{a} {$count} {{", "{a} {$count} {{"),
    ],
    ids=repr,
)
def test_values(value: object, plain: str, markup: str, slack: str) -> None:
    event = {"v": value}
    assert fill("{v}", event) == plain
    assert fill("{v}", event, HTML) == markup
    assert fill("{v}", event, SLACK) == slack


@pytest.mark.parametrize("style", [PLAIN, HTML, SLACK, RAW])
@pytest.mark.parametrize(
    "value", ["x" * 1_000_000, ["y" * 50_000] * 20, ["z"] * 100_000, {"k": "v" * 1_000_000}]
)
def test_a_value_is_bounded_whatever_it_holds(style: Style, value: object) -> None:
    text = fill("{v}", {"v": value}, style)
    assert text.endswith("…")
    assert len(html.unescape(text)) <= style.most + len(f"{style.between}…")


def test_all_fields_of_a_match_as_rows() -> None:
    event = {"a": 1, "b<": "<x>\ny", "none": None}
    assert fill("{$fields}", event) == "  a: 1\n  b<: <x> y\n  none: –"
    assert fill("{$fields}", event, HTML).count("<tr>") == 3
    assert "&lt;x&gt; y" in fill("{$fields}", event, HTML)
    many = {f"field_{number}": number for number in range(1_000)}
    lines = fill("{$fields}", many).splitlines()
    assert len(lines) == MOST_FIELDS + 1
    assert lines[-1] == "  …: and 950 more"


def test_a_tidy_text_steers_nobodys_program() -> None:
    """Of all characters, none that controls, ends a line, turns the direction or is half of one comes through."""
    every = "".join(map(chr, range(0x110000)))
    tidied = tidy(every)
    tidied.encode()
    assert tidied.splitlines() == [tidied]
    turns = ("RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI")
    assert not any(unicodedata.bidirectional(one) in turns for one in tidied)
    kinds = {one: unicodedata.category(one) for one in tidied}
    assert not [hex(ord(one)) for one, kind in kinds.items() if kind in ("Cc", "Cs", "Zl", "Zp")]
    # Left of those that format: what joins letters, and signs of old scripts, which are seen.
    left = [one for one, kind in kinds.items() if kind == "Cf" and one not in "\u200c\u200d"]
    scripts = {unicodedata.name(one).split()[0] for one in left}
    assert scripts <= {"ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN", "SHORTHAND", "MUSICAL"}


def test_cut_says_that_it_did() -> None:
    assert [cut("abcd", most) for most in (5, 4, 3)] == ["abcd", "abcd", "ab…"]
