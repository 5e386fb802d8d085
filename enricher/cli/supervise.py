"""`enricher run --workers N`: this process looks after N that do the work."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from enricher import admin, notify
from enricher.address import Address
from enricher.gathered import Gathered
from enricher.model import UserError
from enricher.supervisor import Supervisor


def supervise(
    check: Callable[[], object], count: int, *, address: Address | None, drain_s: float
) -> int:
    """Run this command in `count` workers, once `check` has passed. Returns the exit code."""
    if code := checked_apart(check):
        return code
    with TemporaryDirectory(prefix="enricher-") as folder:  # only its owner may look into it
        sockets = [Path(folder) / f"{number}.sock" for number in range(1, count + 1)]
        is_asked = address is not None or notify.wanted()
        commands = [
            worker_command(number, str(Address(path=str(socket))) if is_asked else "off")
            for number, socket in enumerate(sockets, 1)
        ]
        return asyncio.run(_run(commands, sockets, address, drain_s))


async def _run(
    commands: Sequence[Sequence[str]],
    sockets: Sequence[Path],
    address: Address | None,
    drain_s: float,
) -> int:
    supervisor = Supervisor(commands, drain_s=drain_s)
    gathered = Gathered(supervisor, sockets)
    async with AsyncExitStack() as stack:
        if address is not None:
            await stack.enter_async_context(admin.serving(address, gathered.pages()))
        if notify.wanted():
            await stack.enter_async_context(_notifying(supervisor, gathered))
        return await supervisor.run()


@asynccontextmanager
async def _notifying(supervisor: Supervisor, gathered: Gathered) -> AsyncIterator[None]:
    """Tell systemd meanwhile how the workers are, as they said it last."""
    reasons = ["workers: not started yet"]

    async def look() -> None:
        while True:
            reasons[:] = await gathered.reasons()
            await asyncio.sleep(notify.EVERY_S)

    report = notify.report(lambda: reasons, supervisor.stopping)
    tasks = [asyncio.create_task(work) for work in (look(), report)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def worker_command(number: int, endpoint: str) -> list[str]:
    """Give this process's own command line, as a worker's."""
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = ["--worker", str(number), "--admin", endpoint]
    return [sys.executable, "-m", "enricher", *arguments[:end], *options, *arguments[end:]]


def checked_apart(check: Callable[[], object]) -> int:
    """Do a check in a process that ends with it: what it imports would stay for good in ours."""

    def work() -> None:
        try:
            check()
        except UserError as error:
            click.echo(str(error), err=True)
            sys.exit(2)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    return process.exitcode or 0
