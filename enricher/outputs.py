"""What a record sends beside its document: messages to Kafka, values in Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, Field, field_validator, model_validator

from enricher import body, template
from enricher.connections import STRICT
from enricher.expression import Predicate
from enricher.model import Destination, Event, Record
from enricher.template import Template

MAX_KEY_BYTES = 512
"""A longer key gives way to the record's id."""
Body = dict[str, Any] | None


class _Target(BaseModel):
    """What outputs of all kinds have."""

    model_config = STRICT
    body: Body = Field(
        default=None,
        description="Fields and what they get: constants, and texts with `{field}` in them. A text "
        "that is one `{field}` alone keeps the value's type, a missing field gives null. The whole "
        "event where not given.",
    )

    @field_validator("body")
    @classmethod
    def _check_body(cls, value: Body) -> Body:
        body.check(value)
        return value


class TopicOutput(_Target):
    """A message to a topic of Kafka.

    Its header `id` is the record's id, a slash and the output's name: what is sent again after a
    crash, or by `dlq replay`, has the same, so that a reader can drop the second.
    """

    topic: str = Field(
        pattern=r"^[a-zA-Z0-9._-]{1,249}$", description="Of `connections.kafka`; made beforehand."
    )
    key: Template | None = Field(
        default=None,
        description="Names the partition, such as `{user_id}`. The record's id where not given, "
        "or where a field of it is missing.",
    )

    @field_validator("key")
    @classmethod
    def _check_key(cls, text: str | None) -> str | None:
        return _of_the_event(text)


class RedisOutput(_Target):
    """A value in Redis, JSON as a text, that expires: `SET key value EX seconds`.

    Of two values with one key, the one written last stays.
    """

    key: Template = Field(
        description="Begins with a text that is fixed, such as `fraud_alert:{payment_id}`. Where a "
        "field of it is missing, the record's id stands behind that text."
    )
    expire_s: int = Field(ge=1, le=10 * 366 * 86_400, description="Seconds that the value stays.")

    @field_validator("key")
    @classmethod
    def _check_key(cls, text: str) -> str:
        if not template.parse(text)[0].literal:
            raise ValueError(
                f'begin "{text}" with a fixed text, such as "alert:{text}": '
                "an event could overwrite any key of the server otherwise"
            )
        return _of_the_event(text) or text


def _of_the_event(text: str | None) -> str | None:
    if text is not None and any(part.builtin for part in template.parse(text)):
        raise ValueError("a key comes from the event alone: a replay must give it again")
    return text


class Output(BaseModel):
    """Sends something for every event for which `when` is true.

    The record is acknowledged only once that is durable, too.
    """

    model_config = STRICT
    kinds: ClassVar[tuple[str, ...]] = ("kafka", "redis")
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Of its own; counted by it.")
    when: Predicate | None = Field(
        default=None, description="A condition, such as `fraud_score > 60`; none: every event."
    )
    kafka: TopicOutput | None = None
    redis: RedisOutput | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Output:
        if sum(getattr(self, kind) is not None for kind in self.kinds) != 1:
            raise ValueError(f"an output names exactly one of {', '.join(self.kinds)}")
        return self

    @property
    def sink(self) -> str:
        """Give the name of what it is written to."""
        return "kafka" if self.kafka else "redis"

    @property
    def target(self) -> TopicOutput | RedisOutput:
        """Give what it says of that."""
        return self.kafka or self.redis  # type: ignore[return-value]  # it has one of them

    @property
    def destination(self) -> Destination:
        """Give what is the same for every event."""
        if self.redis:
            fixed = template.parse(self.redis.key)[0].literal
            return Destination(self.name, self.sink, fixed, expire_s=self.redis.expire_s)
        return Destination(self.name, self.sink, topic=self.kafka.topic if self.kafka else "")

    def key(self) -> Callable[[Event], str | None] | None:
        """Build the function that gives the key, to be checked by `fit_key`; None where none is."""
        return template.renderer(self.target.key) if self.target.key is not None else None


def fit_key(key: str | None, to: Destination, record: Record) -> str:
    """Give a key, or what stands for one that lacks a field or is too long."""
    if key is not None and len(key.encode()) <= MAX_KEY_BYTES:
        return key
    return to.prefix + record.id
