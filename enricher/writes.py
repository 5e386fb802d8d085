"""Write what a delivery came to, all of it at the same time, and say what was refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from enricher.model import (
    DeadLetter,
    Delivery,
    Document,
    Outcome,
    Output,
    OutputSink,
    Rejected,
    Sink,
)
from enricher.tally import Tally

RECORD_OVERHEAD = 600
"""Bytes of the tuples, texts and numbers around one record and its document (measured)."""


def footprint(
    delivery: Delivery, outcomes: Sequence[Outcome], outputs: Sequence[Output] = ()
) -> int:
    """Estimate the bytes that a delivery holds until it is settled; a body is copied to be sent."""
    bodies = sum([len(outcome[5]) for outcome in outcomes if type(outcome) is Document])
    bodies += sum([len(output.body) for output in outputs])
    return delivery.size + 2 * bodies + RECORD_OVERHEAD * (len(outcomes) + len(outputs))


def outputs_of(outcomes: Iterable[Outcome]) -> list[Output]:
    """Give the outputs of all documents."""
    return [one for each in outcomes if type(each) is Document for one in each.outputs]


async def write(
    documents: list[Document],
    outputs: list[Output],
    sinks: Mapping[str, Sink],
    output_sinks: Mapping[str, OutputSink],
    tally: Tally,
) -> list[Rejected]:
    """Return once everything is durable or refused for good; give what is refused."""
    writes: list[Coroutine[Any, Any, list[Rejected]]] = [
        _write_documents(sinks[name], name, those, tally)
        for name, those in _by(_SINK, documents).items()
    ]
    writes += [
        _write_outputs(output_sinks[name], those, tally)
        for name, those in _by(lambda output: output.to.sink, outputs).items()
    ]
    return [one for rejected in await asyncio.gather(*writes) for one in rejected]


async def _write_documents(
    sink: Sink, name: str, documents: list[Document], tally: Tally
) -> list[Rejected]:
    rejected = await sink.write(documents)
    if rejected:
        gone = {id(one.document) for one in rejected}
        documents = [document for document in documents if id(document) not in gone]
    tally.note_latency(name, "", documents)
    return rejected


async def _write_outputs(sink: OutputSink, outputs: list[Output], tally: Tally) -> list[Rejected]:
    rejected = await sink.write(outputs)
    gone = {id(one.document) for one in rejected}
    for to, those in _by(_DESTINATION, outputs).items():
        sent = [output for output in those if id(output) not in gone]
        tally.outputs[to.name] += len(sent)
        tally.note_latency(to.sink, to.name, sent)
    return rejected


def dead_letters_of(refused: Iterable[Rejected]) -> list[DeadLetter]:
    """Give one dead letter for each record that something was refused of: the first reason."""
    found: dict[int, DeadLetter] = {}
    for document, error, reason in refused:
        stage = document.sink if type(document) is Document else document.to.name  # type: ignore[union-attr]
        letter = DeadLetter(document.record, stage, error, reason)
        found.setdefault(id(document.record), letter)
    return list(found.values())


def replaced(outcomes: Iterable[Outcome], letters: Sequence[DeadLetter]) -> list[Outcome]:
    """Put the dead letters in the place of what their records came to."""
    gone = {id(letter.record) for letter in letters}
    return [*(outcome for outcome in outcomes if id(outcome.record) not in gone), *letters]


def _by(key: Callable[[Any], Any], items: list[Any]) -> dict[Any, list[Any]]:
    """Part items; nearly always there is one part."""
    keys = dict.fromkeys(map(key, items))
    if len(keys) == 1:
        return dict.fromkeys(keys, items)
    return {one: [item for item in items if key(item) == one] for one in keys}


_SINK = itemgetter(Document._fields.index("sink"))
_DESTINATION = itemgetter(Output._fields.index("to"))
