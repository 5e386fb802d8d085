"""Reach a Kafka cluster: wait for it however long it is away, and tell of it once a minute.

aiokafka is untyped and logs every failed attempt, ten times a second while a broker is down. Its
warnings are passed on to structlog, one of each kind a minute.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from enricher.waiting import Reminder

log = structlog.get_logger(__name__)

STOP_S = 10.0
"""How long a client may take to say goodbye, in seconds; a broker that is away never answers."""
_ORDINARY = ("because it is rebalancing", "Marking the coordinator dead", "User provided")


class _Relay(logging.Handler):
    """Passes aiokafka's warnings on, and remembers the last as the reason of a failed start."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reason = ""
        self.starting = 0
        """Clients being started: that one cannot connect is told by `start()`."""
        self._reminder = Reminder()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if any(ordinary in text for ordinary in _ORDINARY):
            return
        if text.startswith("Unable connect"):
            self.reason = text.partition(": ")[2] or text
            if self.starting:
                return
        if self._reminder.due(str(record.msg)):
            log.warning("kafka client", client=record.name, message=text)


_relay = _Relay()


def quiet() -> None:
    """Route aiokafka's log through structlog; calling it again changes nothing."""
    logger = logging.getLogger("aiokafka")
    if _relay not in logger.handlers:
        logger.addHandler(_relay)
        logger.setLevel(logging.WARNING)
        logger.propagate = False


def backoff(first: float = 0.1, longest: float = 5.0) -> Iterator[float]:
    """Yield pauses in seconds, doubling up to `longest`, each with half of it left to chance."""
    pause = first
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        pause = min(2 * pause, longest)


async def start(make: Callable[[], Any], brokers: Sequence[str]) -> Any:
    """Make a client and start it; while the cluster is away, try again for ever.

    Args:
        make: Makes an aiokafka client that is not started yet; called for every attempt.
        brokers: The addresses, for the log.
    """
    quiet()
    reminder = Reminder()
    for pause in backoff():
        client = make()
        _relay.reason = ""
        _relay.starting += 1
        try:
            await client.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await stop(client)
            if reminder.due("start"):
                log.warning(unreachable(brokers, _relay.reason or str(error)))
        except BaseException:
            await stop(client)
            raise
        else:
            return client
        finally:
            _relay.starting -= 1
        await asyncio.sleep(pause)
    raise AssertionError("the backoff never ends")


async def stop(client: Any) -> None:
    """Stop a client, within `STOP_S`; what it has to say about that is only logged."""
    try:
        async with asyncio.timeout(STOP_S):
            await client.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        log.warning("kafka client did not stop in order", error=repr(error))


def unreachable(brokers: Sequence[str], reason: str) -> str:
    """Say that a cluster cannot be reached, and what to look at."""
    return (
        f"kafka at {','.join(brokers)} cannot be reached ({reason}); retrying; "
        "check connections.kafka.brokers or KAFKA_BROKERS"
    )
