"""Alertmanager, alone: no cluster, no receiver that would tell anybody."""

from __future__ import annotations

import json
import shutil
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from .jars import ServerMissingError
from .process import Server, free_ports, is_listening

CONFIG = """\
route: {receiver: nobody, group_by: [alertname, service], group_wait: 1s, group_interval: 1s}
receivers: [{name: nobody}]
"""


class Alertmanager(Server):
    """A server at `url`; what it knows of alerts is gone when it is restarted, as it is anywhere.

    Args:
        folder: Where its configuration, its data and its log go.
        web: What its endpoint asks for (TLS, passwords), in Alertmanager's words.
        seconds: How long it may take to start.
    """

    name = "alertmanager"

    def __init__(self, folder: Path, *, web: str = "", seconds: float = 20) -> None:
        super().__init__(folder, seconds=seconds)
        self._web = web
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._program = program()

    def command(self) -> list[str]:
        """Return the command that runs the server."""
        config = self.folder / "alertmanager.yml"
        config.write_text(CONFIG)
        web = self.folder / "web.yml"
        web.write_text(self._web)
        return [
            self._program,
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            f"--storage.path={self.folder / 'data'}",
            f"--config.file={config}",
            f"--web.config.file={web}",
        ]

    def is_ready(self) -> bool:
        """Tell whether the server says that it is ready; one that asks for more, whether it listens."""
        if self._web:
            return is_listening(self.port)
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except (OSError, HTTPException):
            return False

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """Give the alerts that fire now and have these labels."""
        return self._get("/api/v2/alerts", labels)

    def groups(self, **labels: str) -> list[dict[str, Any]]:
        """Give the groups that those who are on call would be told of, with their alerts."""
        return self._get("/api/v2/alerts/groups", labels)

    def _get(self, path: str, labels: dict[str, str]) -> list[dict[str, Any]]:
        filters = urlencode([("filter", f'{name}="{value}"') for name, value in labels.items()])
        with urllib.request.urlopen(f"{self.url}{path}?{filters}", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
            return found


def program() -> str:
    """Return the path of the program; raise ServerMissingError if there is none."""
    for name in ("prometheus-alertmanager", "alertmanager"):
        installed = shutil.which(name)
        if installed is not None:
            return installed
    raise ServerMissingError(
        "there is no Alertmanager; install it with: apt-get install prometheus-alertmanager"
    )
