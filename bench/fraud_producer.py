"""Send payments at a steady rate, each stamped with the moment at which it is sent."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta

from aiokafka import AIOKafkaProducer

from enricher.generator import generate_fraud
from enricher.kafka.producer import partition_of

TICK_S = 0.02
SHARE = 0.01
TOPIC, PARTITIONS = "payment-logs", 4
Message = tuple[int, bytes | None, bytes]


def payments(count: int) -> list[Message]:
    """Make the payments of the last day, in their order, each with its partition."""
    start = datetime.now(UTC) - timedelta(days=1)
    records = [one.record for one in generate_fraud(count, SHARE, start=start, days=1)]
    return [(partition_of(one.key or b"", PARTITIONS), one.key, one.value) for one in records]


async def send(bootstrap: str, messages: list[Message], rate: int) -> float:
    """Send so many a second; gives by how much the last one was late, in seconds."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type="lz4", acks="all", max_batch_size=1 << 20
    )
    await producer.start()
    try:
        begin = time.monotonic()
        pending = []
        for at in range(0, len(messages), max(1, int(rate * TICK_S))):
            await asyncio.sleep(max(0.0, begin + at / rate - time.monotonic()))
            tick = messages[at : at + max(1, int(rate * TICK_S))]
            for partition in range(PARTITIONS):
                batch = producer.create_batch()
                for _, key, value in [one for one in tick if one[0] == partition]:
                    stamp = int(time.time() * 1000)
                    batch.append(timestamp=stamp, key=key, value=value, headers=[])
                if batch.record_count():
                    pending.append(await producer.send_batch(batch, TOPIC, partition=partition))
        await asyncio.gather(*pending)
        return time.monotonic() - begin - len(messages) / rate
    finally:
        await producer.stop()


def main() -> None:
    """Make everything, say so, wait for a line, send, and say how late it was."""
    bootstrap, rate, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    messages = payments(rate * seconds)
    print("ready", flush=True)
    sys.stdin.readline()
    print(asyncio.run(send(bootstrap, messages, rate)), flush=True)


if __name__ == "__main__":
    main()
