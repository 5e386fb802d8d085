"""The words every other module speaks: event, record, delivery, document, dead letter.

Imports nothing of ours. Data goes one way (source → plan → sink); the acknowledgement comes
back once, when every record of a delivery is settled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

Event = dict[str, Any]
"""A decoded record. Nested values are never changed in place: whoever writes replaces them
along the path, so a cached value may be shared by many events."""


class Shared(dict[str, Any]):
    """Fields that many events get, out of a cache, with the row that the plan made of them."""

    __slots__ = ("owner", "piece", "row")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.owner: object = None
        self.piece = b""
        self.row: tuple[Any, ...] = ()
        """Whose row it is, and what that one keeps here (`fragments.Rows`)."""


class Record(NamedTuple):
    """One raw record, as a source read it."""

    value: bytes
    id: str
    """Names this record for good: the `_id` of its document and of its dead letter."""
    timestamp: int | None
    """Milliseconds since the epoch, given by the broker or on arrival; None for a file."""
    stream: str
    """Where it came from: `topic/partition`, the path of a file, or the source's name."""
    position: int
    """Offset in the partition, byte offset in the file, or place in what was sent to us."""
    key: bytes | None = None


@dataclass(slots=True)
class Delivery:
    """Records that are acknowledged together, once each of them is settled."""

    records: list[Record]
    acknowledge: Callable[[], Awaitable[None]]
    """Called exactly once, after every record is indexed, dropped or a durable dead letter."""
    size: int = 0
    """Raw bytes held; counted against the budget of bytes in flight."""


class Document(NamedTuple):
    """The outcome of a record that goes to a sink."""

    record: Record
    sink: str
    """Name of the sink that owes an answer for it."""
    index: str  # type: ignore[assignment]  # hides tuple.index(), which nobody calls
    id: str
    version: int | None
    """None: the id is the record's own and is created once. A number (ms): the route named the
    id, and of two documents with one id the higher version stays."""
    body: bytes
    """One JSON object, without a newline."""
    alerts: tuple[Alert, ...] = ()
    outputs: tuple[Output, ...] = ()
    """What goes elsewhere beside it; the record is settled once that is, too."""


class Destination(NamedTuple):
    """What an item of `outputs:` says for all events."""

    name: str
    """The item's own; the stage of a dead letter whose output was refused."""
    sink: str
    """`kafka` or `redis`: who owes an answer."""
    prefix: str = ""
    """What every key begins with."""
    topic: str = ""
    expire_s: int = 0


class Output(NamedTuple):
    """What a record sends beside its document."""

    record: Record
    to: Destination
    key: str
    body: bytes
    """One JSON object, without a newline."""

    @property
    def id(self) -> str:
        """Give what tells it from all others, and is the same when it is sent again."""
        return f"{self.record.id}/{self.to.name}"


class DeadLetter(NamedTuple):
    """The outcome of a record that cannot be indexed, with the reason why."""

    record: Record
    stage: str
    error: str
    """Class of the error: a Python exception's name, or the sink's error type."""
    reason: str
    is_masked: bool = False
    """Whether personal data is hidden in it: it is not the record any more."""


class Dropped(NamedTuple):
    """The outcome of a record that a stage threw away on purpose."""

    record: Record
    stage: str


class Alert(NamedTuple):
    """An alert that matched one event, with its text filled in."""

    name: str
    summary: str
    fingerprint: str | None = None
    """What makes it the same as another; None where a field of that is missing."""
    labels: tuple[str | None, ...] | None = None
    """The texts of its labels, in their order; None: these and the fingerprint speak of the
    document's `_id` or `_index`, and are read off the document."""


Outcome = Document | DeadLetter | Dropped


class Rejected(NamedTuple):
    """What a sink refused for good."""

    document: Document | Output
    error: str
    reason: str


class Drop(Exception):  # noqa: N818 - a decision, not an error
    """Raised by a stage to throw the event away."""


class Failure(Exception):  # noqa: N818 - the field's word; its text goes into `failures`
    """Raised by a stage that cannot do its work on this event; the text is the reason."""

    def __init__(self, reason: str, error: str = "Failure") -> None:
        super().__init__(reason)
        self.error = error
        """Its class in the dead-letter queue: few values, good for counting."""


class Unavailable(Exception):  # noqa: N818
    """A server that is needed now cannot be reached; the text says where and what to do."""

    def __init__(self, text: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
        """The server's Retry-After in seconds; 0 where it gave none."""


class UserError(Exception):
    """A mistake of the caller; printed as it is, without a traceback, exit code 2."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a pipeline file."""

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    path: str = ""
    """Where in the file's structure, such as `stages[3].translate`."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        return f"{place if self.file else ''}{f'{self.path}: ' if self.path else ''}{self.message}"


class ConfigError(UserError):
    """A pipeline that cannot be built; carries every mistake that one pass can find."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class Progress(NamedTuple):
    """How far one partition of a source is settled."""

    topic: str
    partition: int
    watermark: int | None
    """The offset below which all is settled; None before that is known."""
    lag: int | None
    """Offsets between the watermark and the end of the partition; None before both are known."""
    age_s: float
    """Seconds since the oldest delivery that is not settled; 0 when all is."""


class Source(Protocol):
    """Reads records and takes their acknowledgement."""

    name: str

    @property
    def blocked(self) -> str | None:
        """Why nothing can be read at the moment, for readiness; None while all is well."""
        return None

    def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield deliveries until `stop()` is called or the input ends."""
        ...

    def stop(self) -> None:
        """Make `deliveries()` end soon; acknowledgements still count until `close()`."""
        ...

    async def commit(self) -> bool:
        """Make what is acknowledged outlast a crash now; False where that has to wait."""
        ...

    async def close(self) -> None:
        """Commit what is acknowledged and free the connection."""
        ...


class Sink(Protocol):
    """Writes documents and answers for each of them."""

    @property
    def blocked(self) -> str | None:
        """Why nothing can be written at the moment, for readiness; None while all is well."""
        return None

    async def open(self) -> None:
        """Connect, waiting with backoff while the server is away."""
        ...

    async def write(self, documents: list[Document], /) -> list[Rejected]:
        """Return once every document is durable or refused for good; give the refused ones."""
        ...

    async def close(self) -> None:
        """Flush and free the connection."""
        ...


class OutputSink(Protocol):
    """Writes outputs and answers for each of them; otherwise like a `Sink`."""

    @property
    def blocked(self) -> str | None:
        """Why nothing can be written at the moment, for readiness; None while all is well."""
        return None

    async def open(self) -> None:
        """Connect, waiting with backoff while the server is away."""
        ...

    async def write(self, outputs: list[Output], /) -> list[Rejected]:
        """Return once every output is durable or refused for good; give the refused ones."""
        ...

    async def close(self) -> None:
        """Flush and free the connection."""
        ...


class DeadLetterSink(Protocol):
    """Keeps dead letters; returns only once they are durable."""

    pipeline: str
    """Name and hash of the pipeline, for whoever reads a letter."""

    @property
    def blocked(self) -> str | None:
        """Why nothing can be written at the moment, for readiness; None while all is well."""
        return None

    async def open(self) -> None:
        """Connect, waiting with backoff while the server is away."""
        ...

    async def write(self, letters: list[DeadLetter]) -> None:
        """Return once every letter is durable."""
        ...

    async def close(self) -> None:
        """Flush and free the connection."""
        ...
