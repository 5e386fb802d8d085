"""Do once for a row of a cache, or once for a batch, what depends on nothing else.

A state's region follows from the state alone: where the state comes out of a cache, the region
may be kept beside it, with its piece of JSON. So a step that reads only what such a row gives is
taken out of the loop and done when the row is made; one that reads nothing of an event is done
when a batch begins. An event for which it fails is unfit: the plain way says what that means.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from enricher.fold import loaded, stored
from enricher.fragments import Derive, Texts, Unfit

Part = list[ast.stmt]
"""The statements of one step."""


class Places(NamedTuple):
    """Where things are in the loop that steps are taken out of."""

    names: Mapping[str, Any]
    """What every part of it may refer to."""
    locals: frozenset[str]
    """What holds added fields."""
    pieces: frozenset[str]
    """What holds pieces of JSON."""
    late: Mapping[str, str]
    """Fields that are written at the end, and their locals."""


class Derived(NamedTuple):
    """What was taken out of the loop."""

    derive: Derive
    outputs: tuple[str, ...]
    """Locals that the loop goes on with; `derive` gives their values behind its piece."""
    fields: frozenset[str]
    """Late fields that are in its piece now."""
    pieces: frozenset[str]
    """Pieces that are in its piece now."""


def take_out(
    parts: list[Part], at: int, inputs: Sequence[str], places: Places, guard: str | None = None
) -> Derived | None:
    """Take the steps that depend on these inputs alone out of the loop; None where none does.

    Args:
        parts: the steps, and the ending as the last; those taken out are emptied.
        at: the step that sets the inputs for an event, or leaves all of them None; -1: the batch.
        inputs: locals.
        places: where things are.
        guard: the test that step `at` stands under; the others may stand under it, too.
    """
    known, moved = {*inputs}, dict[int, Part]()
    for number in range(at + 1, len(parts) - 1):
        body = _inside(parts[number], guard)
        reads, writes = loaded(body), stored(body)
        between = [part for n, part in enumerate(parts[:number]) if n > at and n not in moved]
        setter = [parts[at]] if at >= 0 else []
        others = [part for n, part in enumerate(parts) if n not in (number, at, *moved)]
        if (
            body
            and reads <= known | writes | places.names.keys() | _BUILTINS
            and reads.isdisjoint(_all(stored, between))
            and _mine(writes, places).isdisjoint(
                _all(loaded, [*setter, *between]) | _all(stored, others)
            )
        ):
            moved[number] = body
            known |= writes
    left = [part for n, part in enumerate(parts) if n not in moved and n != at]
    body = [statement for part in moved.values() for statement in part]
    done = _compile(body, inputs, _all(loaded, left), places) if moved else None
    if done is None or (at >= 0 and not _is_idle(done, len(inputs))):
        return None
    for number in moved:
        parts[number] = []
    return done


_BUILTINS = frozenset(dir(builtins))


def _all(names: Callable[[Part], set[str]], parts: Iterable[Part]) -> set[str]:
    return set[str]().union(*map(names, parts))


def _mine(names: set[str], places: Places) -> set[str]:
    return names & (places.locals | places.pieces)


def _inside(part: Part, guard: str | None) -> Part:
    """Give what a step does, without what a failure means and without a test that holds anyway."""
    match part:
        case [ast.Try(body=body)]:
            return body
        case [ast.If(test=test, body=[ast.Try(body=body)], orelse=[])]:
            return body if ast.unparse(test) == guard else [ast.If(test, body, [])]
    return []


def _compile(body: Part, inputs: Sequence[str], wanted: set[str], places: Places) -> Derived:
    """Build the function from the inputs to a piece of JSON and the outputs."""
    written = stored(body)
    texts = {name: Texts(field) for field, name in places.late.items() if name in written}
    names = {**places.names, **{f"texts_of_{name}": each for name, each in texts.items()}}
    pieces = sorted(written & places.pieces)
    wanted |= {*places.late.values()} - texts.keys()
    outputs = sorted((written | {*inputs}) & places.locals & wanted)
    late = [f"texts_of_{name}.piece({name})" for name in texts]
    lines = [
        f"def derive({', '.join(inputs)}):",
        *(f"    {name} = None" for name in sorted(written & places.locals - {*inputs})),
        *(f"    {name} = b''" for name in pieces),
        f"    return (b''.join([{', '.join([*pieces, *late])}]), {', '.join(outputs)})",
    ]
    tree: Any = ast.parse("\n".join(lines))
    tree.body[0].body[-1:-1] = body
    ast.fix_missing_locations(tree)
    exec(compile(tree, "<derived>", "exec"), names)  # noqa: S102 - generated from our own sources
    fields = frozenset(field for field, name in places.late.items() if name in texts)
    return Derived(_guarded(names["derive"]), tuple(outputs), fields, frozenset(pieces))


def _guarded(derive: Derive) -> Derive:
    def guarded(*inputs: Any) -> tuple[Any, ...]:
        try:
            return derive(*inputs)
        except Exception:  # noqa: BLE001 - the plain way says what it means
            raise Unfit from None

    return guarded


def _is_idle(done: Derived, inputs: int) -> bool:
    """Say whether nothing comes of nothing: the step may not have set its row at all."""
    try:
        return done.derive(*[None] * inputs) == (b"", *[None] * len(done.outputs))
    except Unfit:
        return False
