"""One Redis or Valkey server: commands in one round trip, within a deadline, behind a breaker."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from enricher.lookups.breaker import Breaker
from enricher.model import Failure, Unavailable

Command = Sequence[str | bytes]
T = TypeVar("T")

PATIENCE_S = 1.0
"""What connecting may take, in seconds, while no event waits for it or nothing is known yet."""
OWN_S = 0.0001
"""What this process itself may take for one command and its answer, in seconds (measured)."""
SCRIPT_S = 0.001
"""The same for a script, in seconds, which the server runs before it looks at what comes next: some
0.07 ms where its measures read few events (measured), several times that on a busy machine. A
deadline that is too short here makes it run the same scripts again, and ever more slowly."""
WORD_S = 0.0002
"""The same for each word of a script beyond those of a single event, in seconds."""
_FEW_WORDS = 10
BYTE_S = 1 / (4 << 20)
"""What a byte that is written may take, in seconds: a large value on a slow line is no outage."""
_SCRIPTS = ("EVAL", "EVALSHA")
LATE = 1.2
"""A deadline that is noticed so much later than it was due says that this process was busy."""


class RedisServer:
    """Asks one server.

    Args:
        options: of redis-py's connection pool.
        timeout_s: of one round trip, in seconds.
    """

    def __init__(self, options: Mapping[str, Any], timeout_s: float) -> None:
        """Prepare, without touching the network."""
        from redis.asyncio import ConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self.host = str(options.get("host", ""))
        self.name = str(options.get("path") or f"{self.host}:{options['port']}")
        self.round_trips = 0
        """Batches of commands that were sent."""
        self.failures = 0
        """Those of them that were not answered."""
        self.breaker = Breaker(self.name, self._probe)
        # The pipeline has its own patience: no retries, and one deadline around everything.
        pool = ConnectionPool(**options, retry=Retry(NoBackoff(), 0))
        self._client: Any = Redis(connection_pool=pool)
        self._timeout_s = timeout_s
        self._is_known = False
        """Whether there was an answer, or none: the first may take as long as connecting does."""

    async def ask(self, commands: Sequence[Command], written: int = 0) -> list[Any]:
        """Send commands in one round trip; give the answers, or what hinders a single one.

        Args:
            commands: in their order.
            written: bytes of the values in them.

        Raises:
            Unavailable: there is no answer in time; at once, while it is known that there is none.
        """
        self.breaker.check()
        try:
            answers = await self._send(commands, self._timeout_s + written * BYTE_S)
        except Unavailable as error:
            self.failures += 1
            self.breaker.failed(str(error))
            raise
        refused = next((one for one in answers if type(one) is Unavailable), None)
        if refused is None:
            self.breaker.succeeded()
        else:
            self.failures += 1
            self.breaker.failed(str(refused))
        return answers

    async def close(self) -> None:
        """End the probing and free the connections."""
        await self.breaker.close()
        with suppress(TimeoutError):  # one that hangs does not take part
            await within(self._client.aclose(close_connection_pool=True), PATIENCE_S)

    async def _probe(self) -> None:
        """Ask twice: once to connect, which may take a while, then as if events waited.

        Any answer will do, for a user may not be allowed to PING.
        """
        for timeout_s in (max(PATIENCE_S, self._timeout_s), self._timeout_s):
            await self._send([("PING",)], timeout_s)

    async def _send(self, commands: Sequence[Command], timeout_s: float) -> list[Any]:
        from redis.exceptions import RedisError

        timeout_s += allowance_s(commands)
        if not self._is_known:
            timeout_s = max(timeout_s, PATIENCE_S)
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        self.round_trips += 1
        try:
            answers = await within(pipeline.execute(raise_on_error=False), timeout_s)
        except TimeoutError:
            reason = f"no answer within {1000 * timeout_s:.0f} ms"
            raise Unavailable(f"redis cannot be asked: {reason}") from None
        except (RedisError, OSError) as error:
            raise Unavailable(f"redis cannot be asked: {named(error)}") from None
        finally:
            self._is_known = True
        return [one if not isinstance(one, RedisError) else hindrance(one) for one in answers]


def allowance_s(commands: Sequence[Command]) -> float:
    """Give what the server, and this process, may take for commands beside the round trip."""
    scripts = [command for command in commands if command[0] in _SCRIPTS]
    words = sum([max(0, len(command) - _FEW_WORDS) for command in scripts])
    return OWN_S * (len(commands) - len(scripts)) + SCRIPT_S * len(scripts) + WORD_S * words


async def within(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """Do work within a deadline. Raises TimeoutError.

    The work is cancelled then, and redis-py closes the connection of a command that is cancelled
    (its answer would be taken for that of the next). Where this process itself was too busy to
    look, what may lie there already is read first.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    try:
        begin = loop.time()
        await asyncio.wait([task], timeout=seconds)
        if not task.done() and loop.time() - begin > LATE * seconds:
            await asyncio.wait([task], timeout=seconds)
        if task.done():
            return task.result()
        raise TimeoutError
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            _ = task.cancelled() or task.exception()  # nobody else asks for it


def hindrance(error: Exception) -> Exception:
    """Say what an error that answers one command means: for its key, the cluster, or all."""
    from redis.exceptions import (
        AskError,
        ClusterCrossSlotError,
        MovedError,
        NoScriptError,
        TryAgainError,
    )

    passed_on = (AskError, ClusterCrossSlotError, MovedError, NoScriptError, TryAgainError)
    if isinstance(error, passed_on):
        return error
    if str(error).startswith("WRONGTYPE"):
        return Failure("the stored value is of another type")
    if str(error).startswith("NOSTATE"):
        return Failure("the stored state was not written by enricher: remove it")
    return Unavailable(f"redis cannot be asked: {named(error)}")


def named(error: Exception) -> str:
    """Name an error by its class or the server's code for it; its text may tell too much."""
    code = re.match(r"[A-Z]{3,20}\b", str(error))
    name = type(error).__name__
    told = f"{code[0]}" if code and name == "ResponseError" else name
    return f"{told}; check connections.redis"
