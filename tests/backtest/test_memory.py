"""Memory grows with what rules tell apart, not with the number of events."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ..cli.program import surroundings
from .histories import RULES

KEYS = 1_000
SCRIPT = """\
import sys
from pathlib import Path
from enricher.cli import main
try:
    main()
finally:
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    print(lines["VmHWM"].split()[0], file=sys.stderr)
"""
"""What `wait4` says of a process begins with its parent's memory."""
GROWTH_MIB = 8
"""What twice the events may take more; their lines alone are 25 MiB."""


def line(number: int) -> str:
    second = number // 10
    stamp = f"2025-10-{1 + second // 86_400:02d}T{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
    fraud = number % 100 == 0
    return (
        f'{{"timestamp":"{stamp}","id":"p{number}","kind":"payment","user_id":"u{number % KEYS}",'
        f'"amount":{number % 300},"country":"{"Nepal" if fraud else "India"}","night":false}}\n'
    )


def peak_mib(folder: Path, count: int) -> float:
    """Run a backtest over so many events, and give the most memory that it ever had."""
    events = folder / f"{count}.ndjson"
    with events.open("w") as file:
        file.writelines(map(line, range(count)))
    arguments = ["backtest", "tiny.yaml", events.name, "--against", "other.yaml"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments, "--labels", "labels"],
        cwd=folder,
        env=surroundings({}),
        check=True,
        capture_output=True,
    )
    return int(done.stderr) / 1024


def test_twice_the_events_take_no_more_memory(tmp_path: Path) -> None:
    """Of the same keys and the same labels, two pipelines side by side."""
    (tmp_path / "tiny.yaml").write_text(RULES)
    (tmp_path / "other.yaml").write_text(RULES.replace("add: 10", "add: 11"))
    (tmp_path / "labels").write_text("".join(f'{{"id":"p{n}"}}\n' for n in range(0, 50_000, 100)))
    once, twice = (peak_mib(tmp_path, count) for count in (200_000, 400_000))
    assert twice - once < GROWTH_MIB, (once, twice)
