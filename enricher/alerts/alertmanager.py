"""Tell Alertmanager (API v2) what is wrong, and when it is over."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import BaseModel, Field, field_validator

from enricher import path
from enricher.alerts.labels import LabelName
from enricher.connections import STRICT
from enricher.document import MISSING
from enricher.path import FieldPath
from enricher.template import Part, Template, parse

_MANY = re.compile(
    r"(?:.*_)?(?:id|ids|uuid|ip|ip_address|email|phone|amount|message|timestamp|stack_trace"
    r"|user_agent|vpa)|.*[a-z]I[dp]",
)
"""Names of fields that have about as many values as there are events."""


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
    low_cardinality: list[FieldPath] = Field(
        default_factory=list,
        description="Fields that are allowed in labels although their names speak of many values.",
    )

    @field_validator("generator_url")
    @classmethod
    def _is_url(cls, text: str | None) -> str | None:
        literals = [part.literal for part in parse(text)] if text else ["https://"]
        is_url = literals[0].startswith(("http://", "https://", MISSING))
        if not is_url or any(map(str.isspace, "".join(literals))):
            raise ValueError("a URL begins with http:// or https:// and has no blanks: write %20")
        return text

    def many_valued(self) -> Iterator[tuple[str, str]]:
        """Give each label that would make every event an alert of its own, and what to do."""
        few = {path.parse(field) for field in self.low_cardinality}
        for label, text in self.labels.items():
            for part in parse(text):
                if not _is_many_valued(part) or part.keys in few:
                    continue
                field = path.render(part.keys) if part.keys else f"${part.builtin}"
                message = (
                    f"{{{field}}} has too many values for a label, each would be an alert of its "
                    "own: put it under annotations"
                )
                remedy = f", or list {field} under low_cardinality" if part.keys else ""
                yield label, message + remedy


def _is_many_valued(part: Part) -> bool:
    if part.builtin:
        return part.builtin == "now"
    is_time = part.format.startswith("%") or part.keys == ("@timestamp",)
    return is_time or bool(part.keys and _MANY.fullmatch(part.keys[-1]))
