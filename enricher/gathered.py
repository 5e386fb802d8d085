"""The pages of all workers as one: each worker is asked on its unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import orjson

from enricher.admin import Page, Pages
from enricher.metrics import CONTENT_TYPE
from enricher.supervisor import Supervisor, Worker

if TYPE_CHECKING:
    from prometheus_client import Metric

PATIENCE_S = 1.0
"""A worker that does not answer for so long, in seconds, is down for whoever asks."""
_JSON = "application/json"


class Gathered:
    """Asks the workers of a supervisor.

    Args:
        supervisor: Whose workers they are.
        sockets: Where each of them listens, in their order.
    """

    def __init__(self, supervisor: Supervisor, sockets: Sequence[Path]) -> None:
        self._supervisor = supervisor
        self._sockets = sockets

    def pages(self) -> Pages:
        """Make the pages of the supervisor."""
        return {
            "/metrics": self.metrics,
            "/health/live": self.live,
            "/health/ready": self.ready,
            "/status": self.status,
        }

    async def metrics(self) -> Page:
        """Merge the workers' expositions; a label `worker` tells them apart."""
        answers = await self._ask("/metrics")
        texts = {worker.number: page.body.decode() for worker, page in answers if page}
        return Page(200, CONTENT_TYPE, merge(texts, self._own(texts)))

    def _own(self, answered: Mapping[int, str]) -> list[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        up = GaugeMetricFamily(
            "enricher_worker_up", "Whether the worker answers.", labels=["worker"]
        )
        restarts = CounterMetricFamily(
            "enricher_worker_restarts", "How often it was started again.", labels=["worker"]
        )
        for worker in self._supervisor.workers:
            up.add_metric([str(worker.number)], float(worker.number in answered))
            restarts.add_metric([str(worker.number)], worker.restarts)
        alive = sum(worker.alive for worker in self._supervisor.workers)
        return [
            GaugeMetricFamily("enricher_workers", "Workers wanted.", len(self._sockets)),
            GaugeMetricFamily("enricher_workers_alive", "Worker processes that run.", alive),
            up,
            restarts,
        ]

    async def live(self) -> Page:
        """Tell that the supervisor lives; it restarts its workers by itself."""
        return Page(200, _JSON, b'{"live":true}')

    async def ready(self) -> Page:
        """Answer 503 unless every worker is ready."""
        reasons = await self.reasons()
        body = orjson.dumps({"ready": not reasons, "reasons": reasons})
        return Page(503 if reasons else 200, _JSON, body)

    async def reasons(self) -> list[str]:
        """Say why workers are not ready; empty when all are."""
        found = ["stopping"] if self._supervisor.stopping.is_set() else []
        for worker, page in await self._ask("/health/ready"):
            why = read(page).get("reasons", []) if page else ["does not answer"]
            found += [f"worker {worker.number}: {reason}" for reason in why]
        return found

    async def status(self) -> Page:
        """Give what each worker says of itself, and what the supervisor knows of it."""
        workers = [
            {
                "worker": worker.number,
                "pid": worker.process.pid if worker.process and worker.alive else None,
                "restarts": worker.restarts,
                "answers": page is not None,
                **(read(page) if page else {}),
            }
            for worker, page in await self._ask("/status")
        ]
        return Page(200, _JSON, orjson.dumps({"workers": workers}, option=orjson.OPT_INDENT_2))

    async def _ask(self, path: str) -> list[tuple[Worker, Page | None]]:
        workers = self._supervisor.workers
        answers = await asyncio.gather(*(ask(socket, path) for socket in self._sockets))
        return list(zip(workers, answers, strict=True))


async def ask(socket: Path, path: str) -> Page | None:
    """Get a page from a unix socket; None where there is no whole answer within `PATIENCE_S`."""
    from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector

    try:
        async with (
            ClientSession(
                connector=UnixConnector(str(socket)), timeout=ClientTimeout(PATIENCE_S)
            ) as client,
            client.get(f"http://worker{path}") as answer,
        ):
            return Page(answer.status, answer.content_type, await answer.read())
    except (ClientError, OSError, TimeoutError):
        return None


def read(page: Page) -> dict[str, Any]:
    """Read a page of JSON."""
    value: dict[str, Any] = orjson.loads(page.body)
    return value


def merge(texts: Mapping[int, str], own: Iterable[Metric] = ()) -> bytes:
    """Write several expositions as one, each sample with the number of its worker."""
    from prometheus_client import Metric
    from prometheus_client.exposition import generate_latest
    from prometheus_client.parser import text_string_to_metric_families

    merged: dict[str, Metric] = {}
    for number, text in texts.items():
        for family in text_string_to_metric_families(text):
            whole = merged.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                whole.samples.append(
                    sample._replace(labels={"worker": str(number), **sample.labels})
                )
    return generate_latest(SimpleNamespace(collect=lambda: [*own, *merged.values()]))
