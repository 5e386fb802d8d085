"""A pipeline that is wrong on purpose, as many are: the negative control of the checker.

It commits what it has read before it is written (auto-commit), and it lets Elasticsearch choose
the ids. Run as a program: brokers, Elasticsearch's URL, group, index, milliseconds between two
commits, seconds between reading and writing, topics.
"""

import asyncio
import sys

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer

from tests.faults.ledger import unwrapped


async def run(
    brokers: str, url: str, group: str, index: str, commit_ms: int, late_s: float, topics: list[str]
) -> None:
    """Consume for ever."""
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=brokers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=True,
        auto_commit_interval_ms=commit_ms,
        session_timeout_ms=3_000,
    )
    await consumer.start()
    headers = {"Content-Type": "application/x-ndjson"}
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            fetched = await consumer.getmany(timeout_ms=200, max_records=500)
            await asyncio.sleep(late_s)
            raws = [raw for batch in fetched.values() for raw in batch]
            lines = [orjson.dumps(unwrapped(orjson.loads(raw.value))) for raw in raws]
            body = b"".join(b'{"index":{}}\n' + line + b"\n" for line in lines)
            if body:
                await session.post(f"{url}/{index}/_bulk", data=body)


if __name__ == "__main__":
    _, brokers, url, group, index, commit_ms, late_s, *topics = sys.argv
    asyncio.run(run(brokers, url, group, index, int(commit_ms), float(late_s), topics))
