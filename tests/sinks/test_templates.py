"""Templates as they are read from their folder; what a server does with them is an integration test."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from enricher.model import ConfigError
from enricher.sinks.templates import load


def put(folder: Path, name: str, content: object) -> None:
    """Write one file of the folder."""
    path = folder / "elasticsearch" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))


def test_environment_is_filled_into_texts_only(tmp_path: Path) -> None:
    """A variable, its default, and what is no variable; keys stay as they are."""
    settings = {
        "a": "${SHARDS}",
        "b": ["x-${REPLICAS:-1}"],
        "${c}": "$5 ${",
        "d": "${EMPTY:-}",
        "e": 3,
    }
    put(tmp_path, "component_templates/common.json", {"version": 2, "template": settings})
    (template,) = load(tmp_path, {"SHARDS": "3", "REPLICAS": "", "EMPTY": ""})
    assert (template.name, template.version) == ("common", 2)
    expected = {"a": "3", "b": ["x-1"], "${c}": "$5 ${", "d": "", "e": 3}
    assert template.body["template"] == expected


def test_order_is_that_of_reference(tmp_path: Path) -> None:
    """Policies come first, then components, then the index templates that name both."""
    put(tmp_path, "index_templates/a.json", {"version": 1})
    put(tmp_path, "component_templates/b.json", {"version": 1})
    put(tmp_path, "ilm_policies/c.json", {"policy": {"_meta": {"version": 4}}})
    assert [(each.name, each.version) for each in load(tmp_path, {})] == [
        ("c", 4),
        ("b", 1),
        ("a", 1),
    ]


def test_every_mistake_is_said_at_once(tmp_path: Path) -> None:
    """Each problem names its file; a broken file its line and column too."""
    put(tmp_path, "index_templates/a.json", b'{"version": 1,\n "x": oops}')
    put(tmp_path, "index_templates/b.json", {"version": 1, "x": "${NOWHERE} ${NEITHER}"})
    put(tmp_path, "index_templates/c.json", {})
    put(tmp_path, "ilm_policies/d.json", {"version": 1})
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {})
    text = str(caught.value)
    assert "a.json:2:" in text
    assert "NOWHERE is not set" in text
    assert "NEITHER is not set" in text
    assert 'c.json: a whole number "version" is missing' in text
    assert 'd.json: a whole number "policy._meta.version" is missing' in text


def test_missing_folder_is_said(tmp_path: Path) -> None:
    """A wrong path is not an empty folder."""
    with pytest.raises(ConfigError, match="no such folder"):
        load(tmp_path / "nowhere", {})
