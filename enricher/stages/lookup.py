"""Look a key up in Redis or a file, once for a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from enricher import path, template
from enricher.functions import to_number
from enricher.lookups.cache import Cache, Found
from enricher.lookups.cached import CachedStore
from enricher.lookups.file import FileLookups
from enricher.lookups.keyed import KeyedLookup
from enricher.lookups.store import Answer
from enricher.lookups.table import read_table
from enricher.lookups.value import parse
from enricher.model import Event, Failure, Shared
from enricher.path import FieldPath
from enricher.stages.base import Context, Example, Stage
from enricher.template import Template


class Lookup(Stage):
    """Get the JSON object that is stored under a key and write it to `target`.

    One round trip for a batch, each key once, and answers are kept for `cache_s`, negative ones
    too. A key that the store does not know, or whose fields are missing, changes nothing. A
    value that is no JSON object is a failure.

    While Redis is away, what was known of a key answers, however old; for any other key that is a
    failure. With `on_unavailable: wait` the records wait instead, for a fresh answer. A server that
    failed three times in a row is left alone, and asked again aside until it answers.

    `from: file` looks into a table instead, CSV with a header or JSON lines, such as
    `lookup: {from: file, file: shops.csv, key_field: id, key: "{shop_id}", target: shop}`. It is
    read when the pipeline starts, and again when it changes; inline tests read it, too.
    """

    kind: ClassVar[str] = "lookup"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "a known user",
            "lookup: {key: 'user:{user_id}', target: user}",
            {"user_id": "u1"},
            {"user_id": "u1", "user": {"days": 5}},
            lookups={"user:u1": b'{"days": 5}'},
        ),
        Example(
            "a number of it in a field of its own",
            "lookup: {key: 'user:{user_id}', target: user, numbers: {user_days: days}}",
            {"user_id": "u1"},
            {"user_id": "u1", "user": {"days": "5"}, "user_days": 5},
            lookups={"user:u1": b'{"days": "5"}'},
        ),
        Example(
            "some fields of a hash",
            "lookup: {key: 'user:{user_id}', target: user, hash: true, fields: [tier]}",
            {"user_id": "u1"},
            {"user_id": "u1", "user": {"tier": "gold"}},
            lookups={"user:u1": b'{"tier": "gold", "city": "Pune"}'},
        ),
        Example(
            "an unknown user",
            "lookup: {key: 'user:{user_id}', target: user}",
            {"user_id": "u2"},
            {"user_id": "u2"},
        ),
    )
    source: Literal["redis", "file"] = Field(
        default="redis", alias="from", description="Where to look: `connections.redis`, or `file`."
    )
    key: Template = Field(
        description="Such as `user:{user_id}`: for Redis it begins with a text that is fixed."
    )
    target: FieldPath
    file: Path | None = Field(
        default=None, description="A table: `.csv`, `.tsv`, `.ndjson` or `.jsonl`, in UTF-8."
    )
    key_field: str | None = Field(
        default=None, description="The table's column, or its objects' field, that holds the key."
    )
    hash: bool = Field(
        default=False,
        description="Whether hashes are stored, and not JSON; their values are texts.",
    )
    fields: list[str] = Field(
        default_factory=list, description="Those of the object that are wanted; all if not given."
    )
    numbers: dict[FieldPath, FieldPath] = Field(
        default_factory=dict,
        description="Fields that get a number of the object, by its path there; numeric text is "
        "converted, anything else is a failure, absent or null writes nothing.",
    )
    cache_s: float = Field(
        default=60.0, ge=0, description="Seconds that an answer is kept at most; 0 asks anew."
    )
    cache_mib: float = Field(
        default=32.0, gt=0, description="Memory for answers, expired ones too, about."
    )
    on_unavailable: Literal["tag", "wait"] = Field(
        default="tag",
        description="While Redis is away: answer from what was known, else fail; or wait for it.",
    )
    max_key_bytes: int = Field(default=512, gt=0, description="A longer key is a failure.")

    @model_validator(mode="after")
    def _fits_its_source(self) -> Lookup:
        given, is_file = self.model_fields_set, self.source == "file"
        wrong = sorted(given & (_OF_REDIS if is_file else _OF_FILES))
        if wrong:
            needed = "redis" if is_file else "file"
            raise ValueError(f"{', '.join(wrong)}: only with `from: {needed}`")
        if is_file and not (self.file and self.key_field):
            raise ValueError(
                "from: file needs file and key_field, such as "
                "`{from: file, file: users.csv, key_field: user_id}`"
            )
        if not is_file and not template.parse(self.key)[0].literal:
            raise ValueError(
                f'key: begin "{self.key}" with a fixed text, such as "user:{self.key}": '
                "an event could name any key of the server otherwise"
            )
        return self

    def compile(self, context: Context) -> KeyedLookup:
        """Build the function of a batch; Redis is connected when it is first asked.

        Raises ValueError for a bad file.
        """
        return KeyedLookup(
            stage=self,
            key=template.renderer(self.key, context.builtins),
            apply=applier([self.target, *self.numbers]),
            asked=cached_store(self, context),
        )

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return [self.target, *self.numbers]

    def wanted(self) -> list[str]:
        """Give the fields of the object that are needed; all where empty."""
        roots = [path.parse(source)[0] for source in self.numbers.values()]
        return list(dict.fromkeys([*self.fields, *roots])) if self.fields else []


_OF_FILES = frozenset({"file", "key_field"})
_OF_REDIS = frozenset({"hash", "cache_s", "on_unavailable", "max_key_bytes"})
_LONGEST_KEY = 1 << 20


def cached_store(stage: Lookup, context: Context) -> CachedStore:
    """Open what a stage asks. Raises ValueError for a bad file."""
    store, seconds, limit = context.lookups, stage.cache_s, stage.max_key_bytes
    if stage.file and stage.key_field:
        table = read_table(context.path(stage.file), stage.key_field, stage.wanted())
        store, seconds, limit = FileLookups(table), math.inf, _LONGEST_KEY
    return CachedStore(
        name=stage.name or stage.kind,
        store=store,
        cache=Cache(seconds if store.lasting else 0.0, int(stage.cache_mib * 2**20)),
        read=reader(stage),
        hash_fields=stage.wanted() if stage.hash else None,
        max_key_bytes=limit,
        waits=stage.on_unavailable == "wait",
    )


def reader(stage: Lookup) -> Callable[[Answer], Found]:
    """Build the function that reads a stored value and works out the fields that it gives."""
    target, chosen = stage.target, stage.fields
    numbers = [(field, source, path.getter(source)) for field, source in stage.numbers.items()]
    wanted = frozenset(stage.wanted())

    def read(answer: Answer) -> Found:
        if answer is None:
            return None
        stored = parse(answer) if isinstance(answer, bytes) else str(answer)
        if isinstance(stored, str):
            return stored
        if wanted and wanted.isdisjoint(stored):
            return None
        kept = {name: stored[name] for name in chosen if name in stored} if chosen else stored
        fields: dict[str, Any] = {target: kept}
        reasons = []
        for field, source, get in numbers:
            number = get(stored)
            try:
                if number is not None:
                    is_number = type(number) in (int, float)
                    fields[field] = number if is_number else to_number(number, source)
            except Failure as failure:
                reasons.append(str(failure))
        return (fields, "; ".join(reasons)) if reasons else Shared(fields)

    return read


def applier(fields: list[str]) -> Callable[[Event, Found], None]:
    """Build the function that writes what was found to an event."""
    keys = {field: path.parse(field) for field in fields}
    is_flat = all(len(parts) == 1 and parts[0] == field for field, parts in keys.items())
    setters = {field: path.setter(field) for field in fields}

    def write(event: Event, values: dict[str, Any]) -> None:
        for field, value in values.items():
            setters[field](event, value)

    def apply(event: Event, found: Found) -> None:
        if type(found) is Shared:
            if is_flat:
                event.update(found)
            else:
                write(event, found)
        elif type(found) is str:
            raise Failure(found)
        elif type(found) is tuple:
            write(event, found[0])
            raise Failure(found[1])

    return apply
