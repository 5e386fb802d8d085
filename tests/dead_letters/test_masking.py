"""Dead letters without what the mask stages hide, whatever the record's bytes are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.config import load
from enricher.dead_letters.masking import LetterMask, letter_mask
from enricher.model import ConfigError, DeadLetter
from enricher.pii.masker import Masker
from tests.pii.personal import anything

from .letters import letter

CARD = "4111111111111111"
PIPELINE = """\
name: p
stages:
  - json: {envelope: message}
  - mask: {fields: {upi_vpa: vpa, card.number: card}, when: never == true}
  - mask: {name: second, scan: [vpa, card, aadhaar, pan, phone, email], within: [message]}
routes: [{elasticsearch: {index: l}}]
dead_letters: {mask: true}
"""


def mask_of(folder: Path, text: str = PIPELINE) -> LetterMask:
    file = folder / "p.yaml"
    file.write_text(text)
    made = letter_mask(load(file, {}))
    assert made is not None
    return made


@pytest.fixture(scope="module")
def mask(tmp_path_factory: pytest.TempPathFactory) -> LetterMask:
    return mask_of(tmp_path_factory.mktemp("p"))


def masked(mask: LetterMask, value: bytes, **fields: object) -> DeadLetter:
    [found] = mask([letter(1, value=value, **fields).dead])
    return found


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b'{"upi_vpa": "no address", "a": 1}', b'{"upi_vpa":"** *******","a":1}'),
        (b'{"card": [{"number": 5}]}', b'{"card":[{"number":"*"}]}'),
        (b'{"x": {"y": ["4111111111111111"]}}', b'{"x":{"y":["************1111"]}}'),
        (b'{"message": "{\\"upi_vpa\\": \\"secret\\"}"}', b'{"message":"{\\"upi_vpa\\":\\"******\\"}"}'),
        (b'{"a": "\\u0034111111111111111"}', b'{"a":"************1111"}'),
        (b'{"a": NaN, "upi_vpa": "x"}', b'{"a":NaN,"upi_vpa":"*"}'),
        (b'{"a": "\\ud800", "upi_vpa": "x"}', b'{"a":"\\ud800","upi_vpa":"*"}'),
        ('{"a": "₹", "upi_vpa": "x"}'.encode(), '{"a":"₹","upi_vpa":"*"}'.encode()),
        (b'"4111111111111111"', b'"************1111"'),
        (b"[4111111111111111]", b'["************1111"]'),
        # What is no JSON, or says a thing twice, is a text.
        (b'{"a": "paid\\n4111111111111111\\nby', b'{"a": "paid\\n************1111\\nby'),
        (b'{"a": "4111111111111111", "a": 5}', b'{"a": "************1111", "a": 5}'),
        (b"card=4111+1111+1111+1111&x", b"card=****+****+****+1111&x"),
        (b"\xff4111111111111111\xfe", b"\xff************1111\xfe"),
        ("rakeshsh@okaxis".encode("utf-16-le"), b"ra****sh@okaxis\0"),
        (b"[" * 100_000 + b"4111111111111111", b"[" * 100_000 + b"************1111"),
    ],
)  # fmt: skip
def test_hidden_in_the_value(mask: LetterMask, value: bytes, left: bytes) -> None:
    """By field and by what is found, whatever `when` and `within` say."""
    found = masked(mask, value)
    assert found.record.value == left
    assert found.is_masked
    assert masked(mask, left).record.value == left


@pytest.mark.parametrize(
    "value",
    [
        b'{"upi_vpa": null, "a":  1, "a.b": "1761040929118"}',
        b'{"upi_vpa":"ra****sh@okaxis"}',
        b'{"a": 1, "a": 2}',
        b"\xff\xfe\0",
        b"",
        b"no JSON",
        b'{"x": 1e400}',
    ],
)
def test_what_holds_nothing_stays_byte_for_byte(mask: LetterMask, value: bytes) -> None:
    """So that it can be replayed; its reason loses what it quotes all the same."""
    found = masked(mask, value, reason="a is no number: '1234'")
    assert found.record.value == value
    assert not found.is_masked
    assert found.reason == "a is no number: …"


def test_key_and_reason_are_hidden_and_the_rest_is_not(mask: LetterMask) -> None:
    """Where it came from is needed to find the record again."""
    given_letter = letter(7, value=b"{}", key=b"9876543210", reason=f"id {CARD}: x@example.com")
    [found] = mask([given_letter.dead])
    assert found.record.key == b"******3210"
    assert found.is_masked
    assert found.reason == "id ****************: *@example.com"
    same = given_letter.dead.record
    assert found.record._replace(key=same.key) == same
    assert (found.stage, found.error) == (given_letter.dead.stage, given_letter.dead.error)


def test_what_cannot_be_masked_is_left_out(
    mask: LetterMask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours must neither show it nor stop the run for ever."""

    def fail(*_: object) -> None:
        raise RuntimeError(CARD)

    monkeypatch.setattr(Masker, "anything", fail)
    found = masked(mask, b'{"a": "4111111111111111"}', key=b"k", reason=CARD)
    assert (found.record.value, found.record.key, found.is_masked) == (b"", None, True)
    assert CARD not in repr(found)


def test_hashes_of_letters_are_those_of_documents(tmp_path: Path) -> None:
    """So that a letter can still be joined with what was indexed."""
    text = PIPELINE.replace("{fields:", "{mode: hash, key: sixteen characters, fields:")
    found = masked(mask_of(tmp_path, text), b'{"upi_vpa": "rakeshsh@okaxis"}')
    name = json.loads(found.record.value)["upi_vpa"]
    assert name.startswith("vpa_")
    assert len(name) == 28


def test_masking_needs_a_stage_that_says_what(tmp_path: Path) -> None:
    lines = [
        line for line in PIPELINE.splitlines() if "mask: {f" not in line and "scan" not in line
    ]
    file = tmp_path / "p.yaml"
    file.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r":5:16: dead_letters\.mask: there is no mask stage"):
        load(file, {})
    file.write_text(PIPELINE.replace("mask: true", "file: x"))
    assert letter_mask(load(file, {})) is None


@settings(max_examples=200, deadline=None)
@given(anything, st.binary(max_size=20), st.binary(max_size=20))
def test_nothing_is_left_in_any_bytes(
    mask: LetterMask, personal: tuple[str, str], before: bytes, after: bytes
) -> None:
    """Around it are any bytes at all."""
    _, value = personal
    found = masked(mask, before + b" " + value.encode() + b" " + after)
    assert value.encode() not in found.record.value
