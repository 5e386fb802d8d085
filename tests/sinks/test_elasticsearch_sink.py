"""How the sink starts, sends and stops, on a fake of Elasticsearch."""

from __future__ import annotations

import asyncio
import gzip
import socket
from pathlib import Path

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from enricher.connections import ElasticsearchConnection
from enricher.model import UserError
from enricher.sinks import elasticsearch_client
from enricher.sinks.elasticsearch import ElasticsearchSink

from .documents import documents
from .fake_elasticsearch import ids, serving, sink, status, until

pytestmark = pytest.mark.asyncio


async def test_write_can_be_cancelled_while_it_waits() -> None:
    """A shutdown does not wait for a server that is away."""
    async with serving(*[status(401)] * 10_000) as fake, sink(fake.url) as es:
        writing = asyncio.create_task(es.write(documents(3)))
        await until(lambda: es.blocked is not None)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert es.blocked is None


async def test_request_says_what_it_is() -> None:
    """Headers, filter and, if wanted, compression are as Elasticsearch 8 and 9 take them."""
    async with serving() as fake, sink(fake.url, compress=True, api_key="c2VjcmV0") as es:
        await es.write(documents(3))
        (request,) = fake.seen
        kind = "application/vnd.elasticsearch+x-ndjson; compatible-with=8"
        assert request.headers["content-type"] == kind
        assert request.headers["accept"] == kind.replace("x-ndjson", "json")
        assert request.headers["authorization"] == "ApiKey c2VjcmV0"
        assert request.headers["content-encoding"] == "gzip"
        assert set(fake.stored) == set(ids(documents(3)))
        assert "items.*._id" in request.query["filter_path"]


async def test_compressed_body_is_gzip() -> None:
    """Any gzip reader understands it."""
    assert gzip.decompress(elasticsearch_client._gzip(b"abc" * 999)) == b"abc" * 999  # noqa: SLF001


async def test_start_waits_for_a_server_that_is_away() -> None:
    """Started first, the sink waits, says why once, and goes on when the server is there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with sink(f"http://elastic:s3cret@127.0.0.1:{port}") as es:
        with capture_logs() as logs:
            opening = asyncio.create_task(es.open())
            await until(lambda: es.blocked is not None)
            await asyncio.sleep(0.05)
            assert es.blocked == (
                f"elasticsearch at http://127.0.0.1:{port} cannot be reached "
                "(connection refused); retrying; check connections.elasticsearch.hosts"
            )
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        assert len(logs) == 1
        assert "s3cret" not in str(logs)


async def test_start_waits_for_rights_and_for_a_cluster_that_forms() -> None:
    """401, 429 and 5xx are waited out; any other answer is one (a key may not see the root)."""
    answers = [status(503), status(401, "security_exception"), status(429), status(403)]
    async with serving(*answers) as fake, sink(fake.url) as es:
        await es.open()
        assert len(fake.seen) == 4
        assert es.blocked is None


@pytest.mark.parametrize(
    "url",
    [
        "http://u:s3cret@localhost",
        "u:s3cret@localhost:9200",
        "http://u:s3cret@a b:9200",
        "s3cret",
        "http://u:9s3cret/x@localhost:9200",
    ],
)
async def test_address_that_cannot_be_used_is_the_users_mistake_and_stays_secret(url: str) -> None:
    """The message says how an address looks; it repeats no password."""
    with pytest.raises(ValidationError, match="https://localhost:9200") as caught:
        ElasticsearchConnection.model_validate({"hosts": url})
    assert "s3cret" not in str(caught.value)
    connection = ElasticsearchConnection.model_construct(hosts=[url])
    with pytest.raises(UserError, match="https://localhost:9200") as late:
        ElasticsearchSink(connection)
    assert "s3cret" not in str(late.value)
    assert late.value.__cause__ is None
    assert "s3cret" not in repr(connection)


async def test_missing_template_folder_is_the_users_mistake(tmp_path: Path) -> None:
    """A folder that is not there is said at once, and not waited for."""
    async with serving() as fake, sink(fake.url, template_folders=[tmp_path]) as es:
        with pytest.raises(UserError, match="no such folder"):
            await es.open()
