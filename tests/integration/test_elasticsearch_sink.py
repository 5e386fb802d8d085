"""The sink and the templates on a real Elasticsearch node."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from enricher.connections import ElasticsearchConnection
from enricher.model import Document, UserError
from enricher.sinks import bulk
from enricher.sinks.elasticsearch import ElasticsearchSink
from enricher.sinks.elasticsearch_client import ElasticsearchClient
from enricher.sinks.templates import KINDS, Installed, install
from enricher.waiting import Backoff

from ..servers.elasticsearch import Elasticsearch
from ..sinks.documents import NOON, document

pytestmark = pytest.mark.asyncio

TEMPLATES = Path(__file__).parents[2] / "templates"
ONE_NODE = {"ELASTICSEARCH_REPLICAS": "0", "ELASTICSEARCH_SHARDS": "1"}


@pytest.fixture
def index() -> str:
    """Name an index of this test's own."""
    return f"sink-{uuid.uuid4().hex}"


@asynccontextmanager
async def sink(elasticsearch: Elasticsearch, **options: Any) -> AsyncIterator[ElasticsearchSink]:
    """Give an open sink that waits for short."""
    connection = ElasticsearchConnection.model_validate({"hosts": elasticsearch.url})
    sink = ElasticsearchSink(connection, backoff=Backoff(base_s=0.05, cap_s=0.2), **options)
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


def stored(elasticsearch: Elasticsearch, index: str) -> dict[str, Any]:
    """Give the documents of an index by their id."""
    elasticsearch.request("POST", f"/{index}/_refresh")
    status, said = elasticsearch.request("GET", f"/{index}/_search?size=1000")
    assert status == 200, said
    return {hit["_id"]: hit["_source"] for hit in said["hits"]["hits"]}


async def until_blocked(es: ElasticsearchSink, word: str) -> None:
    """Wait until the sink says that it waits, and why."""
    async with asyncio.timeout(20):
        while word not in (es.blocked or ""):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("compress", [False, True])
async def test_replay_adds_nothing(
    elasticsearch: Elasticsearch,
    index: str,
    compress: bool,  # noqa: FBT001
) -> None:
    """Written twice, a document is there once, as it was the first time."""
    sent = [document(n, b'{"n":%d}' % n, index=index) for n in range(100)]
    async with sink(elasticsearch, compress=compress) as es:
        assert await es.write(sent) == []
        again = [each._replace(body=b'{"n":-1}') for each in sent[:50]]
        assert await es.write(again) == []
        assert (es.conflicts, es.superseded, es.retries) == (50, 0, 0)
    assert stored(elasticsearch, index) == {each.id: orjson.loads(each.body) for each in sent}


async def test_where_all_is_new_the_answer_is_not_read(
    elasticsearch: Elasticsearch, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elasticsearch says so in the very bytes that are expected of it; in others, it costs more."""
    monkeypatch.setattr(bulk, "settle", None)
    sent = [document(n, index=index, identity=f'"é{n}', version=n or None) for n in range(3)]
    async with sink(elasticsearch) as es:
        assert await es.write(sent) == []
    assert len(stored(elasticsearch, index)) == 3


async def test_newest_of_a_named_id_stays(elasticsearch: Elasticsearch, index: str) -> None:
    """Whatever order records arrive in, the newest one of an id is kept."""

    def order(n: int, version: int) -> Document:
        body = b'{"n":%d}' % n
        return document(n, body, identity='order "1" é', version=version, index=index)

    async with sink(elasticsearch) as es:
        assert await es.write([order(1, NOON), order(2, NOON + 5), order(3, NOON + 3)]) == []
        assert await es.write([order(4, NOON + 5)]) == []
        assert await es.write([order(5, NOON + 4)]) == []
        assert (es.conflicts, es.superseded) == (0, 2)
    assert stored(elasticsearch, index) == {'order "1" é': {"n": 4}}


async def test_document_that_the_mapping_refuses_is_given_back(
    elasticsearch: Elasticsearch, index: str
) -> None:
    """One bad document comes back with Elasticsearch's words; its neighbours are stored."""
    mappings = {"properties": {"n": {"type": "long"}}}
    elasticsearch.request("PUT", f"/{index}", {"mappings": mappings})
    sent = [document(1, b'{"n":1}', index=index), document(2, b'{"n":"abc"}', index=index)]
    sent.append(document(3, b'{"n":3}', index="Not A Name"))
    async with sink(elasticsearch) as es:
        first, second = await es.write(sent)
    assert first.document is sent[1]
    assert first.error == "document_parsing_exception"
    assert "failed to parse field [n] of type [long]" in first.reason
    assert second.document is sent[2]
    assert second.error == "invalid_index_name_exception"
    assert list(stored(elasticsearch, index).values()) == [{"n": 1}]


async def test_id_at_the_limit_is_stored(elasticsearch: Elasticsearch, index: str) -> None:
    """The limit that is checked before sending is Elasticsearch's own."""
    longest = document(1, identity="é" * 256, version=NOON, index=index)
    longer = document(2, identity="é" * 256 + "x", version=NOON, index=index)
    async with sink(elasticsearch) as es:
        (rejected,) = await es.write([longest, longer])
    assert rejected.document is longer
    assert list(stored(elasticsearch, index)) == [longest.id]


async def test_malformed_body_costs_only_itself(elasticsearch: Elasticsearch, index: str) -> None:
    """A body that is no JSON object comes back; all others are stored."""
    sent = [document(n, b'{"n":%d}' % n, index=index) for n in range(8)]
    sent[5] = sent[5]._replace(body=b"not json")
    sent[6] = sent[6]._replace(index="")
    async with sink(elasticsearch) as es:
        rejected = await es.write(sent)
    assert {each.document.id for each in rejected} == {sent[5].id, sent[6].id}
    assert len(stored(elasticsearch, index)) == 6


async def test_read_only_index_is_waited_out(elasticsearch: Elasticsearch, index: str) -> None:
    """A block makes no dead letters; once it is lifted, everything goes in."""
    elasticsearch.request("PUT", f"/{index}", {"settings": {"index.blocks.write": True}})
    sent = [document(n, index=index) for n in range(3)]
    async with sink(elasticsearch) as es:
        writing = asyncio.create_task(es.write(sent))
        await until_blocked(es, "403 cluster_block_exception")
        elasticsearch.request("PUT", f"/{index}/_settings", {"index.blocks.write": False})
        assert await writing == []
        assert es.blocked is None
    assert len(stored(elasticsearch, index)) == 3


async def test_index_that_may_not_be_made_is_waited_for(
    elasticsearch: Elasticsearch, index: str
) -> None:
    """Where indices are not made by themselves, the sink waits until somebody makes one."""

    def allow(value: str | None) -> None:
        setting = {"persistent": {"action.auto_create_index": value}}
        elasticsearch.request("PUT", "/_cluster/settings", setting)

    allow("-*")
    try:
        async with sink(elasticsearch) as es:
            writing = asyncio.create_task(es.write([document(index=index)]))
            await until_blocked(es, "404 index_not_found_exception")
            elasticsearch.request("PUT", f"/{index}")
            assert await writing == []
    finally:
        allow(None)
    assert len(stored(elasticsearch, index)) == 1


async def test_full_cluster_is_waited_out(elasticsearch: Elasticsearch, index: str) -> None:
    """The limit of shards is a 400 that no document is to blame for."""

    def limit(value: int | None) -> None:
        setting = {"persistent": {"cluster.max_shards_per_node": value}}
        elasticsearch.request("PUT", "/_cluster/settings", setting)

    elasticsearch.request("PUT", f"/{index}-other")
    limit(1)
    try:
        async with sink(elasticsearch) as es:
            writing = asyncio.create_task(es.write([document(index=index)]))
            await until_blocked(es, "400 validation_exception")
            limit(None)
            assert await writing == []
    finally:
        limit(None)
    assert len(stored(elasticsearch, index)) == 1


async def test_killed_server_loses_and_doubles_nothing(
    elasticsearch: Elasticsearch, index: str
) -> None:
    """Killed in the middle and started again, it ends with every document, each of them once."""
    sent = [document(n, b'{"n":%d}' % n, index=index) for n in range(3000)]
    batches = [sent[start : start + 100] for start in range(0, len(sent), 100)]
    async with sink(elasticsearch) as es:
        assert await es.write(batches[0]) == []
        writing = asyncio.gather(*(es.write(batch) for batch in batches))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(elasticsearch.kill)
        await until_blocked(es, "cannot be reached")
        await asyncio.to_thread(elasticsearch.start)
        assert await writing == [[]] * len(batches)
        assert es.retries > 0
        assert es.blocked is None
    elasticsearch.request("POST", f"/{index}/_refresh")
    _, said = elasticsearch.request("GET", f"/{index}/_count")
    assert said["count"] == 3000


async def test_shipped_templates_install_once(elasticsearch: Elasticsearch) -> None:
    """The first time they are put, after that they are current."""
    connection = ElasticsearchConnection.model_validate({"hosts": elasticsearch.url})
    client = ElasticsearchClient(connection)
    try:
        first = await install(client, TEMPLATES, ONE_NODE)
        second = await install(client, TEMPLATES, ONE_NODE)
    finally:
        await client.close()
    assert {each.kind for each in first} == set(KINDS)
    assert {each.outcome for each in first} <= {"installed", "current"}
    assert {each.outcome for each in second} == {"current"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of templates with one component."""
    (tmp_path / "elasticsearch" / "component_templates").mkdir(parents=True)
    return tmp_path


async def put(elasticsearch: Elasticsearch, folder: Path, name: str, body: object) -> Installed:
    """Install one component template."""
    path = folder / "elasticsearch" / "component_templates" / f"{name}.json"
    path.write_bytes(orjson.dumps(body))
    connection = ElasticsearchConnection.model_validate({"hosts": elasticsearch.url})
    client = ElasticsearchClient(connection)
    try:
        (installed,) = await install(client, folder, {})
    finally:
        await client.close()
    return installed


async def test_older_template_replaces_no_newer_one(
    elasticsearch: Elasticsearch, index: str, folder: Path
) -> None:
    """The version decides, and a template that somebody made without one is replaced."""

    def shards() -> tuple[Any, str]:
        _, said = elasticsearch.request("GET", f"/_component_template/{index}")
        (entry,) = said["component_templates"]
        template = entry["component_template"]
        return template.get("version"), template["template"]["settings"]["index"][
            "number_of_shards"
        ]

    def body(version: int | None, count: str) -> dict[str, Any]:
        template = {"template": {"settings": {"index": {"number_of_shards": count}}}}
        return template if version is None else {"version": version, **template}

    elasticsearch.request("PUT", f"/_component_template/{index}", body(None, "9"))
    steps = [
        (2, "2", "installed", (2, "2")),
        (2, "3", "current", (2, "2")),
        (1, "1", "newer on the server", (2, "2")),
        (3, "3", "installed", (3, "3")),
    ]
    for version, count, outcome, expected in steps:
        done = await put(elasticsearch, folder, index, body(version, count))
        assert (done.outcome, shards()) == (outcome, expected)


async def test_template_that_the_server_refuses_is_the_users_mistake(
    elasticsearch: Elasticsearch, index: str, folder: Path
) -> None:
    """A wrong template stops the start, with the server's words."""
    wrong = {"version": 1, "template": {"settings": {"index": {"number_of_shards": "many"}}}}
    with pytest.raises(UserError, match=rf"component_templates/{index}\.json: 400"):
        await put(elasticsearch, folder, index, wrong)


async def test_templates_are_installed_at_the_start(elasticsearch: Elasticsearch) -> None:
    """An open sink has its templates in place before the first document."""
    async with sink(elasticsearch, template_folders=[TEMPLATES], environment=ONE_NODE):
        status, said = elasticsearch.request("GET", "/_index_template/application-logs")
    assert status == 200
    assert said["index_templates"][0]["name"] == "application-logs"
