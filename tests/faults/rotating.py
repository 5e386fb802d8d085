"""A program that writes lines to a file and rotates it, as logrotate would."""

from __future__ import annotations

import random
import shutil
import threading
import time
from pathlib import Path
from typing import Self

import orjson

PER_SECOND = 2_500


class Writer:
    """Writes numbered lines from a thread of its own; use it as a context manager, which waits.

    A file is begun anew after 100 to 800 lines, many times a second, and half of the lines come
    in two pieces.

    Args:
        folder: Where `app.log` grows, and `app.log-1`, `app.log-2` and so on are left.
        count: Lines.
        seed: Of where lines are torn and files end.
        copies: Whether a file is copied and truncated; else it is renamed.
    """

    def __init__(self, folder: Path, count: int, seed: int, *, copies: bool) -> None:
        self.path = folder / "app.log"
        self.written = 0
        self.rotated = 0
        self._count, self._random, self._copies = count, random.Random(seed), copies
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def has_written(self, count: int) -> bool:
        """Tell whether so many lines are written."""
        return self.written >= count

    def _write(self) -> None:
        begin = time.monotonic()
        while self.written < self._count:
            lines = min(self._random.randint(100, 800), self._count - self.written)
            with self.path.open("ab", buffering=0) as file:
                for _ in range(lines):
                    if self.written % 50 == 0:
                        time.sleep(max(0, begin + self.written / PER_SECOND - time.monotonic()))
                    line = orjson.dumps({"number": self.written, "text": "x" * 200}) + b"\n"
                    cut = self._random.randrange(2 * len(line))
                    file.write(line[:cut])
                    if rest := line[cut:]:
                        file.write(rest)
                    self.written += 1
                self._rotate()

    def _rotate(self) -> None:
        """Begin anew, while the file is still open."""
        self.rotated += 1
        old = self.path.with_name(f"app.log-{self.rotated}")
        if self._copies:
            shutil.copyfile(self.path, old)
            with self.path.open("r+b") as file:
                file.truncate()
        else:
            self.path.rename(old)
