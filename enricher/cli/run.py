"""`enricher run`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from enricher.address import Address
    from enricher.config import PipelineConfig
    from enricher.model import Alert
    from enricher.reload import Reloader
    from enricher.runtime import Runtime

SHOWN_ALERTS = 10
"""Alerts of one name that are printed; the rest is counted."""


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1)
@click.option(
    "--local", is_flag=True, help="No servers: documents go to a SQLite file, alerts are printed."
)
@click.option("--connections", type=click.Path(path_type=Path), help="Stand-in for `connections:`.")
@click.option("--source", "only", multiple=True, metavar="NAME",
              help="Only these sources, enabled or not.")  # fmt: skip
@click.option("--store", type=click.Path(path_type=Path), default=Path("enricher.db"),
              show_default=True, help="With --local: the SQLite file.")  # fmt: skip
@click.option("--lookups", type=click.Path(path_type=Path),
              help='With --local: {"key": …, "value": …} lines in place of Redis.')  # fmt: skip
@click.option("--dead-letters", type=click.Path(path_type=Path),
              help="A file for dead letters; with --local dead-letters.ndjson.")  # fmt: skip
@click.option(
    "--budget-mib",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Bytes in flight, at most.",
)
@click.option(
    "--drain-s",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Deadline of a shutdown.",
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True,
              help="Processes that share the partitions; each has its own budget.")  # fmt: skip
@click.option("--worker", type=click.IntRange(1), hidden=True,
              help="Set by the supervisor: which worker this is.")  # fmt: skip
@click.option("--watch/--no-watch", default=True, show_default=True,
              help="Reload when the pipeline or a file it uses changes.")  # fmt: skip
@click.option("--admin", metavar="ADDRESS", envvar="ENRICHER_ADMIN", show_envvar=True,
              help="HOST:PORT, unix:PATH or off: metrics and health. By default "
              "127.0.0.1:9600 for a daemon, off with FILES.")  # fmt: skip
@click.option("--log-format", type=click.Choice(["auto", "json", "console"]), default="auto",
              show_default=True, help="Of the log; auto is JSON unless on a terminal.")  # fmt: skip
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]),
              default="info", show_default=True, help="The least that is logged.")  # fmt: skip
@click.option("--format", "output", type=click.Choice(["text", "json"]), default="text",
              show_default=True, help="Of the summary at the end.")  # fmt: skip
def command(
    pipeline: Path,
    files: tuple[str, ...],
    local: bool,
    connections: Path | None,
    only: tuple[str, ...],
    store: Path,
    lookups: Path | None,
    dead_letters: Path | None,
    budget_mib: int,
    drain_s: float,
    workers: int,
    worker: int | None,
    watch: bool,
    admin: str | None,
    log_format: str,
    log_level: str,
    output: str,
) -> None:
    """Run a pipeline: as a daemon on its sources, or over FILES to their end.

    A file may be gzip; `-` is standard input. SIGTERM stops reading, settles what was read,
    commits and exits with 0; with 1 where the deadline passed. SIGHUP, or a changed file, swaps
    stages, routes, alerts and tables; on a mistake the old ones go on. A daemon serves /metrics,
    /health/live, /health/ready and /status at the address of --admin. With --workers a
    supervisor does that for all, and starts again those that die.

    \b
    Examples:
      enricher run pipelines/payments.yaml
      enricher run pipelines/payments.yaml events.ndjson --local
      zcat old.gz | enricher run pipelines/payments.yaml - --local --store old.db
    """
    from enricher import admin as endpoint
    from enricher import signals
    from enricher.cli import logs

    signals.hold()
    if local and connections:
        raise click.UsageError("--local stands in for --connections; give one of them")
    if lookups and not local:
        raise click.UsageError("--lookups needs --local; with servers Redis is asked")
    if files and only:
        raise click.UsageError("FILES are read in place of the sources; leave --source out")
    if files and workers > 1:
        raise click.UsageError("FILES cannot be shared; leave --workers out")
    logs.configure(log_format, log_level, worker)
    address = endpoint.parse(admin or ("off" if files else endpoint.DEFAULT))

    def prepare() -> Reloader:
        from enricher.cli import service

        letters = dead_letters or (Path("dead-letters.ndjson") if local else None)
        options = service.Options(
            *(files, only, letters, budget_mib << 20, drain_s, alert_printer()),
            *(worker, workers > 1, watch, not local),
        )
        again = partial(read, pipeline, connections, store if local else None, lookups)
        return service.prepare(again, options)

    if workers > 1 and worker is None:
        from enricher.cli.supervise import supervise

        raise click.exceptions.Exit(supervise(prepare, workers, address=address, drain_s=drain_s))
    form = "json" if worker is not None else output
    lifeline = None if worker is None else sys.stdin.fileno()
    settled = run_alone(prepare(), form, address=address, reloads=not files, lifeline=lifeline)
    if local and output == "text":
        query = 'select "index", count(*) from documents group by 1'
        click.echo(f"\nlook into it: sqlite3 {store} '{query}'")
    if not settled:
        click.echo("the drain's deadline passed: what was not settled will be read again", err=True)
        raise click.exceptions.Exit(1)


def run_alone(
    reloader: Reloader, form: str, *, address: Address | None, reloads: bool, lifeline: int | None
) -> bool:
    """Run in this process to the end, and print the summary. Returns whether all is settled."""
    from enricher.cli import service, summary

    runtime = reloader.runtime
    stopwatch = summary.Stopwatch()
    with progress_bar(runtime) as update:
        settled = service.run_to_end(
            *(runtime, update, address, reloader if reloads else None, reloader.alerting),
            lifeline=lifeline,
        )
    render = summary.as_json if form == "json" else summary.as_text
    click.echo(render(runtime.tally, stopwatch.elapsed_s()))
    return settled


def read(
    pipeline: Path, connections: Path | None, store: Path | None, lookups: Path | None
) -> PipelineConfig:
    """Load a pipeline, with what stands in for its connections. Raises ConfigError."""
    from enricher.config import load, load_connections

    replacement: dict[str, Any] | None = load_connections(connections) if connections else None
    if store:
        replacement = {"elasticsearch": {"store": str(store)}}
        if lookups:
            replacement["redis"] = {"file": str(lookups)}
    return load(pipeline, connections=replacement)


def alert_printer() -> Callable[[Alert], None]:
    """Build the function that prints alerts, the first few of each name."""
    from enricher.cli.outcomes import plain

    shown: dict[str, int] = {}

    def show(alert: Alert) -> None:
        count = shown[alert.name] = shown.get(alert.name, 0) + 1
        if count <= SHOWN_ALERTS:
            click.echo(plain(f"ALERT {alert.name}: {alert.summary}"), err=True)
        if count == SHOWN_ALERTS + 1:
            click.echo(f"ALERT {alert.name}: more of them are only counted", err=True)

    return show


class progress_bar:  # noqa: N801 - used as a function
    """Show how far reading files has come, on a terminal only."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.bar: Any = None

    def __enter__(self) -> Callable[[], None] | None:
        source: Any = self.runtime.sources[0]
        if not sys.stderr.isatty() or not hasattr(source, "read_bytes"):
            return None
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

        self.bar = Progress(
            BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=Console(stderr=True),
            transient=True,
        )  # fmt: skip
        task = self.bar.add_task("", total=None)
        self.bar.start()
        return lambda: self.bar.update(task, completed=source.read_bytes, total=source.total_bytes)

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()
