"""`python -m tests.fuzz [TARGET …]`: fuzz each for `FUZZ_SECONDS` (60), and say what failed."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz import unguided
from tests.fuzz.target import FINDINGS, Target
from tests.fuzz.targets import TARGETS

FOLDER = Path("run-output", "fuzz")


def main(names: list[str]) -> int:
    """Fuzz, one after the other; gives the exit code."""
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        print(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
        return 2
    seconds = int(os.environ.get("FUZZ_SECONDS", "60"))
    guide = fuzz_guided if importlib.util.find_spec("atheris") else fuzz_unguided
    if guide is fuzz_unguided:
        print("atheris is not installed here (it has no package for every platform):")
        print("inputs are drawn by Hypothesis, without a look at what they reach\n")
    failed = [name for name in names or TARGETS if not guide(TARGETS[name], seconds)]
    if failed:
        print(f"\nfailed: {', '.join(failed)}; mend it, and put the input into {FINDINGS}/TARGET")
    return bool(failed)


def fuzz_guided(target: Target, seconds: int) -> bool:
    """Fuzz in a process of its own. Returns whether all went well."""
    folder = FOLDER / target.name
    command = [sys.executable, "-m", "tests.fuzz.guided", target.name, str(seconds), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    count = re.search(r"number_of_executed_units: *(\d+)", done.stderr)
    reached = re.findall(r"cov: (\d+)", done.stderr)
    print(
        f"{target.name:<14} {int(count[1]) if count else 0:>10,} inputs, "
        f"{reached[-1] if reached else 0} places reached, {'ok' if not done.returncode else 'FAILED'}",
        flush=True,
    )
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-3000:], flush=True)
    return not done.returncode


def fuzz_unguided(target: Target, seconds: int) -> bool:
    """Fuzz in this process. Returns whether all went well."""
    try:
        count = unguided.run_for(target, seconds)
    except Exception as error:
        print(f"{target.name:<14} FAILED: {error!r}")
        print("\n".join(getattr(error, "__notes__", [])), flush=True)
        return False
    print(f"{target.name:<14} {count:>10,} inputs, ok", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
