"""What tells one match of an alert from another: its fingerprint, and the texts of its labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from enricher.alerts.alert import Alert
from enricher.alerts.labels import Builtins
from enricher.model import Event
from enricher.template import parse, renderer

DOCUMENT = frozenset({"_id", "_index"})
"""Fields that a document has and its event has not."""


class Marks(NamedTuple):
    """Functions that fill an event in; they give None where a field of it is missing."""

    fingerprint: Callable[[Event], str | None]
    """Gives an empty text where none is asked for."""
    labels: tuple[Callable[[Event], str | None], ...]
    """In the order of the pipeline file."""


def marks_of(alert: Alert, builtins: Builtins) -> Marks:
    """Compile the marks of an alert, for the event of a document."""
    fingerprint, *labels = (renderer(text, builtins) for text in _templates(alert))
    return Marks(fingerprint, tuple(labels))


def name_document(alert: Alert) -> bool:
    """Say whether marks cannot be given before an event is a document."""
    parts = [part for text in _templates(alert) for part in parse(text)]
    return not DOCUMENT.isdisjoint(part.keys[0] for part in parts if part.keys)


def _templates(alert: Alert) -> list[str]:
    labels = alert.alertmanager.labels.values() if alert.alertmanager else ()
    return [alert.fingerprint or "", *labels]
