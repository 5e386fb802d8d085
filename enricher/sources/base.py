"""What every kind of source is: YAML fields that build one."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

from pydantic import BaseModel, Field

from enricher.connections import STRICT, Connections
from enricher.model import Source


class Setting(NamedTuple):
    """What a source may ask for when it is built."""

    connections: Connections = Connections()
    folder: Path = Path()
    """The pipeline file's own; relative paths start here."""
    worker: int | None = None
    """Which of several workers this is; None where there are no others."""


class SourceModel(BaseModel):
    """The fields that every source has."""

    model_config = STRICT
    examples: ClassVar[tuple[str, ...]] = ()
    name: str
    enabled: bool = Field(
        default=True,
        description="`false`: checked, and left alone unless `--source` names it.",
    )

    def check_files(self, folder: Path) -> None:
        """Open the files that it names, relative to a folder, as a start does. Raises UserError."""

    def build(self, setting: Setting) -> Source:
        """Make the source; nothing is connected or opened yet. Raises UserError."""
        raise NotImplementedError
