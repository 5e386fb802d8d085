"""Post JSON to a URL: whatever takes a webhook, Slack among them."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr

from enricher.connections import STRICT


class WebhookTarget(BaseModel):
    """Where JSON is posted, and what it says."""

    model_config = STRICT
    url: SecretStr = Field(description="Often a secret itself: give it as `${SLACK_WEBHOOK_URL}`.")
