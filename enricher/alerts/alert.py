"""One item of `alerts:`: when it fires, who is told, and how often."""

from __future__ import annotations

from pydantic import BaseModel, Field

from enricher.alerts.alertmanager import AlertmanagerTarget
from enricher.alerts.email import EmailTarget
from enricher.alerts.webhook import WebhookTarget
from enricher.connections import STRICT
from enricher.expression import Predicate
from enricher.template import Template


class Alert(BaseModel):
    """Fires for every event for which `when` is true, once its document is durable.

    Mails and webhooks tell many matches at once: the first ten in full, the others as a number.
    How that is done is set by the fields from `fingerprint` to `ttl_s`, for each of the two apart.
    Alertmanager groups, repeats and limits by rules of its own.
    """

    model_config = STRICT
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Of its own; counted by it.")
    when: Predicate
    summary: Template = Field(description="One line for people; a missing field becomes `–`.")
    fingerprint: Template | None = Field(
        default=None,
        description="What makes a match the same as another, such as `{payment_id}`. The record "
        "itself where not given, or where a field of it is missing.",
    )
    repeat_after_s: int = Field(
        default=14_400,
        ge=1,
        le=30 * 86_400,
        description="Seconds in which the same fingerprint is told once.",
    )
    group_wait_s: float = Field(
        default=10, ge=0, description="Seconds that the first match waits for others to join it."
    )
    group_interval_s: float = Field(
        default=300, ge=0, description="Seconds between two messages; what comes is in the next."
    )
    max_per_hour: int = Field(
        default=20, ge=1, description="Messages an hour; what is over is in the next one."
    )
    ttl_s: float = Field(
        default=3_600, gt=0, description="Seconds that are tried to get a message through."
    )
    alertmanager: AlertmanagerTarget | None = None
    email: EmailTarget | None = None
    webhook: WebhookTarget | None = None
