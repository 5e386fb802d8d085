"""Swap the plan of a run when its files change; on any mistake the old one goes on."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from enricher import memory, notify
from enricher.alerts.alerting import Alerting
from enricher.alerts.compiled import Compiled
from enricher.build import build, build_alerts, unsent
from enricher.config import PipelineConfig
from enricher.dead_letters.masking import LetterMask, letter_mask
from enricher.lookups import open_lookups
from enricher.lookups.keyed import keep_answers
from enricher.model import ConfigError, UserError
from enricher.plan import Plan
from enricher.runtime import Runtime
from enricher.state import States

log = structlog.get_logger(__name__)

LOOK_S = 0.5
"""Seconds between two looks at the files. Looking works where events do not come: on network
and bind mounts, and with the links that Kubernetes swaps."""

SWAP_S = 60.0
"""Seconds that a new plan waits for what was read under the old one; then it is begun anew."""

Stamps = dict[Path, tuple[int, int, int]]


class Fresh(NamedTuple):
    """What was built of the files as they are now."""

    config: PipelineConfig
    plan: Plan
    alerts: list[Compiled]
    mask: LetterMask | None


class Reloader:
    """Keeps a run at the newest plan that its files allow.

    Args:
        runtime: The run.
        config: What it was built from.
        load: Reads the pipeline file anew; raises UserError.
        states: What stages remember; kept, as what look-ups ask is.
        watch: Whether a changed file is enough.
    """

    def __init__(
        self,
        runtime: Runtime,
        config: PipelineConfig,
        load: Callable[[], PipelineConfig],
        states: States,
        *,
        watch: bool = True,
    ) -> None:
        self.runtime = runtime
        self.alerting: Alerting | None = None
        """What sends alerts; kept, with what waits to be sent."""
        self._config = config
        self._load = load
        self._states = states
        self._watch = watch
        self._files = files_of(config)
        self._seen = stamps(self._files)
        """Of the files that the last attempt read."""
        self._requested = asyncio.Event()

    def request(self) -> None:
        """Reload soon, whether something changed or not."""
        self._requested.set()

    async def follow(self) -> None:
        """Reload for ever: when asked to, and when a file is another one.

        A change counts once it has lasted for two looks: what is half written, or away while an
        editor replaces it, is none yet.
        """
        before = self._seen
        while True:
            requested = await self._wait(LOOK_S if self._watch else None)
            now = await asyncio.to_thread(stamps, self._files)
            if requested or (now == before != self._seen):
                await self.reload()
            before = now

    async def _wait(self, seconds: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._requested.wait()
        except TimeoutError:
            return False
        self._requested.clear()
        return True

    async def reload(self) -> None:
        """Build the plan of the files as they are, and swap it in between two deliveries."""
        reloads = self.runtime.reloads
        reloads.last_time, reloads.last_error = time.time(), None
        with notify.reloading():
            try:
                fresh = await asyncio.to_thread(self._build)
                await self._install_templates(fresh.config)
                await self._swap(fresh)
            except Exception as error:  # noqa: BLE001 - a stage of the user's, a damaged file
                reloads.failed += 1
                reloads.last_error = self._tell(error)
            else:
                reloads.ok += 1
                log.info("reloaded", file=str(self._config.file), pipeline=self._config.label)

    async def _swap(self, fresh: Fresh) -> None:
        runtime, config = self.runtime, fresh.config
        try:
            async with asyncio.timeout(SWAP_S), runtime.paused():
                runtime.plan, runtime.mask = fresh.plan, fresh.mask
                runtime.pipeline, runtime.digest = config.pipeline.name, config.digest
                runtime.dead_letters.pipeline = config.label
                if self.alerting:
                    self.alerting.adopt(fresh.alerts)
                    self.alerting.unsent, before = unsent(config), self.alerting.unsent
                    if self.alerting.unsent != before:
                        self.alerting.warn()
                self._config = config
                memory.renew()
        except TimeoutError:
            self._requested.set()  # and again, until it can be done
            raise UserError(
                f"{config.file}: what was read before is not settled after {SWAP_S:g} s "
                "(/health/ready says what it waits for); tried again, or restart enricher"
            ) from None

    def _build(self) -> Fresh:
        """Load, check and compile, in a thread: it may take longer than heartbeats can wait."""
        self._seen = stamps(self._files)  # before they are read: a later change is one
        config = self._load()
        self._files = files_of(config)  # also where one of them hinders the building
        known, self._seen = self._seen, stamps(self._files)
        self._seen |= {path: at for path, at in known.items() if path in self._seen}
        fixed = changed(self._config, config, self.runtime)
        if fixed:
            raise UserError(
                f"{config.file}: {', '.join(fixed)} changed, which needs a restart: "
                "restart enricher, or undo the change"
            )
        redis = config.pipeline.connections.redis
        lookups = open_lookups(redis) if redis and redis.file else self.runtime.lookups
        plan = build(config, lookups, self._states)
        if isinstance(self.runtime.plan, Plan):
            plan.prepare(self.runtime.plan)
            former = [step.function for step in self.runtime.plan.steps]
            keep_answers(former, [step.function for step in plan.steps])
        alerts = build_alerts(config) if self.alerting else []
        return Fresh(config, plan, alerts, letter_mask(config))

    async def _install_templates(self, config: PipelineConfig) -> None:
        sink: Any = self.runtime.sinks.get("elasticsearch")
        if config.pipeline.templates is not None and hasattr(sink, "install"):
            await sink.install(config.folder / config.pipeline.templates)

    def _tell(self, error: Exception) -> str:
        problems = error.problems if isinstance(error, ConfigError) else ()
        texts = [str(problem) for problem in problems]
        if not texts:
            texts = [str(error) if isinstance(error, UserError) else repr(error)]
        for text in texts:
            log.error("not reloaded, the old plan goes on", problem=text)
        return texts[0]


def changed(old: PipelineConfig, new: PipelineConfig, runtime: Runtime) -> list[str]:
    """Name what differs and cannot be swapped in a run."""
    found = [
        name
        for name, before, after in (
            ("sources", old.sources, new.sources),
            ("connections", old.pipeline.connections, new.pipeline.connections),
            ("dead_letters", old.pipeline.dead_letters, new.pipeline.dead_letters),
        )
        if before != after
    ]
    for block, sinks in (("routes", runtime.sinks), ("outputs", runtime.output_sinks)):
        missing = {item.sink for item in getattr(new.pipeline, block)} - set(sinks)
        found += [f"{block}: the sink {sink}" for sink in sorted(missing)]
    return found


def files_of(config: PipelineConfig) -> list[Path]:
    """Give the files and folders that a pipeline is made of, itself first."""
    pipeline, redis = config.pipeline, config.pipeline.connections.redis
    named = [value for stage in config.stages for _, value in stage if isinstance(value, Path)]
    named += [path for path in (pipeline.geoip_database, pipeline.templates) if path]
    files = [config.file, *(config.folder / path for path in named)]
    return [*files, redis.file] if redis and redis.file else files


def stamps(paths: Iterable[Path]) -> Stamps:
    """Give what is another when a file is; those of a folder count, too."""
    found: Stamps = {}
    for path in paths:
        for file in (path, *(Path(at, name) for at, _, names in os.walk(path) for name in names)):
            try:
                status = file.stat()
            except OSError:
                found[file] = (0, 0, 0)
            else:
                found[file] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return found
