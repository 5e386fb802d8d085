"""Write documents to Elasticsearch: nothing lost, nothing twice, whatever it answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from enricher.connections import ElasticsearchConnection
from enricher.histogram import Histogram
from enricher.model import Document, Rejected, Unavailable
from enricher.sinks import bulk, templates
from enricher.sinks.elasticsearch_client import ElasticsearchClient
from enricher.sinks.sharing import Sent, Sharing
from enricher.waiting import Backoff, Notice

_FILTER = "took,errors,items.*._id,items.*.status,items.*.error"
_ADVICE = "check connections.elasticsearch"


class ElasticsearchSink:
    """Writes with `_bulk`, and keeps on until each document is settled.

    Overload, errors of the server, lost connections and time-outs are retried for ever under
    the same ids; missing rights and full disks are waited out (`blocked`). A document is given
    back as rejected only where Elasticsearch blames the document itself.
    """

    def __init__(  # noqa: PLR0913 - keyword arguments with defaults
        self,
        connection: ElasticsearchConnection,
        template_folders: Sequence[Path] = (),
        *,
        environment: Mapping[str, str] | None = None,
        concurrency: int = 4,
        compress: bool = False,
        backoff: Backoff | None = None,
    ) -> None:
        """Prepare, without touching the network.

        Args:
            connection: with `hosts`.
            template_folders: each with an `elasticsearch/` folder that `open()` installs.
            environment: for the templates' `${NAME}`; the process's own by default.
            concurrency: most requests under way at a time.
            compress: gzip the bodies.
            backoff: how long to wait between attempts.

        Raises:
            UserError: the connection cannot be used as it stands.
        """
        self.retries = 0
        """Requests that were sent again, in whole or in part."""
        self.conflicts = 0
        """Documents that were there already under their own id: success."""
        self.superseded = 0
        """Documents older than what is stored under the id their route named: success."""
        self.latency = Histogram()
        """Of single requests, in seconds."""
        self._client = ElasticsearchClient(connection, compress=compress)
        self._template_folders = tuple(template_folders)
        self._environment = os.environ if environment is None else environment
        self._requests = Sharing(self._post, concurrency)
        self._backoff = backoff or Backoff()
        self._notice = Notice()
        self._blocks: dict[object, str] = {}
        self._better = asyncio.Event()
        """Wakes those who are stuck when somebody gets through."""
        # The server gives up on an unassigned shard before the client does, so that the other
        # documents of the request get their answer.
        patience_s = max(1, int(connection.timeout_s / 2))
        self._target = f"/_bulk?timeout={patience_s}s&filter_path={_FILTER}"

    @property
    def blocked(self) -> str | None:
        """Why nothing can be written at the moment, for readiness; None while all is well."""
        return next(iter(self._blocks.values()), None)

    async def open(self) -> None:
        """Wait until the server answers, then install the templates.

        Raises:
            UserError: a template is wrong.
        """
        call = object()
        attempt = 0
        try:
            while reason := await self._prepare():
                attempt += 1
                self._blocks[call] = reason
                await self._pause(reason, attempt)
        finally:
            self._blocks.pop(call, None)

    async def install(self, folder: Path) -> None:
        """Install the templates of a folder in place of the last one, as `open()` does."""
        self._template_folders = (folder,)
        await self.open()

    async def write(self, documents: list[Document]) -> list[Rejected]:
        """Return once every document is in the index or refused for good; give the latter.

        Waits as long as it takes; cancelling it is safe at any point, the ids being the same
        the next time.
        """
        sound, rejected = bulk.screen(documents)
        call = object()
        attempt = 0
        work = [(sound, False)] if sound else []
        try:
            while work:
                batch, alone = work.pop()
                settled, answer = await self._requests.send(batch, alone=alone, again=attempt > 0)
                rejected += settled.rejected
                self.conflicts += settled.conflicts
                self.superseded += settled.superseded
                work += [(piece, True) for piece in reversed(settled.pieces)]
                again = _again(batch, settled)
                if not again:
                    attempt = 0
                    self._blocks.pop(call, None)
                    self._better.set()
                    continue
                # What has to wait goes first again: later documents must not overtake it.
                # Without an answer it may have been too much for whatever lies in between.
                work.append((again, alone or answer is None))
                attempt += 1
                self.retries += 1
                hint_s = answer.retry_after_s if answer else 0.0
                stuck = bool(settled.blocked) or answer is None
                if stuck:
                    self._blocks[call] = settled.reason
                else:
                    self._blocks.pop(call, None)
                # What hinders a whole request hinders all: one that gets through tells the others.
                for_all = stuck and (answer is None or not answer.ok)
                await self._pause(settled.reason, attempt, hint_s, for_all=for_all)
        finally:
            self._blocks.pop(call, None)
        return rejected

    async def close(self) -> None:
        """Close the connections; every `write()` has ended or was cancelled before."""
        await self._requests.close()
        await self._client.close()

    async def _post(self, documents: list[Document]) -> Sent:
        """Send one request; no answer (None) leaves every document's outcome unknown."""
        request = bulk.encode(documents)
        try:
            with self.latency.time():
                answer = await self._client.request("POST", self._target, request.body, "x-ndjson")
        except Unavailable as error:
            return Sent(bulk.Settled(retry=documents, reason=str(error)), None)
        if answer.ok and request.is_accepted(answer.body):
            return Sent(bulk.Settled(), answer)
        if answer.ok:
            settled = bulk.settle(documents, answer.decode())
        else:
            settled = bulk.refuse(documents, answer.status, answer.decode())
        settled.reason = self._say(settled)
        return Sent(settled, answer)

    def _say(self, settled: bulk.Settled) -> str:
        text = f"elasticsearch at {self._client.address}: {settled.reason}"
        if settled.blocked:
            return f"{text}; waiting until that is put right, nothing is lost meanwhile"
        return f"{text}; retrying"

    async def _pause(
        self, reason: str, attempt: int, hint_s: float = 0.0, *, for_all: bool = False
    ) -> None:
        """Wait for the next attempt, or until another write gets through; say why once a minute."""
        self._notice.error(reason)
        self._better.clear()
        delay_s = self._backoff.delay(attempt, hint_s)
        if for_all:
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._better.wait()
        else:
            await asyncio.sleep(delay_s)

    async def _prepare(self) -> str:
        """Give why the server is not ready to be written to, or an empty text if it is."""
        where = f"elasticsearch at {self._client.address}"
        try:
            answer = await self._client.request("GET", "/")
            # Any other status is an answer: a key may write and yet not see this page.
            if answer.status in (401, 429) or answer.status >= 500:
                kind, reason = bulk.cause(answer.decode())
                return f"{where} answers {answer.status} {kind} {reason}; retrying; {_ADVICE}"
            for folder in self._template_folders:
                await templates.install(self._client, folder, self._environment)
        except (Unavailable, templates.Refused) as error:
            return str(error)
        return ""


def _again(batch: list[Document], settled: bulk.Settled) -> list[Document]:
    if not settled.blocked:
        return settled.retry
    if not settled.retry:
        return settled.blocked
    waiting = {id(document) for document in (*settled.retry, *settled.blocked)}
    return [document for document in batch if id(document) in waiting]
