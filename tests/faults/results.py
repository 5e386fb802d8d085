"""The figures of each case, gathered in a file and shown as a table of Markdown."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import psutil

from .checker import Verdict
from .scale import SCALE

FILE = Path(__file__).parents[2] / "run-output" / f"faults-{SCALE.name}.jsonl"
_COLUMNS = ("case", "sent", "indexed", "dead letters", "lost", "twice", "figures", "test")


def note(case: str, verdict: Verdict, **figures: object) -> None:
    """Keep a case's figures, and print them."""
    row = {
        "case": case,
        "sent": verdict.sent,
        "indexed": verdict.indexed,
        "dead letters": verdict.dead_letters,
        "lost": len(verdict.lost),
        "twice": len(verdict.twice),
        "figures": ", ".join(
            f"{value} {name.replace('_', ' ')}" for name, value in figures.items()
        ),
        "test": f"`{os.environ['PYTEST_CURRENT_TEST'].split('/')[-1].split(' ')[0]}`",
    }
    print(f"seed {SCALE.seed}: {row}")
    FILE.parent.mkdir(exist_ok=True)
    with FILE.open("a") as file:
        file.write(json.dumps(row) + "\n")


def table() -> str:
    """Make the table of what was noted last for each case."""
    rows: dict[str, dict[str, Any]] = {}
    for line in FILE.read_text().splitlines():
        row = json.loads(line)
        rows[row["case"]] = row
    lines = [" | ".join(_COLUMNS), " | ".join("---" for _ in _COLUMNS)]
    lines += [" | ".join(_text(row.get(name, "")) for name in _COLUMNS) for row in rows.values()]
    memory = psutil.virtual_memory().total >> 30
    machine = f"{os.cpu_count()} cores, {memory} GiB, Python {platform.python_version()}"
    head = f"{SCALE.name} form, seed {SCALE.seed}, {machine}, {platform.system()}"
    return f"{head}\n\n" + "\n".join(f"| {line} |" for line in lines)


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
