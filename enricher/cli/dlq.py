"""`enricher dlq`: look into the dead-letter queue of a pipeline, replay or purge it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import click

from enricher.cli.dlq_replay import replay
from enricher.cli.dlq_selection import Opened, counted, find, safe, selecting

if TYPE_CHECKING:
    from enricher.dead_letters.queue import Entry, Queue


@click.group()
def command() -> None:
    """Look into the dead letters of a pipeline, replay or purge them.

    They are read from the Kafka topic that the pipeline names, or from a file (--dead-letters).
    Letters of other pipelines in the same place are left alone.

    \b
    Examples:
      enricher dlq list pipelines/payments.yaml
      enricher dlq show pipelines/payments.yaml payment-logs-0-17-1760957130000
      enricher dlq replay pipelines/payments.yaml --dry-run
      enricher dlq replay pipelines/payments.yaml --stage json --since 2025-10-20
      enricher dlq purge pipelines/payments.yaml --error NotJson
    """


@command.command("list")
@selecting
@click.option("--format", "output", type=click.Choice(["text", "json", "ndjson"]), default="text",
              help="`json`: one object; `ndjson`: one line a kind.")  # fmt: skip
def list_(opened: Opened, output: str) -> None:
    """Count dead letters by stage, error, reason and pipeline version.

    Numbers and quoted texts in reasons are left out, so that like ones are counted together.

    \b
    Examples:
      enricher dlq list pipelines/payments.yaml
      enricher dlq list pipelines/payments.yaml --since 2025-10-20T00:00+05:30 --format json
      enricher dlq list pipelines/payments.yaml --dead-letters dead-letters.ndjson
    """
    import orjson

    from enricher.cli.outcomes import plain

    entries = find(opened).entries
    asyncio.run(opened.queue.close())
    kinds = [kind_of(entries) for entries in grouped(entries)]
    if output == "json":
        whole = {"queue": opened.queue.name, "dead_letters": len(entries), "kinds": kinds}
        click.echo(safe(orjson.dumps(whole)))
        return
    for kind in kinds:
        if output == "ndjson":
            click.echo(safe(orjson.dumps(kind)))
            continue
        title = plain(f"{kind['count']:,}  {kind['stage']}: {kind['error']}")
        title = click.style(title, bold=True)
        click.echo(f"{title}  {plain(kind['pipeline'])}")
        click.echo(f"    {plain(kind['reason'])}")
        click.echo(f"    {kind['first']} … {kind['last']}")
        click.echo(f"    for example {plain(kind['example'])}")
    if output == "text":
        name = opened.config.pipeline.name
        click.echo(f"{counted(len(entries))} of {name} in {opened.queue.name}")


def grouped(entries: list[Entry]) -> list[list[Entry]]:
    """Put like entries together, the most frequent first."""
    kinds: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        kind = (entry.stage, entry.error, entry.shape, entry.pipeline)
        kinds.setdefault(kind, []).append(entry)
    return sorted(kinds.values(), key=len, reverse=True)


def kind_of(entries: list[Entry]) -> dict[str, Any]:
    """Give the stable form that programs read; entries are in order of time."""
    first, last = entries[0], entries[-1]
    return {
        "count": len(entries),
        "stage": first.stage,
        "error": first.error,
        "reason": first.shape,
        "pipeline": first.pipeline,
        "first": first.time,
        "last": last.time,
        "example": first.id,
    }


@command.command()
@selecting
@click.argument("more_ids", nargs=-1, metavar="[ID]...")
@click.option("--format", "output", type=click.Choice(["text", "ndjson"]), default="text",
              help="`ndjson`: one line a letter, which --dead-letters takes.")  # fmt: skip
def show(opened: Opened, output: str) -> None:
    """Show dead letters whole.

    Where they came from, why they are here, and their bytes, as hex where they are no text.
    Exit code 1 where there is none of an ID.

    \b
    Examples:
      enricher dlq show pipelines/payments.yaml payment-logs-0-17-1760957130000
      enricher dlq show pipelines/payments.yaml --error NotJson --limit 3
      enricher dlq show pipelines/payments.yaml --format ndjson > backup.ndjson
    """
    from enricher.cli.outcomes import plain

    entries = find(opened).entries
    asyncio.run(show_all(opened.queue, entries, output))
    missing = opened.chosen.ids - {entry.id for entry in entries}
    for name in sorted(missing):
        click.echo(f"no dead letter {plain(name)} in {opened.queue.name}", err=True)
    if missing:
        raise click.exceptions.Exit(1)


async def show_all(queue: Queue, entries: list[Entry], output: str) -> None:
    """Print letters as they are read."""
    from enricher.cli.dlq_text import as_text
    from enricher.dead_letters.letter import to_line

    async for letters in queue.read(entries):
        for letter in letters:
            if output == "ndjson":
                click.echo(safe(to_line(letter).rstrip()))
            else:
                click.echo(as_text(letter))
    await queue.close()


@command.command()
@selecting
@click.option("--yes", is_flag=True, help="Purge all without asking.")
def purge(opened: Opened, yes: bool) -> None:
    """Remove dead letters for good, without replaying them.

    A filter says what is meant; without one it asks, or wants --yes. A letter that was written
    while this ran stays.

    \b
    Examples:
      enricher dlq purge pipelines/payments.yaml --error NotJson --until 2025-10-01
      enricher dlq purge pipelines/payments.yaml --yes
    """
    from enricher.dead_letters.queue import Filter

    sure = yes or opened.chosen != Filter()
    if not sure and not sys.stdin.isatty():
        raise click.UsageError("this removes every dead letter: give --yes, or a filter")
    entries = find(opened).entries
    if not sure and entries:
        where = f"of {opened.config.pipeline.name} in {opened.queue.name}"
        if not click.confirm(f"remove {counted(len(entries))} {where} for good?", err=True):
            asyncio.run(opened.queue.close())
            click.echo("nothing was removed", err=True)
            raise click.exceptions.Exit(1)
    asyncio.run(remove_all(opened.queue, entries))
    click.echo(f"{counted(len(entries) - opened.queue.kept)} removed from {opened.queue.name}")
    if opened.queue.kept:
        click.echo(f"{opened.queue.kept} stay: they were written anew meanwhile", err=True)
        raise click.exceptions.Exit(1)


async def remove_all(queue: Queue, entries: list[Entry]) -> None:
    """Remove entries, some thousand at a time, and close the queue."""
    try:
        for begin in range(0, len(entries), 10_000):
            await queue.remove(entries[begin : begin + 10_000])
    finally:
        await queue.close()


command.add_command(replay)
