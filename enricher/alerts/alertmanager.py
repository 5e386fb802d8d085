"""Tell Alertmanager (API v2) what is wrong, and when it is over."""

from __future__ import annotations

from pydantic import BaseModel, Field

from enricher.connections import STRICT
from enricher.template import Template


class AlertmanagerTarget(BaseModel):
    """What Alertmanager is told. Values that differ for every event belong in annotations."""

    model_config = STRICT
    labels: dict[str, Template] = Field(
        default_factory=dict, description="Tell one alert from another."
    )
    annotations: dict[str, Template] = Field(
        default_factory=dict, description="For people: what happened."
    )
    generator_url: Template | None = None
    resolve_after_s: float = Field(
        default=300, gt=0, description="Seconds without a match after which it is over."
    )
