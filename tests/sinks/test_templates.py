"""Templates as they are read from their folder, and servers that do not take them.

The servers here are fakes at the level of the protocol; what a real node does with templates is
for tests/integration/test_elasticsearch_sink.py.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from enricher.connections import ElasticsearchConnection
from enricher.model import ConfigError
from enricher.sinks.elasticsearch_client import ElasticsearchClient
from enricher.sinks.templates import Installed, Refused, install, load


def put(folder: Path, name: str, content: object) -> None:
    """Write one file of the folder."""
    path = folder / "elasticsearch" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))


def test_environment_is_filled_into_texts_only(tmp_path: Path) -> None:
    """A variable, its default, and what is no variable; keys stay as they are."""
    settings = {
        "a": "${SHARDS}",
        "b": ["x-${REPLICAS:-1}"],
        "${c}": "$5 ${",
        "d": "${EMPTY:-}",
        "e": 3,
    }
    put(tmp_path, "component_templates/common.json", {"version": 2, "template": settings})
    (template,) = load(tmp_path, {"SHARDS": "3", "REPLICAS": "", "EMPTY": ""})
    assert (template.name, template.version) == ("common", 2)
    expected = {"a": "3", "b": ["x-1"], "${c}": "$5 ${", "d": "", "e": 3}
    assert template.body["template"] == expected


def test_order_is_that_of_reference(tmp_path: Path) -> None:
    """Policies come first, then components, then the index templates that name both."""
    put(tmp_path, "index_templates/a.json", {"version": 1})
    put(tmp_path, "component_templates/b.json", {"version": 1})
    put(tmp_path, "ilm_policies/c.json", {"policy": {"_meta": {"version": 4}}})
    assert [(each.name, each.version) for each in load(tmp_path, {})] == [
        ("c", 4),
        ("b", 1),
        ("a", 1),
    ]


def test_every_mistake_is_said_at_once(tmp_path: Path) -> None:
    """Each problem names its file; a broken file its line and column too."""
    put(tmp_path, "index_templates/a.json", b'{"version": 1,\n "x": oops}')
    put(tmp_path, "index_templates/b.json", {"version": 1, "x": "${NOWHERE} ${NEITHER}"})
    put(tmp_path, "index_templates/c.json", {})
    put(tmp_path, "ilm_policies/d.json", {"version": 1})
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {})
    text = str(caught.value)
    assert "a.json:2:" in text
    assert "NOWHERE is not set" in text
    assert "NEITHER is not set" in text
    assert 'c.json: a whole number "version" is missing' in text
    assert 'd.json: a whole number "policy._meta.version" is missing' in text


def test_missing_folder_is_said(tmp_path: Path) -> None:
    """A wrong path is not an empty folder."""
    with pytest.raises(ConfigError, match="no such folder"):
        load(tmp_path / "nowhere", {})


def install_on(folder: Path, refused: str, status: int) -> list[Installed]:
    """Install on a server that answers this status to one endpoint and takes all others."""

    async def handle(request: web.Request) -> web.Response:
        if request.path.startswith(refused):
            said = {"error": {"type": "security_exception", "reason": "no"}, "status": status}
            return web.json_response(said, status=status)
        return web.json_response({}, status=404 if request.method == "GET" else 200)

    async def run() -> list[Installed]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        client = ElasticsearchClient(ElasticsearchConnection.model_validate({"hosts": url}))
        try:
            return await install(client, folder, {})
        finally:
            await client.close()
            await runner.cleanup()

    return asyncio.run(run())


@pytest.mark.parametrize("status", [400, 404, 405])
def test_server_without_lifecycles_gets_the_rest(tmp_path: Path, status: int) -> None:
    """A server that has no `_ilm` is warned about once, and everything else is installed."""
    for name in ("a", "b"):
        put(tmp_path, f"ilm_policies/{name}.json", {"policy": {"_meta": {"version": 1}}})
    put(tmp_path, "index_templates/c.json", {"version": 1})
    with capture_logs() as logs:
        done = install_on(tmp_path, "/_ilm", status)
    assert [each.outcome for each in done] == ["not supported", "not supported", "installed"]
    assert [line["log_level"] for line in logs] == ["warning"]


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_server_that_refuses_for_now_is_no_mistake_of_the_user(tmp_path: Path, status: int) -> None:
    """Missing rights and overload are for the caller to wait out; the text names the file."""
    put(tmp_path, "index_templates/c.json", {"version": 1})
    with pytest.raises(Refused, match=rf"index_templates/c\.json: {status} .*retrying"):
        install_on(tmp_path, "/_index_template", status)
