"""Tell Alertmanager (API v2) what is wrong, and when it is over."""

from __future__ import annotations

from pydantic import BaseModel, Field

from enricher.alerts.labels import LabelName
from enricher.connections import STRICT
from enricher.template import Template


class AlertmanagerTarget(BaseModel):
    """What Alertmanager is told. Values that differ for every event belong in annotations.

    Matches with the same labels are one alert there: it starts with the first match, shows the
    latest one, and is over `resolve_after_s` after it. A label whose field is missing or empty is
    left out. In annotations and in the URL, `{_id}` and `{_index}` name the document.
    """

    model_config = STRICT
    labels: dict[LabelName, Template] = Field(
        default_factory=dict,
        description="Tell one alert from another; `alertname` is the alert's name unless given.",
    )
    annotations: dict[LabelName, Template] = Field(
        default_factory=dict, description="For people: what happened; a missing field becomes `–`."
    )
    generator_url: Template | None = Field(
        default=None, description="Where to look; left out where a field of it is missing."
    )
    resolve_after_s: float = Field(
        default=300, ge=1, description="Seconds without a match after which it is over."
    )
    max_label_sets: int = Field(
        default=100, ge=1, le=1000, description="More at a time are folded into one."
    )
    low_cardinality: list[str] = Field(
        default_factory=list,
        description="Fields that look as if each event had its own value, and yet are few.",
    )
