"""The catalogue of sinks: what a route or an output may name, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from enricher.connections import Connections
from enricher.model import DeadLetterSink, OutputSink, Sink, UserError

if TYPE_CHECKING:
    from enricher.sinks.kafka import KafkaSink
    from enricher.sinks.store import StoreSink

DEAD_LETTER_TOPIC = "dead-letters"
DEAD_LETTER_FILE = Path("dead-letters.ndjson")


class Setting(NamedTuple):
    """What a sink may ask for when it is built."""

    connections: Connections
    template_folder: Path | None


def _elasticsearch(setting: Setting) -> Sink:
    if store := _store(setting):
        return store
    connection = setting.connections.elasticsearch
    if connection is None:
        raise UserError("connections.elasticsearch is missing, and a route needs it")
    from enricher.sinks.elasticsearch import ElasticsearchSink

    folders = [setting.template_folder] if setting.template_folder else []
    return ElasticsearchSink(connection, folders)


def _store(setting: Setting) -> StoreSink | None:
    """Build what stands in for all servers locally; a topic is an index of it."""
    connection = setting.connections.elasticsearch
    if connection is None or connection.store is None:
        return None
    from enricher.sinks.store import StoreSink

    return StoreSink(connection.store)


def _kafka(setting: Setting) -> KafkaSink | StoreSink:
    connection = setting.connections.kafka
    if connection is None:
        if store := _store(setting):
            return store
        raise UserError("connections.kafka is missing, and a route or an output needs it")
    from enricher.sinks.kafka import KafkaSink

    return KafkaSink(connection)


def _redis(setting: Setting) -> OutputSink:
    connection = setting.connections.redis
    if connection is None or connection.url is None:
        if store := _store(setting):
            return store
        raise UserError("connections.redis.url is missing, and an output needs it")
    from enricher.sinks.redis import RedisSink

    return RedisSink(connection)


def _console(setting: Setting) -> Sink:  # noqa: ARG001 - one shape for all sinks
    from enricher.sinks.console import ConsoleSink

    return ConsoleSink()


SINKS: dict[str, Callable[[Setting], Sink]] = {
    "elasticsearch": _elasticsearch,
    "kafka": _kafka,
    "console": _console,
}
OUTPUT_SINKS: dict[str, Callable[[Setting], OutputSink]] = {"kafka": _kafka, "redis": _redis}


def build_sinks(names: Iterable[str], setting: Setting) -> dict[str, Sink]:
    """Build the sinks that a plan's routes name. Raises UserError for a missing connection."""
    return {name: SINKS[name](setting) for name in sorted(names)}


def build_output_sinks(names: Iterable[str], setting: Setting) -> dict[str, OutputSink]:
    """Build the sinks of a plan's outputs: others than those of its routes, which may be busy.

    Raises UserError for a missing connection.
    """
    return {name: OUTPUT_SINKS[name](setting) for name in sorted(names)}


def build_dead_letters(
    setting: Setting, *, topic: str | None, file: Path | None, pipeline: str
) -> DeadLetterSink:
    """Build the dead-letter sink: the file where one is given, else the topic."""
    if file is not None or setting.connections.kafka is None:
        from enricher.sinks.dead_letter_file import DeadLetterFile

        return DeadLetterFile(file or DEAD_LETTER_FILE, pipeline)
    from enricher.sinks.dead_letter_kafka import DeadLetterTopic

    return DeadLetterTopic(setting.connections.kafka, topic or DEAD_LETTER_TOPIC, pipeline)
