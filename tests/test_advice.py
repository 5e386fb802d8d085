"""What `check` warns of: it runs, and may let through what it was to hide."""

from __future__ import annotations

from pathlib import Path

import pytest

from enricher.advice import advice
from enricher.config import load

LAST = "put this stage last"


def warnings(folder: Path, *stages: str, end: str = "dead_letters: {mask: true}") -> list[str]:
    """Give the warnings of a pipeline of these stages."""
    file = folder / "p.yaml"
    lines = "".join(f"  - {stage}\n" for stage in ("json: {}", *stages))
    routes = "routes: [{elasticsearch: {index: l}}]\n"
    file.write_text(f"name: p\nallow_python: true\nstages:\n{lines}{routes}{end}\n")
    return [str(one).removeprefix(f"{file}:") for one in advice(load(file, {}))]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (("mask: {fields: {a.b: vpa}}", "set: {fields: {a.c: x}}"), "set writes a behind it"),
        (("mask: {fields: {a: vpa}}", "rename: {fields: {b: a}}"), "rename writes a behind it"),
        (("mask: {scan: [vpa], within: [a]}", "translate: {name: t, field: b, target: a, table: {b: c}}"),
         "t writes a behind it"),
        (("mask: {scan: [vpa]}", "lookup: {key: 'k:{a}', target: u}"), "lookup stands behind it"),
        (("mask: {scan: [vpa]}", "python: {function: 'operator:truth'}"), "python stands behind it"),
        (("mask: {fields: {a: vpa}}", "python: {function: 'operator:truth'}"), "python writes a behind it"),
    ],
)  # fmt: skip
def test_what_is_brought_behind_a_mask(tmp_path: Path, stages: tuple[str, ...], said: str) -> None:
    """With the place of the mask, and what to do."""
    (found,) = warnings(tmp_path, *stages)
    assert found.startswith("5:5: stages[1].mask: ")
    assert said in found
    assert found.endswith(LAST)


@pytest.mark.parametrize(
    "stages",
    [
        ("mask: {scan: [vpa]}", "mask: {name: b, fields: {a: vpa}}", "remove: {fields: [a]}"),
        ("lookup: {key: 'k:{a}', target: u}", "mask: {scan: [vpa], fields: {a: card}}"),
        ("mask: {fields: {a: vpa}}", "rename: {fields: {a: b}}", "normalize: {field: a}"),
        ("mask: {fields: {a: vpa}}", "set: {fields: {b: '{a}'}}", "drop: {when: a == 1}"),
        ("set: {fields: {b: '{a}'}}",),
    ],
)
def test_nothing_to_warn_of(tmp_path: Path, stages: tuple[str, ...]) -> None:
    """What takes away, moves on or changes in place brings nothing."""
    end = "dead_letters: {mask: true}" if any("mask" in one for one in stages) else ""
    assert warnings(tmp_path, *stages, end=end) == []


def test_dead_letters_are_as_they_came_unless_it_is_meant(tmp_path: Path) -> None:
    """Said once, where a mask stands; `mask: false` says that it is meant."""
    stage = "mask: {fields: {a: vpa}}"
    (found,) = warnings(tmp_path, stage, end="")
    assert "dead letters hold records as they came; write mask: true, or false" in found
    (found,) = warnings(tmp_path, stage, end="dead_letters: {file: x}")
    assert found.startswith("7:1: dead_letters: ")
    assert warnings(tmp_path, stage, end="dead_letters: {mask: false}") == []


WINDOW = "window: {key: '{u}', fields: {n: {count: true, within: 1h}}}"
REDIS = "connections: {redis: {url: 'redis://localhost:6379/0'}}"


def test_a_window_wants_a_time_and_a_store(tmp_path: Path) -> None:
    """A time that the sender may write as he likes, and state that ends with the process."""
    assert warnings(tmp_path, "timestamp: {}", WINDOW, end=REDIS) == []
    (found,) = warnings(tmp_path, WINDOW, end=REDIS)
    assert found.startswith("5:5: stages[1].window: no timestamp stage before it writes @timestamp")
    other = "timestamp: {target: t}", WINDOW.replace("fields", "time: t, fields")
    assert warnings(tmp_path, *other, end=REDIS) == []
    (found,) = warnings(tmp_path, WINDOW, "timestamp: {}", end=REDIS)
    assert found.endswith("put one before it, with target: @timestamp")
    (found,) = warnings(tmp_path, "timestamp: {}", WINDOW, end="")
    assert "no redis: what stages remember is lost with the process" in found
