"""`enricher dry-run`."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from enricher.model import Record


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1)
@click.option("--format", "output", type=click.Choice(["pretty", "ndjson"]), default=None,
              help="`pretty` on a terminal, else `ndjson`: one line a record.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="Stop after so many records.")
@click.option("--explain", is_flag=True, help="Show what each stage does to each event.")
@click.option("--lookups", type=click.Path(path_type=Path),
              help='A file of {"key": …, "value": …} lines in place of Redis.')  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit with 1 where a record is dead-lettered.")
def command(
    pipeline: Path,
    files: tuple[str, ...],
    output: str | None,
    limit: int | None,
    explain: bool,
    lookups: Path | None,
    strict: bool,
) -> None:
    """Show what a pipeline makes of FILES (`-` or none: standard input).

    The same plan as the daemon's, no network, nothing written, constant memory.

    \b
    Examples:
      enricher dry-run pipelines/payments.yaml events.ndjson
      enricher generate -n 3 | enricher dry-run pipelines/payments.yaml --explain
      enricher dry-run pipelines/payments.yaml events.ndjson --format ndjson | jq .index
    """
    from enricher import memory
    from enricher.build import build
    from enricher.cli import outcomes
    from enricher.config import load
    from enricher.lookups import FileLookups, read_lookups
    from enricher.model import DeadLetter

    if explain and output == "ndjson":
        raise click.UsageError("--explain is for people: leave --format ndjson out")
    config = load(pipeline, connections={})
    plan = build(config, FileLookups(read_lookups(lookups)) if lookups else None)
    output = output or ("pretty" if sys.stdout.isatty() else "ndjson")
    dead = 0
    memory.settle()
    with asyncio.Runner() as runner:
        for records in batches(files or ("-",), limit):
            if explain:
                from enricher.cli.explain import explain as explain_record

                for record in records:
                    lines, outcome = runner.run(explain_record(plan, record))
                    click.echo("\n".join(lines))
                    dead += type(outcome) is DeadLetter
                continue
            done = runner.run(plan.process(records))
            if output == "pretty":
                click.echo("".join(map(outcomes.pretty, done)), nl=False)
            else:
                click.echo(b"".join(map(outcomes.ndjson, done)), nl=False)
            dead += sum(type(outcome) is DeadLetter for outcome in done)
    if strict and dead:
        click.echo(f"{dead} dead letter(s)", err=True)
        raise click.exceptions.Exit(1)


def batches(files: tuple[str, ...], limit: int | None) -> Iterator[list[Record]]:
    """Yield the records of files in batches, up to a limit."""
    from enricher.lines import read_records

    left = limit
    for records in itertools.chain.from_iterable(map(read_records, files)):
        if left is None:
            yield records
            continue
        yield records[:left]
        left -= len(records)
        if left <= 0:
            return
