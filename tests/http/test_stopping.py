"""What becomes of requests when the source is told to stop, fails, or is too slow to stop."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from tests.cli import program
from tests.servers.process import free_ports

from .rig import JSON, request, serving, statuses

PIPELINE = """\
name: tiny
connections: {{elasticsearch: {{hosts: "{url}"}}}}
sources: [{{http: {{listen: "127.0.0.1:{port}"}}}}]
stages: [{{json: {{}}}}]
routes: [{{elasticsearch: {{index: logs}}}}]
"""


async def test_what_was_taken_is_answered_and_what_comes_later_is_not_taken() -> None:
    """On a connection that is open: 503, and it ends. On a new one: nobody is there."""
    async with serving(settles=False) as rig:
        taken = asyncio.create_task(rig.post(b'{"n":1}'))
        await rig.until(1)
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(request(b'{"n":2', "Content-Length: 7"))
        idle = httpx.AsyncClient(base_url=rig.url)
        assert (await idle.post("/", content=b"[]", headers={"Content-Type": JSON})).is_success
        port = rig.port
        rig.source.stop()
        answer = await idle.post("/", content=b"{}", headers={"Content-Type": JSON})
        assert (answer.status_code, answer.headers["connection"]) == (503, "close")
        assert answer.headers["retry-after"] == "1"
        await idle.aclose()
        writer.write(b"}")
        assert statuses(await reader.read()) == [503]
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert not taken.done()
        await rig.settle()
        assert (await taken).json() == {"accepted": 1}
        assert rig.values == [b'{"n":1}']


async def test_what_is_not_durable_at_the_end_is_told_so() -> None:
    """Nothing may be acknowledged that could be lost: 503, send it again."""
    async with serving(settles=False) as rig:
        posts = [asyncio.create_task(rig.post(b"{}")) for _ in range(3)]
        await rig.until(3)
        await rig.source.close()
        for post in posts:
            answer = await post
            assert answer.status_code == 503
            assert "this server is stopping; send the same again" in answer.json()["error"]
        assert rig.source.counts.connections == 0


async def test_the_rest_of_a_body_may_be_late_when_it_stops() -> None:
    """Closing does not wait for clients."""
    async with serving() as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(request(b"{", "Content-Length: 100"))
        await rig.wait_for(lambda: rig.source.counts.held_bytes > 0)
        async with asyncio.timeout(15):
            await rig.source.close()
        assert await reader.read() == b""
        writer.close()
        assert rig.source.counts.held_bytes == 0


@pytest.mark.parametrize("settles", [True, False])
def test_a_daemon_that_is_told_to_end_drains(settles: bool, tmp_path: Path) -> None:
    """SIGTERM while Elasticsearch is silent: 200 and exit 0 where it speaks in time, else 503 and 1."""
    (port,) = free_ports(1)
    with program.serving() as elasticsearch:
        text = PIPELINE.format(url=elasticsearch.url, port=port)
        (tmp_path / "p.yaml").write_text(text)
        elasticsearch.answers_bulk = False
        drain_s = 30 if settles else 1
        command = ("run", "p.yaml", "--drain-s", drain_s, "--dead-letters", "dead.ndjson")
        with program.Daemon(*command, folder=tmp_path) as daemon:
            daemon.wait_for("http source")

            async def post() -> int:
                async with httpx.AsyncClient(timeout=60) as client:
                    url = f"http://127.0.0.1:{port}/"
                    asking = asyncio.create_task(client.post(url, json={"n": 1}))
                    assert await asyncio.to_thread(elasticsearch.asked_bulk.acquire, timeout=30)
                    daemon.process.send_signal(signal.SIGTERM)
                    await asyncio.sleep(0.2)
                    assert not asking.done()
                    if settles:
                        elasticsearch.resumed.set()
                    return (await asking).status_code

            assert asyncio.run(post()) == (200 if settles else 503)
            assert daemon.wait() == (0 if settles else 1), daemon.text
