"""`make bench`: every figure that README quotes, in one run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from bench import endtoend, http, inprocess, lookup

ENRICHER = str(Path(sys.executable).with_name("enricher"))


def seconds_of(*command: str) -> float:
    """Give the median wall time of a command over five runs."""
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run([ENRICHER, *command], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    print(f"Python {sys.version.split()[0]}; figures of one run, ratios to the JSON codec\n")
    row("enricher check", f"{seconds_of('check', str(inprocess.PIPELINE)):.2f} s", "")
    row("enricher --help", f"{seconds_of('--help'):.2f} s", "")
    plan = inprocess.run(20_000)
    floor = plan["floor_us"]
    row("codec floor (orjson loads + dumps)", f"{floor:.2f} µs", "1.0×")
    row("payments pipeline, in process", f"{plan['event_us']:.2f} µs", f"{plan['ratio']:.1f}×")
    for name, ratio in plan["by_stage"].items():
        row(f"  {name} (alone)", f"{ratio * floor:.2f} µs", f"{ratio:.2f}×")
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:  # the pool of objects of another
        for name, figure, ratio in fresh.submit(lookup.rows).result():  # run costs as much again
            row(name, figure, ratio)
    server = http.run(600)
    row(
        "HTTP (NDJSON of 500) → a count, CPU an event",
        f"{server['cpu_us']:.1f} µs",
        f"{server['cpu_us'] / server['floor_us']:.1f}×",
    )
    row("  events/s of one core, by that", f"{1e6 / server['cpu_us']:,.0f}", "")
    row("  events/s beside its client", f"{server['events_per_second']:,.0f}", "")
    daemon = endtoend.run(120_000)
    row(
        "Kafka → Elasticsearch, client CPU an event",
        f"{daemon['cpu_us']:.1f} µs",
        f"{daemon['cpu_us'] / daemon['floor_us']:.1f}×",
    )
    small = endtoend.run(120_000, "zstd")
    row(
        "  the same of zstd in batches of 16 KiB",
        f"{small['cpu_us']:.1f} µs",
        f"{small['cpu_us'] / small['floor_us']:.1f}×",
    )
    row("  the first with all that happens once", f"{daemon['all_cpu_us']:.1f} µs", "")
    row("  codec floor beside the busy servers", f"{daemon['floor_us']:.2f} µs", "1.0×")
    row("  events/s with all servers on this machine", f"{daemon['events_per_second']:,.0f}", "")
    row(
        "  resident memory, idle / at full load",
        f"{daemon['idle_mib']:.0f} / {daemon['peak_mib']:.0f} MiB",
        "",
    )
    row("  CPU to start", f"{daemon['start_cpu_s']:.2f} s", "")


def row(name: str, figure: str, ratio: str) -> None:
    """Print one line of the table."""
    print(f"{name:<56}{figure:>18}{ratio:>9}", flush=True)


if __name__ == "__main__":
    main()
