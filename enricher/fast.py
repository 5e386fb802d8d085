"""The fast way through a whole plan: one loop, look-ups asked before it, added fields overlaid."""

from __future__ import annotations

import ast
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

from enricher.derive import Part
from enricher.fragments import Unfit, shapes
from enricher.fuse import Fuser
from enricher.hoist import fields_read, hoist
from enricher.inline import inline_of
from enricher.loop import NAMES, NOTES, Ending, Events, Outcomes, Step, ending_source, step_source
from enricher.model import Event, Record
from enricher.overlay import Overlay
from enricher.stages.base import Decoder
from enricher.survey import CannotOverlay

Answers = list[list[Any]]
"""What each look-up found, by look-up and event."""
FastLoop = Callable[[Sequence[Record], Events, Outcomes, Answers, list[int]], None]


class Keyed(Protocol):
    """A stage of a batch that can be asked before the loop and applied in it."""

    key: Callable[[Event], str | None]
    apply: Callable[[Event, Any], None]

    async def fetch(self, keys: list[str | None]) -> list[Any]:
        """Give what was found under each key."""
        ...


class Question(NamedTuple):
    """A look-up that is asked before the loop."""

    keys: Callable[[Events], list[str | None]]
    fetch: Callable[[list[str | None]], Awaitable[list[Any]]]


class Fast(NamedTuple):
    """A loop over a batch, and what has to be asked before it."""

    loop: FastLoop
    questions: tuple[Question, ...]

    async def run(self, records: Sequence[Record], events: Events, outcomes: Outcomes) -> list[int]:
        """Fill the outcomes in; gives the numbers of the events that have to go the plain way."""
        unfit: list[int] = []
        try:
            answers = [await fetch(keys(events)) for keys, fetch in self.questions]
            self.loop(records, events, outcomes, answers, unfit)
        except (Exception, Unfit):  # noqa: BLE001 - the plain way says what it means for an event
            return [number for number, event in enumerate(events) if event is not None]
        return unfit


def build_fast(
    decoder: Decoder, steps: Sequence[Step], ending: Ending, present: frozenset[str]
) -> Fast | None:
    """Generate the fast way; None where a stage or a route does not allow it.

    Args:
        decoder: of the plan; events come from its `quickly`.
        steps: of the plan.
        ending: of the plan.
        present: fields that events bring themselves; what is added over them is not overlaid.
    """
    try:
        return _build(decoder, steps, ending, present)
    except CannotOverlay:
        return None


def _build(
    decoder: Decoder, steps: Sequence[Step], ending: Ending, present: frozenset[str]
) -> Fast:
    fuser = Fuser()
    fuser.names.update(NAMES)
    writes = [_writes(step) for step in steps]
    added = frozenset[str]().union(*writes) - present - frozenset(NOTES)
    overlay = Overlay(fuser, added)
    questions: list[Question] = []
    bodies: list[list[ast.stmt]] = []
    for number, step in enumerate(steps):
        if step.is_batch:
            before = frozenset(NOTES).union(*writes[:number])
            step, question = _ask_first(step, before)  # noqa: PLW2901
            lines = step_source(step, fuser, ["event", f"found_{len(questions)}"])
            questions.append(question)
        else:
            lines = step_source(step, fuser)
        bodies.append(ast.parse("\n".join(lines)).body)
    last = _ending(ending, fuser)
    parts = list(zip([*bodies, last], [*writes, frozenset[str]()], strict=True))
    for part, written in parts:
        overlay.survey(part, written)
    overlay.settle()
    done = [overlay.rewrite(part, written) for part, written in parts]
    each = ", ".join(["record", "event", *(f"found_{n}" for n in range(len(questions)))])
    begin = [
        *overlay.derive(done, frozenset(NOTES).union(*writes)),
        f"for number, ({each}) in enumerate(zip(records, events, *answers, strict=True)):",
    ]
    known, learn = shapes(
        lambda names: bool(names) and overlay.added.isdisjoint(names) and decoder.is_sound(names)
    )
    fuser.names.update(known_shapes=known, learn_shape=learn)
    body = overlay.body(_repeating(steps))
    loop = _compile(done, begin, body, overlay, frozenset(NOTES).union(*writes))
    return Fast(loop, tuple(questions))


def _writes(step: Step) -> frozenset[str]:
    if step.writes is None:
        raise CannotOverlay
    return step.writes


def _repeating(steps: Sequence[Step]) -> frozenset[str]:
    """Give the fields whose last writer says that its texts are few."""
    last = {field: step.repeats for step in steps for field in _writes(step)}
    return frozenset(field for field, repeats in last.items() if repeats)


def _ask_first(step: Step, written: frozenset[str]) -> tuple[Step, Question]:
    """Part a look-up into question and answer, where what it asks for is known beforehand."""
    function: Any = step.function
    if not hasattr(function, "fetch"):
        raise CannotOverlay
    keyed: Keyed = function
    for expression in filter(None, (keyed.key, step.when)):
        inline = inline_of(expression)
        if inline is None or not written.isdisjoint(fields_read(ast.parse(inline.source))):
            raise CannotOverlay
    answer = step._replace(function=keyed.apply, is_batch=False)
    return answer, Question(_keys(step.when, keyed.key), keyed.fetch)


def _keys(
    when: Callable[[Event], Any] | None, key: Callable[[Event], str | None]
) -> Callable[[Events], list[str | None]]:
    """Build the function that gives the keys of a batch."""
    fuser = Fuser()
    condition = fuser.expression(when, ["event"]) if when else "True"
    lines = [
        "def keys(events):",
        "    found = []",
        "    append = found.append",
        "    for event in events:",
        f"        if event is None or not ({condition}):",
        "            append(None)",
        "        else:",
        f"            append({fuser.expression(key, ['event'])})",
        "    return found",
    ]
    exec("\n".join(lines), fuser.names)  # noqa: S102 - as below
    function: Callable[[Events], list[str | None]] = fuser.names["keys"]
    return function


_BODY = "document"
"""Stands for the document until it is known which pieces it is made of."""


def _ending(ending: Ending, fuser: Fuser) -> list[ast.stmt]:
    return ast.parse("\n".join(ending_source(ending, fuser, _BODY))).body


class _PutBody(ast.NodeTransformer):
    def __init__(self, body: str) -> None:
        self.body = body

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.parse(self.body, mode="eval").body if node.id == _BODY else node


def _compile(
    parts: list[Part], begin: list[str], body: str, overlay: Overlay, written: frozenset[str]
) -> FastLoop:
    namespace = overlay.fuser.names
    lines = [
        "def loop(records, events, outcomes, answers, unfits):",
        *(f"    {line}" for line in begin),
        "        if event is None:",
        "            continue",
        "        names = tuple(event)",
        "        suits = known_shapes.get(names)",
        "        if not (learn_shape(names) if suits is None else suits):",
        "            unfits.append(number)",
        "            continue",
        *(f"        {line}" for line in overlay.preset(parts)),
        "        try:",
        "            pass",
        "        except (Exception, Unfit):",
        "            unfits.append(number)",
    ]
    tree = ast.parse("\n".join(lines))
    function: Any = tree.body[0]
    guarded = function.body[-1].body[-1]
    guarded.body = [_PutBody(body).visit(line) for part in parts for line in part]
    guarded.body[:0] = hoist(guarded.body, written - overlay.added)
    ast.fix_missing_locations(tree)
    exec(compile(tree, "<fast plan>", "exec"), namespace)  # noqa: S102 - generated from our own sources and checked expressions
    loop: FastLoop = namespace["loop"]
    return loop
