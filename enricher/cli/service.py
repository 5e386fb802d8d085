"""Put a pipeline together for one run: plan, sources, sinks, and the signals that end it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from enricher import memory, signals
from enricher.address import Address
from enricher.alerts.alerting import Alerting
from enricher.budget import DEFAULT_BUDGET_MIB, Budget
from enricher.build import build, build_alerts, unsent
from enricher.config import PipelineConfig
from enricher.dead_letters.masking import letter_mask
from enricher.lookups import Lookups, open_lookups
from enricher.model import Alert, Document, Source, UserError
from enricher.monitor import watched
from enricher.reload import Reloader
from enricher.runtime import Runtime
from enricher.sinks import Setting, build_dead_letters, build_output_sinks, build_sinks
from enricher.sources.base import Setting as SourceSetting
from enricher.sources.file import FileSource
from enricher.state import States, open_states
from enricher.words import suggest

log = structlog.get_logger(__name__)


class Options(NamedTuple):
    """What the command line may change of a run."""

    files: Sequence[str] = ()
    only_sources: Sequence[str] = ()
    dead_letter_file: Path | None = None
    budget_bytes: int = DEFAULT_BUDGET_MIB << 20
    drain_s: float = 30.0
    on_alert: Callable[[Alert], None] | None = None
    worker: int | None = None
    """Which of several workers this is."""
    shared: bool = False
    """Whether the sources are shared with other workers."""
    watch: bool = False
    """Whether a changed file is enough for a reload."""
    sends: bool = True
    """Whether alerts are sent, and not only counted and printed."""


def assemble(config: PipelineConfig, options: Options, lookups: Lookups, states: States) -> Runtime:
    """Build everything that a run needs; nothing is connected yet. Raises UserError."""
    connections = config.pipeline.connections
    plan = build(config, lookups, states)
    folder = config.pipeline.templates
    setting = Setting(connections, folder and config.folder / folder)
    names = {route.sink for route in config.pipeline.routes}
    return Runtime(
        plan=plan,
        sources=build_sources(config, options),
        sinks=build_sinks(names, setting),
        output_sinks=build_output_sinks({one.sink for one in config.pipeline.outputs}, setting),
        dead_letters=build_dead_letters(
            setting,
            topic=config.pipeline.dead_letters.topic,
            file=options.dead_letter_file or config.pipeline.dead_letters.file,
            pipeline=config.label,
        ),
        budget=Budget(options.budget_bytes),
        lookups=lookups,
        unverified=connections.unverified,
        mask=letter_mask(config),
        drain_s=options.drain_s,
        pipeline=config.pipeline.name,
        digest=config.digest,
    )


def prepare(read: Callable[[], PipelineConfig], options: Options) -> Reloader:
    """Read a pipeline, and build its run and what reloads it. Raises UserError."""
    config = read()
    lookups = open_lookups(config.pipeline.connections.redis)
    states = open_states(lookups)
    runtime = assemble(config, options, lookups, states)
    for name in runtime.unverified:
        log.warning(
            "certificates are not verified, anybody may answer in its place; "
            "leave verify_certificates out",
            connection=f"connections.{name}",
        )
    alerting = None
    if options.sends:
        alerting = Alerting(config.pipeline.connections)
        alerting.adopt(build_alerts(config))
        alerting.unsent = unsent(config) if options.worker in (None, 1) else []
    runtime.on_alerts = tell(options.on_alert, alerting)
    reloader = Reloader(runtime, config, read, states, watch=options.watch)
    reloader.alerting = alerting
    return reloader


def tell(
    show: Callable[[Alert], None] | None, alerting: Alerting | None
) -> Callable[[Sequence[Document]], None]:
    """Build what gets the documents that alerts matched: some are shown, all are sent."""

    def on_alerts(documents: Sequence[Document]) -> None:
        if show:
            for document in documents:
                for alert in document.alerts:
                    show(alert)
        if alerting:
            alerting.take(documents)

    return on_alerts


def build_sources(config: PipelineConfig, options: Options) -> list[Source]:
    """Build the sources that are wanted: files given by hand, or those of the pipeline."""
    if options.files:
        return [FileSource(options.files)]
    known = [source.name for source in config.sources]
    for name in options.only_sources:
        if name not in known:
            raise UserError(
                f'no source "{name}"{suggest(name, known)}; there are: {", ".join(known)}'
            )
    only = options.only_sources
    chosen = [one for one in config.sources if (one.name in only if only else one.enabled)]
    if not chosen:
        hint = f"enable one of {', '.join(known)}" if known else "name them under `sources:`"
        raise UserError(f"{config.file}: no sources; {hint}, or give files")
    worker = (options.worker or 0) if options.shared else None
    setting = SourceSetting(config.pipeline.connections, config.folder, worker)
    sources: list[Source] = []
    for source in chosen:
        try:
            sources.append(source.build(setting))
        except UserError as error:
            raise UserError(f"{config.file}: source {source.name} {error}") from None
    return sources


def run_to_end(
    runtime: Runtime,
    during: Callable[[], Any] | None = None,
    admin: Address | None = None,
    reloader: Reloader | None = None,
    alerting: Alerting | None = None,
    *,
    lifeline: int | None = None,
) -> bool:
    """Run until the sources end or a signal comes. Returns whether all that was read is settled.

    SIGTERM and SIGINT stop reading and drain; a second one ends the process at once, which a
    restart repairs. SIGHUP reloads. The end of `lifeline`, a descriptor that a supervisor holds
    the other end of, is as good as a signal; whoever has a supervisor, it alone kills.
    """

    async def main() -> bool:
        stopping = asyncio.Event()
        sending = alerting.running(runtime.drain_s) if alerting else nullcontext()
        stop = partial(_stop, stopping)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set if lifeline is not None else stop)
        beside = [asyncio.create_task(_watch(during))] if during else []
        if reloader:
            loop.add_signal_handler(signal.SIGHUP, reloader.request)
            beside.append(asyncio.create_task(reloader.follow()))
        if lifeline is not None:
            loop.add_reader(lifeline, _end_with, lifeline, stopping)
        signals.release()
        try:
            async with watched(runtime, stopping, admin, alerting), sending:
                return await runtime.run(stopping)
        finally:
            for task in beside:
                task.cancel()

    memory.settle()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(main())
    except BaseExceptionGroup as group:
        known = group.subgroup(UserError)
        if known is not None:
            raise _first(known) from None
        pipe, others = group.split(BrokenPipeError)
        if pipe is not None and others is None:  # whoever read the console sink's output is gone
            raise BrokenPipeError from None
        raise


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _stop(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        sys.stderr.write("stopped at once; what was not acknowledged will be read again\n")
        sys.stderr.flush()
        os._exit(1)
    stopping.set()


def _end_with(lifeline: int, stopping: asyncio.Event) -> None:
    asyncio.get_running_loop().remove_reader(lifeline)
    if not stopping.is_set():
        log.error("the supervisor is gone; this worker drains and stops")
        stopping.set()


async def _watch(during: Callable[[], Any]) -> None:
    while True:
        during()
        await asyncio.sleep(0.1)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
