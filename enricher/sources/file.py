"""Read records from files of lines (NDJSON), once or as they grow, and from standard input."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from enricher.lines import MAX_RECORD, STDIN, Progress, read_records, total_bytes
from enricher.model import Delivery, Source, UserError
from enricher.sources.base import Setting, SourceModel


class File(SourceModel):
    """Read files of lines once, from start to end, or follow them as they grow.

    A record's id is device, inode, a hash of the first line and the byte offset: renaming a file
    changes none of it. gzip is told by its first bytes; offsets are those of the decompressed
    stream. `-` is standard input; its records are numbered anew in every run, so they are written
    at least once.

    With `follow`, files are read as they are written, for ever: twice a second all that `paths`
    match are looked at. How far each is settled is kept in `state`, so that after a crash nothing
    is lost, and read again is only what was not settled; under the same ids, it is written once. A
    file that was renamed is read to its end, wherever in its folder it lies, and let go once it
    was quiet for `let_go_s`; let `paths` match the new name too (`app.log*`), and a rotation
    is seen even if it falls together with a restart. A last line waits for its newline until its
    file is let go.

    A file that shrinks, or has another first line, begins anew. So copying and truncating
    (logrotate's `copytruncate`) works as well as it can: what is written between the two, or not
    read before, is lost, and a copy that `paths` match is read as the other file that it is.
    Deleting, compressing or moving a file to another folder before it is read to its end loses
    the rest, which a warning and a metric tell.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "file: {paths: [samples/payments.ndjson, archive/payments.ndjson.gz]}",
        'file: {paths: ["-"], name: stdin}',
        (
            'file:\n  paths: ["/var/log/app/*.log*"]\n  follow: true\n'
            "  state: /var/lib/enricher/app.state"
        ),
    )

    paths: list[str] = Field(
        min_length=1,
        description="Files, read one after the other; with `follow`, patterns: `*`, `?`, `[a-z]`, "
        "and `**` for any folders. Relative ones start where enricher was started.",
    )
    name: str = Field(default="file", description="Of this source, in logs and metrics.")
    max_record_bytes: int = Field(
        default=MAX_RECORD,
        gt=0,
        description="A longer line is passed on cut to one byte more, to be refused as too large.",
    )
    follow: bool = Field(default=False, description="Go on reading what is written, for ever.")
    state: Path | None = Field(
        default=None,
        description="With `follow`: the file in which it is kept how far all is settled. It has to "
        "outlast a restart; each source has its own.",
    )
    exclude: list[str] = Field(
        default=["*.gz", "*.bz2", "*.xz", "*.zst", "*.zip"],
        description="With `follow`: patterns of file names that are left alone, by default those "
        "that a rotation compresses.",
    )
    max_open_files: int = Field(
        default=256, gt=0, description="With `follow`: kept open at a time, of any number."
    )
    let_go_s: float = Field(
        default=60.0,
        ge=0,
        description="With `follow`: seconds without a change after which a file is let go that "
        "`paths` do not match any more.",
    )

    @model_validator(mode="after")
    def _keeps_its_place(self) -> File:
        if self.follow and self.state is None:
            raise ValueError(
                "follow needs state: a file in which it is kept how far all is settled, such as "
                "/var/lib/enricher/app.state"
            )
        if self.follow and STDIN in self.paths:
            raise ValueError("standard input cannot be followed; leave follow out, it ends itself")
        if self.state and not self.follow:
            raise ValueError("state is for follow: true; without it, files are read from the start")
        return self

    def check_files(self, folder: Path) -> None:  # noqa: ARG002 - paths start elsewhere
        """Look into the state, where there is one. Raises UserError: it is damaged."""
        if self.state is not None:
            from enricher.tail import state

            state.read(self.state)

    def build(self, setting: Setting) -> Source:
        """Make the source; the files are opened when they are read."""
        if setting.worker is not None:
            raise UserError(
                "reads files, which workers cannot share; leave --workers out, or choose others "
                "with --source"
            )
        if self.state is None:
            return FileSource(self.paths, name=self.name, max_record_bytes=self.max_record_bytes)
        from enricher.tail.follower import Settings
        from enricher.tail.source import FollowedFiles

        settings = Settings(
            self.paths, self.exclude, self.max_record_bytes, self.max_open_files, self.let_go_s
        )
        return FollowedFiles(self.name, settings, self.state)


class FileSource(Source):
    """Yields the lines of files; acknowledging them changes nothing.

    Args:
        paths: Files to read, `-` for standard input.
        name: For logs and metrics.
        max_record_bytes: See `File`.
    """

    def __init__(
        self, paths: Iterable[str], *, name: str = "file", max_record_bytes: int = MAX_RECORD
    ) -> None:
        self.name = name
        self.total_bytes: int | None = None
        """Bytes on disk of all files together; None when that is unknown (a pipe)."""
        self._paths = tuple(paths)
        self._max_record_bytes = max_record_bytes
        self._progress = Progress()

    @property
    def read_bytes(self) -> int:
        """Bytes on disk read so far."""
        return self._progress.read_bytes

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield up to 1,000 records or about 1 MiB at a time, until the last file ends.

        Raises:
            UserError: A file is missing, unreadable or damaged.
        """
        self.total_bytes = total_bytes(self._paths)
        for path in self._paths:
            batches = read_records(
                path, max_record_bytes=self._max_record_bytes, progress=self._progress
            )
            while not self._progress.stopping:
                records = await asyncio.to_thread(next, batches, None)
                if records is None:
                    break
                size = sum([len(record[0]) for record in records])
                yield Delivery(records, _nothing, size)

    def stop(self) -> None:
        """Make `deliveries()` end soon."""
        self._progress.stopping = True

    async def commit(self) -> bool:
        """Do nothing: a file remembers nothing."""
        return True

    async def close(self) -> None:
        """Free what is open."""
        self.stop()


async def _nothing() -> None:
    """Acknowledge: a file remembers nothing."""
