"""What a reload takes up, what it refuses, and which files it looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from enricher import metrics, reload
from enricher.cli import service
from enricher.config import PipelineConfig, load
from enricher.health import Health
from enricher.model import DeadLetter, Document, Record
from enricher.reload import files_of, stamps

from .test_runtime import until

PIPELINE = """\
name: p
connections: {elasticsearch: {store: p.db}}
sources: [file: {paths: [in.ndjson]}]
geoip_database: city.mmdb
stages:
  - json: {}
  - geoip: {field: ip, country: country}
  - translate: {field: kind, target: word, file: table.yaml}
routes:
  - elasticsearch: {index: logs}
"""
PATIENCE_S = 20.0


def database(file: Path, country: str) -> None:
    """Write a GeoIP database in which every address is in one country."""
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test-City")
    writer.insert_network(IPSet(["1.0.0.0/8"]), {"country": {"names": {"en": country}}})
    new = file.with_suffix(".new")
    writer.to_db_file(str(new))
    new.rename(file)


class Rig:
    """A run that is not started, and what reloads it."""

    def __init__(self, folder: Path, pipeline: str = PIPELINE) -> None:
        self.file = folder / "p.yaml"
        self.table = folder / "table.yaml"
        self.database = folder / "city.mmdb"
        self.file.write_text(pipeline)
        self.table.write_text("k: one\n")
        database(self.database, "Nepal")
        self.reloader = service.prepare(self.read, service.Options(watch=True))
        self.runtime = self.reloader.runtime

    def read(self) -> PipelineConfig:
        return load(self.file, {})

    async def made(self) -> dict[str, Any]:
        """Give what the plan of now makes of an event."""
        record = Record(b'{"ip":"1.1.1.1","kind":"k"}', "id", None, "f", 0)
        (outcome,) = await self.runtime.plan.process([record])
        assert isinstance(outcome, Document)
        event: dict[str, Any] = orjson.loads(outcome.body)
        return event


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_a_reload_takes_up_every_file(rig: Rig) -> None:
    """Stages, the table, the GeoIP database, name and hash; the counters say so."""
    before, digest = await rig.made(), rig.runtime.digest
    assert (before["country"], before["word"]) == ("Nepal", "one")
    rig.table.write_text("k: two\n")
    database(rig.database, "India")
    rig.file.write_text(
        PIPELINE.replace("target: word", "target: meaning").replace(": p\n", ": q\n")
    )
    await rig.reloader.reload()
    after = await rig.made()
    assert (after["country"], after["meaning"], "word" in after) == ("India", "two", False)
    assert rig.runtime.pipeline == "q"
    assert rig.runtime.digest != digest
    assert rig.runtime.dead_letters.pipeline == f"q@{rig.runtime.digest}"
    reloads = rig.runtime.reloads
    assert (reloads.ok, reloads.failed, reloads.last_error) == (1, 0, None)
    assert reloads.last_time is not None


async def test_a_database_written_in_place(rig: Rig) -> None:
    """What is half written, or truncated, changes no answer, and is no database; what is whole is one."""
    new = rig.database.with_suffix(".other")
    database(new, "India")
    whole, old = new.read_bytes(), rig.database.read_bytes()
    inode = rig.database.stat().st_ino
    for content in (b"", whole[: len(whole) // 2], b"\xff" * len(old), whole[:-20]):
        rig.database.write_bytes(content)
        await rig.reloader.reload()
        assert (await rig.made())["country"] == "Nepal"
    assert (rig.runtime.reloads.ok, rig.runtime.reloads.failed) == (0, 4)
    rig.database.write_bytes(whole)
    assert rig.database.stat().st_ino == inode
    await rig.reloader.reload()
    assert (await rig.made())["country"] == "India"


async def test_a_reload_takes_up_what_dead_letters_hide(tmp_path: Path) -> None:
    """The rules of the plan that a record failed under are those of its letter."""
    file = tmp_path / "p.yaml"
    text = (
        "name: p\nconnections: {elasticsearch: {store: p.db}}\nsources: [file: {paths: [x]}]\n"
        "stages: [{json: {}}, {mask: {fields: {a: vpa}}}]\n"
        "routes: [{elasticsearch: {index: l}}]\ndead_letters: {mask: true}\n"
    )
    file.write_text(text)
    reloader = service.prepare(lambda: load(file, {}), service.Options())
    letter = DeadLetter(Record(b'{"a":"1","b":"2"}', "i", None, "f", 0), "s", "e", "r")

    def kept() -> bytes:
        assert reloader.runtime.mask is not None
        return reloader.runtime.mask([letter])[0].record.value

    assert kept() == b'{"a":"*","b":"2"}'
    file.write_text(text.replace("a: vpa", "b: vpa"))
    await reloader.reload()
    assert kept() == b'{"a":"1","b":"*"}'
    file.write_text(text.replace("mask: true", "mask: false"))
    await reloader.reload()
    assert reloader.runtime.reloads.last_error is not None
    assert "dead_letters changed, which needs a restart" in reloader.runtime.reloads.last_error


def spoil_database(rig: Rig) -> None:
    """Keep the metadata, which stands at the end, and lose what comes before it."""
    whole = rig.database.read_bytes()
    metadata = whole.rindex(b"\xab\xcd\xefMaxMind.com")
    new = rig.database.with_suffix(".bad")
    new.write_bytes(b"\xff" * metadata + whole[metadata:])
    new.rename(rig.database)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda rig: rig.file.write_text("name: p\n"), 'p.yaml:1:1: missing field "routes"'),
        (lambda rig: rig.file.unlink(), "p.yaml: cannot be read"),
        (lambda rig: rig.table.write_text("k: [\n"), "p.yaml:8:5: stages[2].translate: "),
        (lambda rig: rig.database.unlink(), "p.yaml:7:5: stages[1].geoip: GeoIP database"),
        (spoil_database, "p.yaml:7:5: stages[1].geoip: GeoIP database"),
        (
            lambda rig: rig.file.write_text(PIPELINE.replace("in.ndjson", "other")),
            "sources changed, which needs a restart",
        ),
        (
            lambda rig: rig.file.write_text(PIPELINE.replace("p.db", "other.db")),
            "connections changed, which needs a restart",
        ),
        (
            lambda rig: rig.file.write_text(PIPELINE + "dead_letters: {file: d}\n"),
            "dead_letters changed, which needs a restart",
        ),
        (
            lambda rig: rig.file.write_text(PIPELINE.replace("elasticsearch: {index: logs}", "console: {}")),
            "routes: the sink console changed, which needs a restart",
        ),
        (
            lambda rig: rig.file.write_text(PIPELINE + "outputs: [{name: o, kafka: {topic: t}}]\n"),
            "outputs: the sink kafka changed, which needs a restart",
        ),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)  # fmt: skip
async def test_a_mistake_keeps_the_old_plan(
    rig: Rig, spoil: Callable[[Rig], object], told: str
) -> None:
    """It is counted and told with its place; once it is put right, the next reload goes through."""
    spoil(rig)
    await rig.reloader.reload()
    reloads = rig.runtime.reloads
    assert (reloads.ok, reloads.failed) == (0, 1)
    assert told in (reloads.last_error or "")
    made = await rig.made()
    assert (made["country"], made["word"]) == ("Nepal", "one")
    rig.file.write_text(PIPELINE)
    rig.table.write_text("k: two\n")
    database(rig.database, "Nepal")
    await rig.reloader.reload()
    assert (reloads.ok, reloads.failed, reloads.last_error) == (1, 1, None)
    assert (await rig.made())["word"] == "two"


async def test_changes_are_noticed_once(rig: Rig) -> None:
    """One reload for one change; none for a file that is away for a moment, one if it stays away."""
    following = asyncio.create_task(rig.reloader.follow())
    reloads = rig.runtime.reloads
    try:
        async with asyncio.timeout(PATIENCE_S):
            rig.table.write_text("k: two\n")
            while reloads.ok < 1:
                await asyncio.sleep(0.05)
            text = rig.file.read_text()
            rig.file.unlink()
            await asyncio.sleep(0.1)
            rig.file.write_text(text)
            while reloads.ok < 2:
                await asyncio.sleep(0.05)
            assert reloads.failed == 0
            rig.table.unlink()
            while reloads.failed < 1:
                await asyncio.sleep(0.05)
            await asyncio.sleep(1.5)
            assert (reloads.ok, reloads.failed) == (2, 1)
            rig.table.write_text("k: three\n")
            while reloads.ok < 3:
                await asyncio.sleep(0.05)
            assert (await rig.made())["word"] == "three"
    finally:
        following.cancel()


async def test_without_watching_only_a_request_reloads(rig: Rig) -> None:
    rig.reloader = service.prepare(rig.read, service.Options(watch=False))
    following = asyncio.create_task(rig.reloader.follow())
    reloads = rig.reloader.runtime.reloads
    try:
        rig.table.write_text("k: two\n")
        await asyncio.sleep(1.5)
        assert reloads.ok == 0
        rig.reloader.request()
        async with asyncio.timeout(PATIENCE_S):
            while reloads.ok < 1:
                await asyncio.sleep(0.05)
    finally:
        following.cancel()


async def test_outputs_may_change_where_what_they_are_written_to_is_there(tmp_path: Path) -> None:
    """Another condition, body or topic counts from the next delivery on."""
    first = "outputs: [{name: o, when: kind == 'x', kafka: {topic: t}}]\n"
    rig = Rig(tmp_path, PIPELINE + first)
    record = Record(b'{"ip":"1.1.1.1","kind":"k"}', "id", None, "f", 0)

    async def topics() -> list[str]:
        (outcome,) = await rig.runtime.plan.process([record])
        assert isinstance(outcome, Document)
        return [output.to.topic for output in outcome.outputs]

    assert await topics() == []
    rig.file.write_text(PIPELINE + first.replace("'x'", "'k'").replace("topic: t", "topic: u"))
    await rig.reloader.reload()
    assert rig.runtime.reloads.last_error is None
    assert await topics() == ["u"]


def test_the_files_of_a_pipeline(rig: Rig) -> None:
    """The file itself, tables, the database, the templates with what is in them."""
    folder = rig.file.parent
    (folder / "templates" / "elasticsearch").mkdir(parents=True)
    (folder / "templates" / "elasticsearch" / "a.json").write_text("{}")
    rig.file.write_text(PIPELINE + "templates: templates\n")
    files = files_of(rig.read())
    assert files == [folder / n for n in ("p.yaml", "table.yaml", "city.mmdb", "templates")]
    before = stamps(files)
    assert folder / "templates" / "elasticsearch" / "a.json" in before
    assert stamps(files) == before
    (folder / "templates" / "elasticsearch" / "b.json").write_text("{}")
    assert stamps(files) != before


async def test_what_is_not_settled_is_not_waited_for_for_ever(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old plan goes on, the reason is told, and it is tried again until it can be done."""
    monkeypatch.setattr(reload, "SWAP_S", 0.05)
    rig.runtime._quiet.clear()
    rig.table.write_text("k: two\n")
    following = asyncio.create_task(rig.reloader.follow())
    rig.reloader.request()
    await until(lambda: rig.runtime.reloads.failed >= 2)
    assert "is not settled" in (rig.runtime.reloads.last_error or "is not settled")
    assert (await rig.made())["word"] == "one"
    assert rig.runtime._gate.is_set()
    rig.runtime._quiet.set()
    await until(lambda: rig.runtime.reloads.ok == 1)
    assert (await rig.made())["word"] == "two"
    following.cancel()


def test_certificates_that_are_not_checked_are_told(tmp_path: Path) -> None:
    """A warning at the start and a metric, for each connection where that is switched off."""
    file = tmp_path / "p.yaml"
    file.write_text(UNVERIFIED)
    with structlog.testing.capture_logs() as logs:
        runtime = service.prepare(lambda: load(file, {}), service.Options()).runtime
    told = [line["connection"] for line in logs if "not verified" in line["event"]]
    assert told == ["connections.elasticsearch", "connections.redis", "connections.smtp"]
    registry = metrics.registry_of(Health(runtime, asyncio.Event()))
    page = metrics.exposition(registry).decode()
    assert 'enricher_tls_unverified{connection="elasticsearch"} 1.0' in page


UNVERIFIED = """\
name: p
connections:
  elasticsearch: {hosts: "https://localhost:1", verify_certificates: false}
  redis: {url: "rediss://localhost:1", verify_certificates: false}
  smtp: {url: "smtps://localhost:1", verify_certificates: false}
sources: [file: {paths: [in.ndjson]}]
stages:
  - json: {}
routes:
  - elasticsearch: {index: logs}
"""
