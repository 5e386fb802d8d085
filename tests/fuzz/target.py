"""A parser, and what has to be so whatever it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

FINDINGS = Path(__file__).parent / "findings"


class Target(NamedTuple):
    """One parser with its properties."""

    name: str
    run: Callable[[bytes], None]
    """Raises where something is not as it has to be."""
    seeds: Sequence[bytes]
    """Sound inputs, to begin with."""
    words: Sequence[bytes]
    """What sound inputs are made of."""

    def findings(self) -> list[bytes]:
        """Give what failed once."""
        return [file.read_bytes() for file in sorted((FINDINGS / self.name).glob("*"))]
