"""Look-ups: what is asked of a real Valkey, what the stage costs when it knows, and a large table.

Run it alone with `python -m bench.lookup`.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import psutil
from pydantic import SecretStr
from redis import Redis

from bench.inprocess import PIPELINE
from enricher import document, memory
from enricher.build import build
from enricher.cli.bench import BATCH
from enricher.config import load
from enricher.connections import RedisConnection
from enricher.generator import generate, users
from enricher.lookups import Lookups, NoLookups
from enricher.lookups.redis import RedisLookups
from enricher.lookups.table import read_table
from enricher.model import Record
from enricher.plan import Plan
from tests.servers.valkey import Valkey

ROUNDS = 15
KNOWN = 50
"""Batches that are processed again and again once every answer is known."""
ROWS = 1_000_000
Batches = Sequence[Sequence[Record]]


def run(count: int) -> dict[str, Any]:
    """Measure the payments pipeline, its users asked from Valkey, with and without its look-up."""
    records = [
        Record(e.value, f"{e.topic}-0-{n}-{e.timestamp}", e.timestamp, f"{e.topic}/0", n, e.key)
        for n, e in enumerate(generate(count, days=1))
    ]
    batches = [records[at : at + BATCH] for at in range(0, count, BATCH)]
    with tempfile.TemporaryDirectory() as name:
        valkey = Valkey(Path(name, "valkey"))
        valkey.start()
        try:
            with Redis.from_url(valkey.url) as client:
                client.mset(dict(users()))
                client.config_resetstat()
                return asyncio.run(_measure(valkey.url, client, batches, Path(name)))
        finally:
            valkey.stop()


async def _measure(url: str, client: Any, batches: Batches, folder: Path) -> dict[str, Any]:
    store = RedisLookups(RedisConnection(url=SecretStr(url), timeout_ms=1_000))
    whole = plan_of(folder, store, lookup=True)
    nobody = plan_of(folder, NoLookups(), lookup=True)
    without = plan_of(folder, store, lookup=False)
    memory.settle()
    await _process(whole, batches)
    (keyed,) = (step.function for step in whole.steps if hasattr(step.function, "asked"))
    asked: Any = keyed.asked
    figures = {
        "batches": len(batches),
        "commands": client.info("commandstats")["cmdstat_mget"]["calls"],
        "from_cache": asked.answered.cache,
        "from_store": asked.answered.store,
        "users": len(asked.cache.fresh()) - 1,
    }
    known = batches[:KNOWN]
    best = await _best(known, whole, nobody, without)
    await store.close()
    each = [seconds / (KNOWN * BATCH) * 1e6 for seconds in best]
    costs = {"cost_us": each[0] - each[2], "asking_us": each[1] - each[2], "floor_us": each[3]}
    return figures | costs


async def _best(batches: Batches, *plans: Plan) -> list[float]:
    """Give the least seconds that each plan took, and the codec: a disturbance only adds to it."""
    for plan in plans:
        await _process(plan, batches)
    times = [
        [*[await _process(plan, batches) for plan in plans], _floor(batches)] for _ in range(ROUNDS)
    ]
    return [min(each) for each in zip(*times, strict=True)]


def plan_of(folder: Path, store: Lookups, *, lookup: bool) -> Plan:
    """Build the shipped pipeline, answers kept for the whole run; or without its look-up."""
    pipeline = document.read_file(PIPELINE).value
    del pipeline["tests"]
    pipeline["templates"] = str(PIPELINE.resolve().parents[1] / "templates")
    for stage in pipeline["stages"]:
        stage.get("lookup", {})["cache_s"] = 3600
    if not lookup:
        pipeline["stages"] = [stage for stage in pipeline["stages"] if "lookup" not in stage]
    file = folder / f"{lookup}.yaml"
    file.write_bytes(orjson.dumps(pipeline))
    return build(load(file, {}), store)


async def _process(plan: Plan, batches: Batches) -> float:
    begin = time.process_time()
    for records in batches:
        await plan.process(records)
    return time.process_time() - begin


def _floor(batches: Batches) -> float:
    begin = time.process_time()
    for records in batches:
        for record in records:
            orjson.dumps(orjson.loads(record.value))
    return time.process_time() - begin


def table(kind: str) -> dict[str, float]:
    """Read a large table; give seconds and the memory it takes."""
    names = ("id", "name", "city", "tier", "limit")
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, f"table.{kind}")
        with file.open("w") as lines:
            lines.write(",".join(names) + "\n" if kind == "csv" else "")
            for n in range(ROWS):
                cells = (f"user-{n:07d}", f"Customer {n}", f"City {n % 500}", "gold", f"{n}.5")
                row = orjson.dumps(dict(zip(names, cells, strict=True))).decode()
                lines.write((",".join(cells) if kind == "csv" else row) + "\n")
        before = psutil.Process().memory_info().rss
        begin = time.perf_counter()
        rows = read_table(file, "id")
        seconds = time.perf_counter() - begin
        taken = psutil.Process().memory_info().rss - before
        file_mib = file.stat().st_size / 2**20
    return {"rows": len(rows), "seconds": seconds, "mib": taken / 2**20, "file_mib": file_mib}


def rows() -> list[tuple[str, str, str]]:
    """Give the figures as rows of a table."""
    found = run(200_000)
    made = [
        (
            f"look-ups: Redis commands, {found['batches']} batches, {found['users']:,} users",
            f"{found['commands']}",
            "",
        )
    ]
    for name, what in (("cost_us", "answers known"), ("asking_us", "nobody known")):
        ratio = found[name] / found["floor_us"]
        made.append((f"  the stage, {what}", f"{found[name]:.2f} µs", f"{ratio:.2f}×"))
    for kind in ("csv", "jsonl"):
        read = table(kind)
        figure = f"{read['seconds']:.1f} s, {read['mib']:.0f} MiB"
        made.append((f"  a table of {read['rows']:,} rows, {kind}", figure, ""))
    return made


if __name__ == "__main__":
    for what, figure, ratio in rows():
        print(f"{what:<60}{figure:>18}{ratio:>9}")
