"""Write mails: one for many matches, with what they have to say."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from enricher.connections import STRICT, Text
from enricher.template import Template


def _addresses(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


class EmailTarget(BaseModel):
    """Who gets a mail, and what it says."""

    model_config = STRICT
    sender: Text = Field(default=None, description="Address that the mail comes from.")
    to: Annotated[list[str], BeforeValidator(_addresses)] = Field(
        min_length=1, description="Addresses; a text may hold several, with commas."
    )
    subject: Template
    template: str | None = Field(default=None, description="Name of the bodies in templates/.")
