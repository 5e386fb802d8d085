"""What a stage is: YAML fields that compile to one function.

A stage is a frozen pydantic model. `compile()` returns a plain `def` of one event (and, where
the function has a second parameter, of its record) or an `async def` of a whole batch (and of
its records). It opens files, never the network.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import BaseModel, Field

from enricher.connections import STRICT
from enricher.expression import Predicate
from enricher.functions import kind_of
from enricher.geoip.database import Database
from enricher.lookups.store import Lookups, NoLookups
from enricher.model import Event, Failure, Record
from enricher.state import MemoryStates, States

EventFunction = Callable[[Event], None] | Callable[[Event, Record], None]
BatchFunction = (
    Callable[[list[Event]], Awaitable[Mapping[int, str]]]
    | Callable[[list[Event], list[Record]], Awaitable[Mapping[int, str]]]
)
"""Changes the events of a batch, in their order; gives the reasons of failures by index."""


class Decoder(Protocol):
    """Turns a batch of records into events; a failure stands where a record is refused."""

    def __call__(self, records: list[Record]) -> list[Event | Failure]:
        """Decode with every check."""
        ...

    def quickly(self, records: list[Record]) -> list[Event | Failure]:
        """Decode with every check but `is_sound`, which the caller makes."""
        ...

    def checked(
        self, records: list[Record], events: list[Event | Failure]
    ) -> list[Event | Failure]:
        """Give what `__call__` does, of events that were decoded quickly."""
        ...

    def is_sound(self, names: tuple[str, ...]) -> bool:
        """Say whether an event may have these top-level fields."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a stage may ask for while it compiles."""

    folder: Path = Path()
    """The pipeline file's own; relative paths start here."""
    allow_python: bool = False
    builtins: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    """What `{$now}` and the like stand for."""
    lookups: Lookups = field(default_factory=NoLookups)
    states: States = field(default_factory=MemoryStates)
    """What stages remember of earlier events."""
    pipeline: str = ""
    """Its name."""
    geoip_database: Path | None = None
    databases: dict[Path | None, Database] = field(default_factory=dict)
    """GeoIP databases that stages of this pipeline have opened; None is the packaged one."""

    def path(self, name: Path) -> Path:
        """Find a file that the pipeline names."""
        return name if name.is_absolute() else self.folder / name


class FieldError(ValueError):
    """A mistake in one field of a stage that shows while it compiles."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Example(NamedTuple):
    """A runnable example: shown in the reference, run as a test."""

    title: str
    yaml: str
    given: Event
    expect: Event
    """The event after the stage; for a failure with its `tags` and `failures`."""
    lookups: Mapping[str, bytes] = {}
    files: Mapping[str, str] = {}
    """Texts of the files that it names."""


class Stage(BaseModel):
    """The fields that every stage has."""

    model_config = STRICT
    kind: ClassVar[str] = ""
    """Its name in YAML."""
    examples: ClassVar[tuple[Example, ...]] = ()
    decodes: ClassVar[bool] = False
    """Whether it turns the raw record into the event; such a stage stands first."""
    drops: ClassVar[bool] = False
    """Whether it may raise `Drop`."""
    stateful: ClassVar[bool] = False
    """Whether it remembers earlier events: by its name, which no other such stage may have."""

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Names the failure tag `_<name>_failure`; the stage's type where not given.",
    )
    when: Predicate | None = Field(default=None, description="Skip the stage unless this is true.")
    on_error: Literal["tag", "dead_letter"] = Field(
        default="tag",
        description="`tag`: note the failure in the event and go on. `dead_letter`: stop there.",
    )

    def compile(self, context: Context) -> EventFunction | BatchFunction | Decoder:
        """Build the function that does the work."""
        raise NotImplementedError

    def writes(self) -> Iterable[str] | None:
        """Give the fields that the stage may write or remove; None stands for any.

        What no stage writes is read once an event. None is always right, and slower.
        """
        return None

    def repeats(self) -> bool:
        """Say whether the texts that it writes are few: worth being kept as JSON."""
        return False


def require_text(value: Any, field: str) -> str:
    """Give a value that must be a text. Raises `Failure`."""
    if type(value) is not str:
        raise Failure(f"{field} is {kind_of(value)}, not a text")
    return value


def note_failure(event: Event, name: str, reason: str) -> None:
    """Add the tag `_<name>_failure` and the reason; what `tags` held before stays."""
    tags = event.get("tags")
    held = tags if type(tags) is list else [] if tags is None else [tags]
    event["tags"] = [*held, f"_{name}_failure"]
    failures = event.get("failures")
    held_failures = failures if type(failures) is dict else {}
    event["failures"] = {**held_failures, name: reason[:MAX_REASON]}


MAX_REASON = 500
"""Characters of a reason that are kept."""
