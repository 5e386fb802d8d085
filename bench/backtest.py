"""`python -m bench.backtest`: a million payments of a month through the rules, with labels."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson

from bench.inprocess import PIPELINE

ENRICHER = [sys.executable, "-m", "enricher"]
MEASURED = """\
import sys, time
from pathlib import Path
from enricher.cli import main
try:
    main()
finally:
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    print(lines["VmHWM"].split()[0], time.process_time(), file=sys.stderr)
"""
"""What `wait4` says of a process's memory begins with its parent's."""
COUNT = 1_000_000
SHARE = 0.01


def generate(folder: Path, count: int) -> None:
    """Write history, labels, and what Redis would know."""
    arguments = ["generate", "--fraud", str(SHARE), "-n", str(count)]
    with (folder / "history.ndjson").open("wb") as file:
        labels = str(folder / "labels.ndjson")
        subprocess.run([*ENRICHER, *arguments, "--labels", labels], check=True, stdout=file)
    with (folder / "users.ndjson").open("wb") as file:
        subprocess.run([*ENRICHER, "generate", "--users"], check=True, stdout=file)


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a backtest; gives its figures, with its peak memory and its processor time."""
    known = ["--labels", str(folder / "labels.ndjson"), "--lookups", str(folder / "users.ndjson")]
    command = [sys.executable, "-c", MEASURED, "backtest", *arguments, *known, "--format", "json"]
    done = subprocess.run(command, check=True, capture_output=True)
    figures: dict[str, Any] = orjson.loads(done.stdout)
    peak_kib, cpu_s = done.stderr.split()
    return figures | {"peak_mib": int(peak_kib) / 1024, "cpu_s": float(cpu_s)}


def main() -> None:
    """Print a line for each way."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    pipeline = str(sys.argv[2]) if len(sys.argv) > 2 else str(PIPELINE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, count)
        history, tenth = str(folder / "history.ndjson"), str(count // 10)
        print(f"{'':<44}{'events/s':>12}{'by CPU':>12}{'peak MiB':>10}")
        for title, arguments in (
            (f"{pipeline}, {count // 10:,} events", [pipeline, history, "--limit", tenth]),
            (f"{pipeline}, {count:,} events", [pipeline, history]),
            ("  --against itself", [pipeline, history, "--against", pipeline]),
        ):
            found = run(folder, *arguments)
            by_cpu = found["events"] / found["cpu_s"]
            speed = f"{found['events_per_second']:>12,}{by_cpu:>12,.0f}{found['peak_mib']:>10.0f}"
            print(f"{title:<44}{speed}", flush=True)


if __name__ == "__main__":
    main()
