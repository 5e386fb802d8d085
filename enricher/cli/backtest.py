"""`enricher backtest`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from enricher.backtest.backtest import Backtest
    from enricher.backtest.history import History
    from enricher.backtest.order import Entry
    from enricher.backtest.result import Changed, Result


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1)
@click.option("--labels", type=click.Path(path_type=Path),
              help='Which events were fraud: {"payment_id": …, "fraud": true} lines.')  # fmt: skip
@click.option("--label-field", metavar="FIELD",
              help="Field that names an event; by default a label's first.")  # fmt: skip
@click.option("--against", type=click.Path(path_type=Path), metavar="PIPELINE",
              help="Another pipeline file: show what it would change.")  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write a report with plots, one HTML file.")  # fmt: skip
@click.option("--format", "output", type=click.Choice(["pretty", "ndjson", "json"]),
              default="pretty", show_default=True,
              help="`json`: the figures as one object. `ndjson`: a line for each scored event; "
              "with --against, for each that would change.")  # fmt: skip
@click.option("--lookups", type=click.Path(path_type=Path),
              help='A file of {"key": …, "value": …} lines in place of Redis.')  # fmt: skip
@click.option("--lateness", type=click.FloatRange(0), metavar="SECONDS", default=300.0,
              show_default=True, help="Put events in order that are late by so much.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="Stop after so many events.")
@click.option("--fail-if-changed", is_flag=True,
              help="Exit with 1 where --against would change an event.")  # fmt: skip
def command(
    pipeline: Path,
    files: tuple[str, ...],
    labels: Path | None,
    label_field: str | None,
    against: Path | None,
    report: Path | None,
    output: str,
    lookups: Path | None,
    lateness: float,
    limit: int | None,
    fail_if_changed: bool,
) -> None:
    """Run history through the rules of a pipeline, and show what they would have done.

    FILES of JSON lines (gzip too, `-` or none: standard input) are read side by side, in order of
    their events' times. The same plan as the daemon's; no network, nothing written, nobody is told
    of an alert. Memory does not grow with the number of events.

    Of each `score` stage: hits of every rule, scores, levels. With labels: precision, recall, and
    both by threshold.

    \b
    Examples:
      enricher generate --fraud 0.01 -n 100000 --labels labels.ndjson > history.ndjson
      enricher generate --users > users.ndjson
      enricher backtest pipelines/payments.yaml history.ndjson --labels labels.ndjson \\
        --lookups users.ndjson --report report.html
      enricher backtest pipelines/payments.yaml history.ndjson --against new.yaml
      enricher backtest pipelines/payments.yaml history.ndjson --format ndjson | head
    """
    from enricher import memory
    from enricher.backtest.backtest import Backtest
    from enricher.backtest.history import History
    from enricher.backtest.labels import read_labels
    from enricher.config import load
    from enricher.lookups import FileLookups, read_lookups

    if fail_if_changed and not against:
        raise click.UsageError("--fail-if-changed needs --against")
    if label_field and not labels:
        raise click.UsageError("--label-field needs --labels")
    known = read_labels(labels, label_field) if labels else None
    backtest = Backtest(
        load(pipeline, connections={}),
        FileLookups(read_lookups(lookups)) if lookups else None,
        known,
        load(against, connections={}) if against else None,
    )
    history = History(files or ("-",), lateness, known.named_by if known else None)
    memory.settle()
    begin = time.monotonic()
    run(backtest, history, limit, print_lines if output == "ndjson" else None)
    result = backtest.result(history, files or ("-",), time.monotonic() - begin)
    show(result, output)
    if report:
        write(report, result)
    if fail_if_changed and result.against and result.against.changed:
        raise click.exceptions.Exit(1)


def run(
    backtest: Backtest,
    history: History,
    limit: int | None,
    each: Callable[[Backtest, Sequence[Entry], list[Changed]], None] | None,
) -> None:
    """Run the whole history; call `each` with every batch and what would change of it."""

    async def all_of_it(update: Callable[[int], None]) -> None:
        for entries in history.batches(backtest.config, backtest.rules.plan, limit):
            changed = await backtest.add(entries)
            if each:
                each(backtest, entries, changed)
            update(backtest.tally.records)

    with progress() as update:
        asyncio.run(all_of_it(update))


def print_lines(backtest: Backtest, entries: Sequence[Entry], changed: list[Changed]) -> None:
    """Print a line for each event that would change or, with one pipeline, that was scored."""
    from enricher.backtest.lines import changed_as_dict, line

    lines: Iterator[dict[str, Any]] | list[dict[str, Any]]
    lines = [changed_as_dict(one) for one in changed]
    if not backtest.against:
        lines = backtest.scored(entries)
    click.echo(b"".join(map(line, lines)), nl=False)


def show(result: Result, output: str) -> None:
    """Print the figures; the lines of `ndjson` stand alone."""
    if output == "json":
        from enricher.backtest.lines import as_json

        click.echo(as_json(result), nl=False)
    elif output == "pretty":
        from enricher.cli.backtest_text import as_text

        click.echo(as_text(result))


def write(file: Path, result: Result) -> None:
    """Write the report."""
    from enricher.backtest.page import page
    from enricher.model import UserError

    try:
        file.write_text(page(result), encoding="utf-8")
    except OSError as error:
        raise UserError(f"report {file} cannot be written: {error.strerror}") from None


@contextmanager
def progress() -> Iterator[Callable[[int], None]]:
    """Show how many events are done, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield lambda count: status.update(f"{count:,} events")
