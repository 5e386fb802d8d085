"""The catalogue of those that send digests: what an alert may name, and how it is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from enricher.alerts.alert import Alert
from enricher.alerts.digest import Sender
from enricher.alerts.labels import Builtins
from enricher.connections import Connections


class Setting(NamedTuple):
    """What an alert may ask for besides itself."""

    connections: Connections
    pipeline: str
    """Its name."""
    folder: Path | None
    """Of templates, as it is to be opened."""
    builtins: Builtins
    """What `{$hostname}` and the like stand for."""


BuildSender = Callable[[Alert, Setting], Sender | None]
"""Builds the sender of an alert; None where the connection that it needs is not configured.

Opens files, never the network. Raises ConfigError, ValueError or UserError for what is wrong."""


def _email(alert: Alert, setting: Setting) -> Sender | None:
    connection = setting.connections.smtp
    if alert.email is None:
        return None
    sender = alert.email.build(connection, setting.folder, setting.pipeline)
    return sender if connection and connection.url else None


def _webhook(alert: Alert, setting: Setting) -> Sender | None:
    if alert.webhook is None:
        return None
    return alert.webhook.build(setting.pipeline)


SENDERS: dict[str, BuildSender] = {"email": _email, "webhook": _webhook}
"""By the field of an alert that asks for it."""

NEEDS = {"alertmanager": ("alertmanager", "urls"), "email": ("smtp", "url")}
"""The connection that a kind needs, and the field of it that says where: none where empty."""
