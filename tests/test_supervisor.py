"""The supervisor, over real processes; and the pages of all workers as one."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import pytest

from enricher import admin, supervisor
from enricher.address import Address
from enricher.admin import Page
from enricher.gathered import Gathered, merge
from enricher.supervisor import Supervisor
from enricher.waiting import Backoff

PATIENCE_S = 20.0
SERVES = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit({code}))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
print("up", file=open({lives!r}, "a"), flush=True)
time.sleep(600)
"""
ENDS = """
import sys
lives = len(open({lives!r}, "a+").readlines() or open({lives!r}).readlines())
print("up", file=open({lives!r}, "a"), flush=True)
sys.exit({codes!r}[min(lives, {last})])
"""


def serves(lives: Path, code: int = 0) -> list[str]:
    """Give a worker that notes each start in a file, and ends with a code when it is told to."""
    return [sys.executable, "-c", SERVES.format(lives=str(lives), code=code)]


def ends(lives: Path, *codes: int) -> list[str]:
    """Give a worker that ends by itself at once, each time with the next code."""
    text = ENDS.format(lives=str(lives), codes=codes, last=len(codes) - 1)
    return [sys.executable, "-c", text]


def starts(lives: Path) -> int:
    return len(lives.read_text().splitlines()) if lives.exists() else 0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


FAST = Backoff(base_s=0.01, cap_s=0.05)


async def test_a_worker_that_dies_is_started_again(tmp_path: Path) -> None:
    """Whatever its exit code, 2 as well once it has started before; the other is left alone."""
    first, second = tmp_path / "first", tmp_path / "second"
    one = Supervisor([ends(first, 1, 2, 0), serves(second)], drain_s=5, backoff=FAST)
    running = asyncio.create_task(one.run())
    await until(lambda: starts(first) >= 5)
    await until(lambda: starts(second) == 1)
    assert one.workers[0].restarts >= 4
    assert one.workers[1].restarts == 0
    one.stop()
    assert await asyncio.wait_for(running, PATIENCE_S) == 0
    assert not any(worker.alive for worker in one.workers)


async def test_a_mistake_of_the_user_is_not_tried_again(tmp_path: Path) -> None:
    """Exit code 2 of a first start stops the others in order, and is the supervisor's."""
    first, second = tmp_path / "first", tmp_path / "second"
    one = Supervisor([serves(first), ends(second, 2)], drain_s=5, backoff=FAST)
    assert await asyncio.wait_for(one.run(), PATIENCE_S) == 2
    assert starts(second) == 1
    assert not any(worker.alive for worker in one.workers)


async def test_a_worker_that_does_not_end_in_order(tmp_path: Path) -> None:
    """Its deadline of a drain passed: exit code 1."""
    lives = tmp_path / "lives"
    one = Supervisor([serves(lives, code=1), serves(lives)], drain_s=5, backoff=FAST)
    running = asyncio.create_task(one.run())
    await until(lambda: starts(lives) == 2)
    one.stop()
    assert await asyncio.wait_for(running, PATIENCE_S) == 1


async def test_a_worker_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once its deadline and the margin are over."""
    monkeypatch.setattr(supervisor, "MARGIN_S", 0.2)
    lives = tmp_path / "lives"
    deaf = SERVES.format(lives=str(lives), code=0).replace(
        "lambda *_: sys.exit(0)", "signal.SIG_IGN"
    )
    one = Supervisor([[sys.executable, "-c", deaf]], drain_s=0.1, backoff=FAST)
    running = asyncio.create_task(one.run())
    await until(lambda: starts(lives) == 1)
    one.stop()
    assert await asyncio.wait_for(running, PATIENCE_S) == 1


async def test_signals_wait_for_a_worker_that_starts(tmp_path: Path) -> None:
    """SIGHUP and SIGTERM before it listens are kept for it: neither kills it."""
    lives = tmp_path / "lives"
    late = """
import signal, sys, time
open({lives!r}, "a").write("up")
time.sleep(0.3)
heard = []
signal.signal(signal.SIGHUP, lambda *_: heard.append("hup"))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0 if heard else 3))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
time.sleep(600)
""".format(lives=str(lives))
    one = Supervisor([[sys.executable, "-c", late]], drain_s=5, backoff=FAST)
    running = asyncio.create_task(one.run())
    await until(lambda: starts(lives) == 1)
    one.workers[0].send(signal.SIGHUP)
    one.stop()
    assert await asyncio.wait_for(running, PATIENCE_S) == 0


EXPOSITION = """\
# HELP records_total Records read.
# TYPE records_total counter
records_total{{source="a \\"b\\""}} {count}
# HELP seconds How long.
# TYPE seconds histogram
seconds_bucket{{le="0.1"}} 1.0
seconds_bucket{{le="+Inf"}} 2.0
seconds_sum 1.5
seconds_count 2.0
"""


def test_expositions_are_merged() -> None:
    """One HELP and TYPE for each metric, every sample with its worker; what Prometheus can read."""
    text = merge({1: EXPOSITION.format(count=3.0), 2: EXPOSITION.format(count=4.0)}).decode()
    lines = text.splitlines()
    assert lines.count("# TYPE records_total counter") == 1
    assert lines.count("# HELP seconds How long.") == 1
    assert 'records_total{source="a \\"b\\"",worker="1"} 3.0' in lines
    assert 'records_total{source="a \\"b\\"",worker="2"} 4.0' in lines
    assert 'seconds_bucket{le="+Inf",worker="2"} 2.0' in lines
    assert 'seconds_count{worker="1"} 2.0' in lines
    assert len([line for line in lines if not line.startswith("#")]) == 10


@pytest.fixture
async def gathered(tmp_path: Path) -> AsyncIterator[Gathered]:
    """Three workers: one ready, one not, and one that takes connections and never answers."""

    def pages(number: int, reasons: list[str]) -> admin.Pages:
        def page(status: int, body: bytes) -> Callable[[], Awaitable[Page]]:
            async def answer() -> Page:
                return Page(status, "text/plain", body)

            return answer

        ready = orjson.dumps({"ready": not reasons, "reasons": reasons})
        return {
            "/metrics": page(200, EXPOSITION.format(count=float(number)).encode()),
            "/health/ready": page(503 if reasons else 200, ready),
            "/status": page(200, orjson.dumps({"pipeline": f"p{number}"})),
        }

    sockets = [tmp_path / f"{number}.sock" for number in (1, 2, 3)]
    async with AsyncExitStack() as stack:
        for number, reasons in ((1, []), (2, ["redis is away"])):
            address = Address(path=str(sockets[number - 1]))
            await stack.enter_async_context(admin.serving(address, pages(number, reasons)))
        silent = stack.enter_context(socket.socket(socket.AF_UNIX))
        silent.bind(str(sockets[2]))
        silent.listen()
        yield Gathered(Supervisor([["a"], ["b"], ["c"]], drain_s=1), sockets)


async def test_the_metrics_of_all_workers(gathered: Gathered) -> None:
    """Those that answer with their numbers, the silent one as down; the supervisor's own first."""
    page = await gathered.metrics()
    text = page.body.decode()
    assert page.status == 200
    for number, up in ((1, 1.0), (2, 1.0), (3, 0.0)):
        assert f'enricher_worker_up{{worker="{number}"}} {up}' in text
        assert (
            f'records_total{{source="a \\"b\\"",worker="{number}"}} {number}.0' in text
        ) == bool(up)
    assert "enricher_workers 3.0" in text
    assert "enricher_workers_alive 0.0" in text
    assert 'enricher_worker_restarts_total{worker="2"} 0.0' in text


async def test_ready_when_all_are(gathered: Gathered) -> None:
    """503 with every reason, and whose it is."""
    page = await gathered.ready()
    assert page.status == 503
    assert orjson.loads(page.body) == {
        "ready": False,
        "reasons": ["worker 2: redis is away", "worker 3: does not answer"],
    }


async def test_the_status_of_all_workers(gathered: Gathered) -> None:
    """What each says of itself, and that one does not answer."""
    workers = orjson.loads((await gathered.status()).body)["workers"]
    assert [(one["worker"], one["answers"], one.get("pipeline")) for one in workers] == [
        (1, True, "p1"),
        (2, True, "p2"),
        (3, False, None),
    ]
