"""A batch that waits inside the plan, as for a look-up, holds up neither the end nor what is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from enricher.lookups.store import NoLookups
from enricher.model import Outcome, Record

from .test_runtime import PATIENCE_S, Gated, Plan, Run, until


class Waiting(Plan):
    """Waits at a record `wait …` until it may go on."""

    def __init__(self) -> None:
        self.may_go_on = asyncio.Event()
        self.waits = 0

    async def process(self, records: Sequence[Record]) -> list[Outcome]:
        if any(record.value.startswith(b"wait") for record in records):
            self.waits += 1
            await self.may_go_on.wait()
        return [
            self.outcome(one._replace(value=one.value.removeprefix(b"wait "))) for one in records
        ]


def waiting(*deliveries: Sequence[str], **options: Any) -> tuple[Run, Waiting]:
    run = Run(*deliveries, **options)
    plan = Waiting()
    run.runtime.plan = plan
    return run, plan


async def test_the_deadline_of_the_drain_ends_a_wait() -> None:
    """What waits is not acknowledged; what went before is, and everything is closed."""
    run, plan = waiting(["a"], ["wait a"], ["a"], drain_s=0.05, endless=True)
    task = run.start()
    await until(lambda: plan.waits == 1)
    run.stopping.set()
    async with asyncio.timeout(PATIENCE_S):
        assert await task is False
    assert run.source.acknowledged == [0]
    assert run.source.yielded == 2
    assert set(run.journal[-4:]) == {"source closed", "letters closed", "a closed", "b closed"}


async def test_a_wait_that_ends_in_time_is_settled() -> None:
    run, plan = waiting(["a"], ["wait a"], drain_s=PATIENCE_S, endless=True)
    task = run.start()
    await until(lambda: plan.waits == 1)
    run.stopping.set()
    await asyncio.sleep(0)
    plan.may_go_on.set()
    async with asyncio.timeout(PATIENCE_S):
        assert await task is True
    assert run.source.acknowledged == [0, 1]


async def test_the_drain_has_one_deadline_for_both() -> None:
    """What the plan has waited is not given to the sinks once more."""
    run, plan = waiting(["a"], ["wait a"], drain_s=0.2, endless=True)
    run.a.answering.clear()
    task = run.start()
    await until(lambda: plan.waits == 1)
    run.stopping.set()
    begin = asyncio.get_running_loop().time()
    async with asyncio.timeout(PATIENCE_S):
        assert await task is False
    assert run.a.cancelled == 1
    assert run.source.acknowledged == []
    assert asyncio.get_running_loop().time() - begin < PATIENCE_S / 2


async def test_another_source_that_fails_ends_a_wait() -> None:
    """At the deadline, too: nobody told the run to stop."""
    run, plan = waiting(["wait a"], drain_s=0.05, endless=True)
    broken = Gated(run.journal)
    broken.failure = RuntimeError("broken")
    run.sources.append(broken)
    task = run.start()
    await until(lambda: plan.waits == 1)
    broken.open.set()
    with pytest.raises(ExceptionGroup, match="the run failed"):
        async with asyncio.timeout(PATIENCE_S):
            await task
    assert run.source.acknowledged == []


async def test_what_the_plan_asks_is_closed_last() -> None:
    run = Run(["a"])

    class Lookups(NoLookups):
        async def close(self) -> None:
            run.journal.append("lookups closed")

    run.runtime.lookups = Lookups()
    assert await run.to_the_end() is True
    assert run.journal[-1] == "lookups closed"
    assert run.journal.count("lookups closed") == 1
