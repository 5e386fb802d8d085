"""Real servers as fixtures, started when the first test asks for them and kept until the last one is done."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from .servers.alertmanager import Alertmanager
from .servers.elasticsearch import Elasticsearch
from .servers.jars import ServerMissingError
from .servers.kafka import Kafka
from .servers.process import Server
from .servers.valkey import Valkey

ServerT = TypeVar("ServerT", bound=Server)

_started: list[Server] = []

# Many daemons at a time: none has the default port. A test of the endpoint names an address.
os.environ["ENRICHER_ADMIN"] = "off"


@pytest.fixture(scope="session")
def kafka(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kafka]:
    """Run Apache Kafka."""
    yield from _run(Kafka, request, tmp_path_factory)


@pytest.fixture(scope="session")
def elasticsearch(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Elasticsearch]:
    """Run Elasticsearch."""
    yield from _run(Elasticsearch, request, tmp_path_factory)


@pytest.fixture(scope="session")
def valkey(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Valkey]:
    """Run Valkey."""
    yield from _run(Valkey, request, tmp_path_factory)


@pytest.fixture(scope="session")
def alertmanager(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Alertmanager]:
    """Run Alertmanager."""
    yield from _run(Alertmanager, request, tmp_path_factory)


@pytest.fixture(scope="session")
def second_alertmanager(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Alertmanager]:
    """Run another Alertmanager, which knows nothing of the first."""
    yield from _run(Alertmanager, request, tmp_path_factory)


@pytest.fixture(autouse=True)
def _servers_are_up() -> Iterator[None]:
    """Bring servers back that a test has killed or paused, so that its failure does not spread to the next test."""
    yield
    for server in _started:
        server.resume()
        server.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    """Say in a failed test's report where the servers' logs are."""
    report = yield
    if report.failed and _started:
        paths = "\n".join(f"{server.name}: {server.log}" for server in _started)
        report.sections.append(("server logs", paths))
    return report


def _run(
    kind: type[ServerT], request: pytest.FixtureRequest, folders: pytest.TempPathFactory
) -> Iterator[ServerT]:
    server = make_server(kind, folders.mktemp(kind.name))
    server.start()
    _started.append(server)
    try:
        yield server
    finally:
        _started.remove(server)
        server.stop()
        if request.session.testsfailed == 0:
            shutil.rmtree(server.folder, ignore_errors=True)


def make_server(kind: Callable[[Path], ServerT], folder: Path) -> ServerT:
    """Make a server; skip where its program is missing, and fail under CI=true."""
    try:
        return kind(folder)
    except ServerMissingError as error:
        reason = str(error)
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
