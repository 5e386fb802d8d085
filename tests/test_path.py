"""Paths read, write and remove fields; whoever writes copies along the path."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher import path
from enricher.fuse import Fuser
from enricher.model import Failure


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("a", ("a",)),
        ("a.b.c", ("a", "b", "c")),
        ("@timestamp", ("@timestamp",)),
        ('["a.b"]', ("a.b",)),
        ('["a.b"].c', ("a.b", "c")),
        ("a['b c'][\"d.e\"]", ("a", "b c", "d.e")),
        ("a-b_c/d", ("a-b_c/d",)),
        ("_0", ("_0",)),
        ("ä.名", ("ä", "名")),
    ],
)
def test_parse(text: str, keys: tuple[str, ...]) -> None:
    assert path.parse(text) == keys
    assert path.parse(path.render(keys)) == keys


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", ".a", "a.", "a..b", "a b", "a[b]", 'a["b', 'a["b"]c', '[""]', "a{b", "a:b"),
        *("a[0]", "]"),
    ],
)
def test_bad_paths(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        path.parse(text)


def test_depth_is_bounded() -> None:
    with pytest.raises(ValueError, match="deeper than 16"):
        path.parse(".".join("a" * 17))


any_key = st.text(st.characters(codec="utf-8"), min_size=1)
keys_of = st.lists(
    any_key.filter(lambda key: not ('"' in key and "'" in key)), min_size=1, max_size=5
).map(tuple)


@given(keys_of)
def test_render_is_the_inverse_of_parse(keys: tuple[str, ...]) -> None:
    """Any keys come back, whatever dots, quotes and spaces are in them."""
    assert path.parse(path.render(keys)) == keys


def test_get() -> None:
    """None where anything on the way is missing or no object."""
    event = {"a": {"b": {"c": 1}, "n": None}, "a.b": 2, "t": "x", "l": [{"b": 1}]}
    found = {"a.b.c": 1, '["a.b"]': 2}
    for text, value in {**found, **dict.fromkeys(["a.n", "a.x", "t.b", "l.b", "x.y.z"])}.items():
        assert path.getter(text)(event) == value


@pytest.mark.parametrize("text", ["a", "a.b", "a.b.c", 'x["y.z"]'])
def test_set_copies_along_the_path(text: str) -> None:
    """What the event held before is as it was, and is still shared where it was not on the path."""
    inner = {"c": 1, "other": {"d": 2}}
    held = {"a": {"b": inner, "beside": [1]}, "x": {}}
    before = copy.deepcopy(held)
    event: dict[str, Any] = dict(held)
    path.setter(text)(event, "new")
    assert held == before
    assert path.getter(text)(event) == "new"
    if text == "a.b.c":
        assert event["a"]["b"]["other"] is inner["other"]
        assert event["a"]["beside"] is held["a"]["beside"]


def test_set_makes_what_is_missing_or_null() -> None:
    event: dict[str, Any] = {"n": None}
    path.setter("n.x.y")(event, 1)
    path.setter("m.x")(event, 2)
    assert event == {"n": {"x": {"y": 1}}, "m": {"x": 2}}


@pytest.mark.parametrize("value", ["text", 5, False, [], ["x"]])
def test_set_overwrites_nothing_that_came_in(value: object) -> None:
    """A path through something that is no object is a failure, and nothing changes."""
    for text, place in (("a.b", "a"), ("o.a.b", "o.a")):
        event: dict[str, Any] = {"a": value, "o": {"a": value}}
        with pytest.raises(Failure, match=f"^{place} is no object"):
            path.setter(text)(event, 1)
        assert event == {"a": value, "o": {"a": value}}


def test_remove() -> None:
    """The field goes, in a copy; what is missing is no matter."""
    inner = {"b": 1, "c": 2}
    event: dict[str, Any] = {"a": inner, "t": "x"}
    path.remover("a.b")(event)
    assert event == {"a": {"c": 2}, "t": "x"}
    assert inner == {"b": 1, "c": 2}
    for text in ("a.b", "a.x.y", "t.x", "z", "z.y"):
        path.remover(text)(event)
    path.remover("t")(event)
    assert event == {"a": {"c": 2}}


def test_writer_and_chooser() -> None:
    """Constants, at the top or deeper; a choice without fields writes nothing."""
    event: dict[str, Any] = {"o": {"x": 0}}
    path.writer({"a": 1, "b": None})(event)
    path.writer({"o.y": 2, "c": 3})(event)
    path.chooser([{"d": 4}, {}])(event, 1)
    path.chooser({7: {"o.z": 5}})(event, 7)
    path.writer({})(event)
    assert event == {"a": 1, "b": None, "o": {"x": 0, "y": 2, "z": 5}, "c": 3}


def test_merge_copies() -> None:
    """Objects are merged in copies, on both sides."""
    values = {"geo": {"point": {"lat": 1}}, "n": 5}
    held = {"geo": {"point": {"lon": 2}, "other": 3}}
    event: dict[str, Any] = dict(held)
    path.merge(event, values)
    assert event == {"geo": {"point": {"lat": 1, "lon": 2}, "other": 3}, "n": 5}
    assert values == {"geo": {"point": {"lat": 1}}, "n": 5}
    assert held == {"geo": {"point": {"lon": 2}, "other": 3}}
    with pytest.raises(Failure, match="geo is no object"):
        path.merge({"geo": "text"}, values)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 9), st.text(max_size=2)),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(
    event=st.dictionaries(st.sampled_from("abc"), json_values, max_size=3),
    keys=st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple),
    value=st.integers(),
)
def test_set_get_remove_agree(event: dict[str, Any], keys: tuple[str, ...], value: int) -> None:
    """What is written is read, what is removed is gone, shared values never change."""
    text = path.render(keys)
    before = copy.deepcopy(event)
    changed = dict(event)
    try:
        path.setter(text)(changed, value)
    except Failure:
        assert changed == before
        return
    assert path.getter(text)(changed) == value
    path.remover(text)(changed)
    assert path.getter(text)(changed) is None
    assert event == before


@given(
    event=st.dictionaries(st.sampled_from("abc"), json_values, max_size=3),
    keys=st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple),
)
def test_get_is_the_same_written_out(event: dict[str, Any], keys: tuple[str, ...]) -> None:
    """The plan writes the same expression."""
    get, fuser = path.getter(path.render(keys)), Fuser()
    source = fuser.expression(get, ["event"])
    assert eval(source, {**fuser.names, "event": event}) == get(event)
