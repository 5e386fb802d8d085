"""Workers as processes of their own: start them, start again those that die, stop all in order.

A worker's standard input is its lifeline: the supervisor alone holds the other end, and never
writes. Whatever ends the supervisor, `kill -9` too, ends that, and the worker drains and stops.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from enricher import notify, signals
from enricher.waiting import Backoff

log = structlog.get_logger(__name__)

SETTLED_S = 60.0
"""A worker that lived so long, in seconds, was a sound one: backoff begins anew."""
MARGIN_S = 30.0
"""What a worker may take beyond its drain's deadline to commit and to say goodbye, in seconds."""
_USER_ERROR = 2
_NOT_THEIRS = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""Variables that speak to the supervisor: systemd hears of the service from it alone."""


@dataclass(slots=True)
class Worker:
    """One worker, over all its lives."""

    number: int
    """From 1."""
    command: Sequence[str]
    process: Process | None = None
    restarts: int = 0

    @property
    def alive(self) -> bool:
        """Tell whether its process runs."""
        return self.process is not None and self.process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if there is somebody to take it."""
        if self.process is not None and self.alive:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)


class Supervisor:
    """Runs workers until it is told to stop.

    Args:
        commands: Of each worker, the program and its arguments.
        drain_s: The workers' deadline of a drain, in seconds.
        backoff: How long to wait before a worker that died is started again.
    """

    def __init__(
        self, commands: Sequence[Sequence[str]], *, drain_s: float, backoff: Backoff | None = None
    ) -> None:
        self.workers = [Worker(number, command) for number, command in enumerate(commands, 1)]
        self.stopping = asyncio.Event()
        self._patience_s = drain_s + MARGIN_S
        self._backoff = backoff or Backoff(base_s=1.0)
        self._refused = False

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT; a second one kills. SIGHUP is passed on.

        Returns:
            The exit code: 0 where every worker ended in order, 1 where one did not, 2 where
            the first start failed by a mistake of the user's.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        signals.release()
        codes = await asyncio.gather(*(self._keep(worker) for worker in self.workers))
        if self._refused:
            return _USER_ERROR
        return 0 if not any(codes) else 1

    def stop(self) -> None:
        """Tell every worker to stop, and kill those that take too long; again: kill at once."""
        if self.stopping.is_set():
            self._kill("told to stop again")
            return
        self.stopping.set()
        for worker in self.workers:
            worker.send(signal.SIGTERM)
        asyncio.get_running_loop().call_later(self._patience_s, self._kill, "the deadline passed")

    def _kill(self, why: str) -> None:
        for worker in self.workers:
            if worker.alive:
                log.error("worker killed; what it did not settle is read again",
                          worker=worker.number, reason=why)  # fmt: skip
                worker.send(signal.SIGKILL)

    def _reload(self) -> None:
        with notify.reloading():
            for worker in self.workers:
                worker.send(signal.SIGHUP)

    async def _keep(self, worker: Worker) -> int:
        """Start a worker, and start it again whenever it ends. Returns its last exit code."""
        code = failures = 0
        while not self.stopping.is_set():
            begin = time.monotonic()
            code = await self._live(worker)
            if self.stopping.is_set():
                break
            if code == _USER_ERROR and not worker.restarts:
                self._refuse(worker)
                break
            failures = 1 if time.monotonic() - begin >= SETTLED_S else failures + 1
            pause_s = self._backoff.delay(failures)
            log.error("worker ended, it is started again",
                      worker=worker.number, exit_code=code, in_s=round(pause_s, 2))  # fmt: skip
            code = 0  # nothing of it runs any more: a stop in between is one in order
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self.stopping.wait()
            worker.restarts += 1
        return code

    async def _live(self, worker: Worker) -> int:
        environment = {name: text for name, text in os.environ.items() if name not in _NOT_THEIRS}
        with signals.held():
            worker.process = await asyncio.create_subprocess_exec(
                *worker.command, stdin=PIPE, env=environment, start_new_session=True
            )
        log.info("worker started", worker=worker.number, pid=worker.process.pid)
        if self.stopping.is_set():
            worker.send(signal.SIGTERM)
        return await worker.process.wait()

    def _refuse(self, worker: Worker) -> None:
        """Give up: what the first start of a worker refuses, the next will refuse as well."""
        if not self._refused:
            self._refused = True
            log.error("a worker cannot start, see its line above; correct that and start again",
                      worker=worker.number)  # fmt: skip
            if not self.stopping.is_set():
                self.stop()
