"""A pipeline that is wrong on purpose, as many are: the negative control of the checker.

It commits what it has read before it is written (auto-commit), and it lets Elasticsearch choose
the ids. Run as a program: brokers, Elasticsearch's URL, group, index, topics.
"""

import asyncio
import sys

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer

from tests.faults.ledger import unwrapped


async def run(brokers: str, url: str, group: str, index: str, *topics: str) -> None:
    """Consume for ever."""
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=brokers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=True,
        auto_commit_interval_ms=500,
        session_timeout_ms=3_000,
    )
    await consumer.start()
    async with aiohttp.ClientSession() as session:
        while True:
            for raws in (await consumer.getmany(timeout_ms=200, max_records=200)).values():
                lines = [orjson.dumps(unwrapped(orjson.loads(raw.value))) for raw in raws]
                body = b"".join(b'{"index":{}}\n' + line + b"\n" for line in lines)
                headers = {"Content-Type": "application/x-ndjson"}
                await session.post(f"{url}/{index}/_bulk", data=body, headers=headers)
                await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
