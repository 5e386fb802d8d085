"""Elasticsearch: the server's core from the package registry, with stand-ins for a few modules (StandIns.java)."""

import http.client
import json
import shutil
from pathlib import Path
from typing import Any

from . import jars
from .process import Server, free_ports

_SETTINGS = """\
cluster.name: tests
node.name: tests
discovery.type: single-node
network.host: 127.0.0.1
http.port: {http}
transport.port: {transport}
path.data: {folder}/data
path.logs: {folder}/logs
# A nearly full disk would make indices read-only.
cluster.routing.allocation.disk.threshold_enabled: false
# Templates have three shards and a daily index each.
cluster.max_shards_per_node: 10000
"""


class Elasticsearch(Server):
    """A node at `url`, without authentication; `request` talks to it without a client.

    Args:
        folder: Where its configuration, its data and its log go.
        quick: Start quickly; False runs at full speed once warm, for benchmarks.
        seconds: How long it may take to start.
    """

    name = "elasticsearch"

    def __init__(self, folder: Path, *, quick: bool = True, seconds: float = 60) -> None:
        super().__init__(folder, seconds=seconds)
        self._options = ["-Xms256m", "-Xmx1g", *([jars.QUICK_START] if quick else [])]
        self.port, transport = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        self._java = jars.java()
        self._home = jars.resolve() / "elasticsearch"
        self._config = folder / "config"
        self._config.mkdir(exist_ok=True)
        (folder / "tmp").mkdir(exist_ok=True)
        settings = _SETTINGS.format(http=self.port, transport=transport, folder=folder)
        (self._config / "elasticsearch.yml").write_text(settings)
        shutil.copy(jars.SOURCES / "log4j2.properties", self._config)

    def command(self) -> list[str]:
        """Return the command that runs the node."""
        options = [*self._options, "--add-opens=java.base/java.nio=ALL-UNNAMED"]
        options += [f"-Djava.io.tmpdir={self.folder / 'tmp'}", "-Dlog4j2.disable.jmx=true"]
        return [
            self._java,
            *options,
            "-cp",
            f"{self._home / 'lib'}/*",
            "EsNode",
            str(self._home),
            str(self._config),
        ]

    def is_ready(self) -> bool:
        """Tell whether the node answers and has recovered the primary shards that it holds."""
        health = "/_cluster/health?wait_for_status=yellow&wait_for_no_initializing_shards=true&timeout=1s"
        try:
            status, _ = self.request("GET", health)
        except (OSError, http.client.HTTPException):
            return False
        return status == http.HTTPStatus.OK

    def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send a request and return the status and the decoded JSON answer.

        Args:
            method: GET, PUT, …
            path: The path with its query.
            body: Sent as JSON; a list is sent as NDJSON, which `_bulk` wants.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, *_encoded(body))
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        finally:
            connection.close()


def _encoded(body: object) -> tuple[bytes | None, dict[str, str]]:
    if body is None:
        return None, {}
    if isinstance(body, list):
        lines = "".join(json.dumps(line) + "\n" for line in body)
        return lines.encode(), {"Content-Type": "application/x-ndjson"}
    return json.dumps(body).encode(), {"Content-Type": "application/json"}
