"""Say whether a value is among those that Redis knows for a key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Literal

import orjson
from pydantic import Field, field_validator

from enricher import path, template
from enricher.lookups.cache import Cache, Found
from enricher.lookups.cached import CachedStore
from enricher.lookups.keyed import KeyedLookup
from enricher.lookups.store import Answer
from enricher.model import Event, Failure, Shared
from enricher.path import FieldPath
from enricher.stages.base import Context, Example, Stage
from enricher.template import Template

_VALUES, _TEXTS = "values", "texts"


class Known(Stage):
    """Write whether a field's value is in the JSON list that is stored under a key.

    No key, no value or no list: nothing is written. What is stored and is no list is a failure.
    Answers are kept as those of a `lookup` are, negative ones too, and while Redis is away what was
    known of a key answers; for any other key that is a failure, or the records wait.
    """

    kind: ClassVar[str] = "known"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "a method that the user had before",
            "known: {key: 'methods:{user}', field: method, target: is_known}",
            {"user": "u1", "method": "UPI"},
            {"user": "u1", "method": "UPI", "is_known": True},
            lookups={"methods:u1": b'["UPI", "WALLET"]'},
        ),
        Example(
            "a new one",
            "known: {key: 'methods:{user}', field: method, target: is_known}",
            {"user": "u1", "method": "CARD"},
            {"user": "u1", "method": "CARD", "is_known": False},
            lookups={"methods:u1": b'["UPI", "WALLET"]'},
        ),
        Example(
            "nobody knows",
            "known: {key: 'methods:{user}', field: method, target: is_known}",
            {"user": "u2", "method": "CARD"},
            {"user": "u2", "method": "CARD"},
        ),
    )
    key: Template = Field(description="Such as `methods:{user_id}`; it begins with a fixed text.")
    field: FieldPath
    target: FieldPath = Field(description="Gets true or false.")
    cache_s: float = Field(
        default=60.0, ge=0, description="Seconds that a list is kept at most; 0 asks anew."
    )
    cache_mib: float = Field(
        default=32.0, gt=0, description="Memory for lists, expired ones too, about."
    )
    on_unavailable: Literal["tag", "wait"] = Field(
        default="tag",
        description="While Redis is away: answer from what was known, else fail; or wait for it.",
    )
    max_key_bytes: int = Field(default=512, gt=0, description="A longer key is a failure.")

    @field_validator("key")
    @classmethod
    def _begins_fixed(cls, key: str) -> str:
        if not template.parse(key)[0].literal:
            raise ValueError(
                f'begin "{key}" with a fixed text, such as "methods:{key}": '
                "an event could name any key of the server otherwise"
            )
        return key

    def compile(self, context: Context) -> KeyedLookup:
        """Build the function of a batch; Redis is connected when it is first asked."""
        store = context.lookups
        asked = CachedStore(
            name=self.name or self.kind,
            store=store,
            cache=Cache(self.cache_s if store.lasting else 0.0, int(self.cache_mib * 2**20)),
            read=read_list,
            hash_fields=None,
            max_key_bytes=self.max_key_bytes,
            waits=self.on_unavailable == "wait",
        )
        key = template.renderer(self.key, context.builtins)
        return KeyedLookup(self, key, applier(self.field, self.target), asked)

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return [self.target]


def read_list(answer: Answer) -> Found:
    """Read a stored list: its values as JSON, so that true is not 1."""
    if answer is None:
        return None
    if not isinstance(answer, bytes):
        return str(answer)
    try:
        stored = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return "the stored value is not JSON"
    if type(stored) is not list:
        return "the stored value is no JSON list"
    texts = frozenset([value for value in stored if type(value) is str])
    return Shared({_VALUES: frozenset(map(_as_json, stored)), _TEXTS: texts})


def _as_json(value: object) -> bytes:
    """Write a value; one that is too deep to be written is in no event either."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return b""


def applier(field: str, target: str) -> Callable[[Event, Found], None]:
    """Build the function that writes whether an event's value is in what was found."""
    get, put, as_json, values = path.getter(field), path.setter(target), _as_json, _VALUES
    texts = _TEXTS

    def apply(event: Event, found: Found) -> None:
        if type(found) is str:
            raise Failure(found)
        value = get(event)
        if value is not None and type(found) is Shared:
            if type(value) is str:
                put(event, value in found[texts])
            else:
                put(event, as_json(value) in found[values])

    return apply
