"""What the commands of `enricher dlq` share: which letters are meant, and in which queue."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from enricher.config import PipelineConfig
    from enricher.dead_letters.queue import Filter, Index, Queue


class Opened(NamedTuple):
    """A pipeline, its queue, and which letters are meant."""

    config: PipelineConfig
    queue: Queue
    chosen: Filter


def moment(_: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Read a time, and write it as letters note it, so that the texts compare."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        message = "write a time as 2025-10-20 or 2025-10-20T15:45+05:30"
        raise click.BadParameter(message, param=parameter) from None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return time.astimezone(UTC).isoformat(timespec="milliseconds")


OPTIONS = (
    click.argument("pipeline", type=click.Path(path_type=Path)),
    click.option("--stage", help="Letters of this stage or sink."),
    click.option("--error", help="Of this class of error."),
    click.option("--reason", metavar="TEXT", help="With this text in the reason."),
    click.option("--since", metavar="TIME", callback=moment,
                 help="Written at or after it; ISO 8601, UTC unless it says otherwise."),
    click.option("--until", metavar="TIME", callback=moment, help="Written at or before it."),
    click.option("--id", "ids", multiple=True, metavar="ID", help="Of this record."),
    click.option("--limit", type=click.IntRange(1), help="So many at most, the oldest first."),
    click.option("--dead-letters", type=click.Path(path_type=Path),
                 help="The file that holds them, in place of the pipeline's own topic or file."),
    click.option("--connections", type=click.Path(path_type=Path),
                 help="Stand-in for `connections:`."),
)  # fmt: skip
"""What every subcommand takes."""


def selecting(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the common options, and call it with an `Opened`."""

    @functools.wraps(function)
    def call(
        pipeline: Path, dead_letters: Path | None, connections: Path | None, **rest: Any
    ) -> None:
        from enricher.cli import logs
        from enricher.config import load, load_connections
        from enricher.dead_letters.queue import Filter

        logs.configure()
        given = {name: rest.pop(name) for name in ("stage", "error", "reason", "since", "until")}
        ids = frozenset((*rest.pop("ids"), *rest.pop("more_ids", ())))
        chosen = Filter(**given, ids=ids, limit=rest.pop("limit"))
        replacement = load_connections(connections) if connections else None
        config = load(pipeline, connections=replacement)
        function(Opened(config, open_queue(config, dead_letters), chosen), **rest)

    return functools.reduce(lambda inner, option: option(inner), reversed(OPTIONS), call)


def open_queue(config: PipelineConfig, file: Path | None) -> Queue:
    """Choose the queue as the daemon does. Raises UserError for a file that cannot be read."""
    from enricher.sinks import DEAD_LETTER_FILE, DEAD_LETTER_TOPIC

    settings, kafka = config.pipeline.dead_letters, config.pipeline.connections.kafka
    file = file or settings.file
    if file is None and kafka is not None:
        from enricher.dead_letters.topic import TopicQueue

        return TopicQueue(kafka, settings.topic or DEAD_LETTER_TOPIC)
    from enricher.dead_letters.file import FileQueue

    return FileQueue(file or DEAD_LETTER_FILE)


def find(opened: Opened) -> Index:
    """Find the letters that are meant, in an event loop of its own."""
    from enricher.dead_letters.queue import index

    name = opened.config.pipeline.name
    found = asyncio.run(index(opened.queue, name, opened.chosen))
    if found.others:
        from enricher.cli.outcomes import plain

        others = plain(", ".join(sorted(found.others)))
        click.echo(f"{opened.queue.name}: letters of {others} are there too, left alone", err=True)
    return found


def counted(number: int) -> str:
    """Write a number of letters."""
    return f"{number:,} dead letter{'' if number == 1 else 's'}"


def safe(line: bytes) -> str:
    """Give JSON; on a terminal with escapes for whatever it would act on."""
    text = line.decode()
    if not sys.stdout.isatty():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
