"""Field paths: `a.b` is the nested field, `["a.b"]` a key with a dot in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from enricher.inline import define
from enricher.model import Event, Failure

_PART = re.compile(r"""\.?([^\s."'{}\[\]:]+)|\.?\["([^"]+)"\]|\.?\['([^']+)'\]""")
MAX_DEPTH = 16


def parse(text: str) -> tuple[str, ...]:
    """Split a path into keys. Raises ValueError that says what is wrong."""
    keys: list[str] = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None or (position == 0 and text[0] == "."):
            raise ValueError(
                f'"{text}" is no field path at character {position + 1}: write a.b for a nested '
                'field and ["a.b"] for a key with a dot'
            )
        keys.append(next(group for group in match.groups() if group is not None))
        position = match.end()
        if position < len(text) and text[position] not in ".[":
            raise ValueError(f'"{text}" is no field path at character {position + 1}')
    if not keys:
        raise ValueError("a field path must not be empty")
    if len(keys) > MAX_DEPTH:
        raise ValueError(f'"{text}" is deeper than {MAX_DEPTH} fields')
    return tuple(keys)


def render(keys: tuple[str, ...]) -> str:
    """Write keys as a path; the inverse of `parse`."""
    text = ""
    for key in keys:
        plain = _PART.fullmatch(key) is not None and key[0] not in ".["
        quote = "'" if '"' in key else '"'
        text += (f".{key}" if text else key) if plain else f"[{quote}{key}{quote}]"
    return text


def _check(text: str) -> str:
    parse(text)
    return text


FieldPath = Annotated[
    str,
    AfterValidator(_check),
    Field(description='A field: `a`, nested `a.b`, or `["a.b"]` for a key with a dot.'),
]


def source_of_get(keys: tuple[str, ...]) -> str:
    """Write the expression that reads a path from `event`; None where anything is missing."""
    source = f"event.get({keys[0]!r})"
    for depth, key in enumerate(keys[1:]):
        source = f"(_{depth}.get({key!r}) if type(_{depth} := {source}) is dict else None)"
    return source


def getter(path: str) -> Callable[[Event], Any]:
    """Build the function that reads a field; None where anything on the way is missing."""
    return define(("event",), source_of_get(parse(path)))


def setter(path: str) -> Callable[[Event, Any], None]:
    """Build the function that writes a field, copying the objects along the path.

    The function raises `Failure` where the path leads through something that is no object:
    data that came in is never overwritten by accident.
    """
    keys = parse(path)
    if len(keys) == 1:
        return define(("event", "value"), f"event[{keys[0]!r}] = value", is_statement=True)

    def put(event: Event, value: Any) -> None:
        objects = [event]
        for depth, key in enumerate(keys[:-1]):
            child = objects[-1].get(key)
            if child is None:
                child = {}
            elif type(child) is not dict:
                raise Failure(f"{render(keys[: depth + 1])} is no object")
            objects.append(child)
        for parent, key in zip(reversed(objects[1:]), reversed(keys[1:]), strict=True):
            value = {**parent, key: value}
        event[keys[0]] = value

    return put


def remover(path: str) -> Callable[[Event], None]:
    """Build the function that removes a field; nothing happens where it is missing."""
    keys = parse(path)
    if len(keys) == 1:
        return define(("event",), f"event.pop({keys[0]!r}, None)", is_statement=True)
    get_parent = getter(render(keys[:-1]))
    put_parent = setter(render(keys[:-1]))

    def remove(event: Event) -> None:
        parent = get_parent(event)
        if type(parent) is dict and keys[-1] in parent:
            put_parent(event, {key: parent[key] for key in parent if key != keys[-1]})

    return remove


def tester(names: Iterable[str]) -> Callable[[Event], bool]:
    """Build the function that says whether an event has any of these top-level fields."""
    return define(("event",), " or ".join(f"{n!r} in event" for n in sorted(names)) or "False")


def writer(fields: Mapping[str, Any]) -> Callable[[Event], None]:
    """Build the function that writes constant values to fields."""
    keys = {path: parse(path) for path in fields}
    if all(len(parts) == 1 for parts in keys.values()):
        constants = {keys[path][0]: value for path, value in fields.items()}
        return define(("event",), "event.update(constants)", {"constants": constants})
    writes = [(setter(path), value) for path, value in fields.items()]

    def write(event: Event) -> None:
        for put, value in writes:
            put(event, value)

    return write


def chooser(
    choices: Sequence[Mapping[str, Any]] | Mapping[int, Mapping[str, Any]],
) -> Callable[[Event, int], None]:
    """Build the function that writes the constants of one choice out of several."""
    numbered = choices if isinstance(choices, Mapping) else dict(enumerate(choices))
    paths = {path for fields in numbered.values() for path in fields}
    if all(len(parse(path)) == 1 for path in paths):
        constants = {
            number: {parse(path)[0]: value for path, value in fields.items()}
            for number, fields in numbered.items()
        }
        return define(
            ("event", "choice"),
            "event.update(constants[choice])",
            {"constants": constants},
        )
    writers = {number: writer(fields) for number, fields in numbered.items()}

    def choose(event: Event, choice: int) -> None:
        writers[choice](event)

    return choose


def nest(field: str, value: Any) -> Event:
    """Give the object that holds nothing but a value at a path."""
    for key in reversed(parse(field)):
        value = {key: value}
    nested: Event = value
    return nested


def merge(event: Event, values: Mapping[str, Any]) -> None:
    """Write values, going into objects that the event has already. Raises `Failure`."""
    for key, value in values.items():
        held = event.get(key)
        if type(value) is dict and held is not None:
            if type(held) is not dict:
                raise Failure(f"{key} is no object")
            value = {**held}  # noqa: PLW2901
            merge(value, values[key])
        event[key] = value
