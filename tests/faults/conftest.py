"""What every case stands on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from enricher.generator import users

from .proxy import Proxy
from .scale import SCALE
from .world import World


@pytest.fixture(scope="session")
def redis_url(valkey: Any) -> str:
    """Fill in the users that look-ups ask for, once."""
    client = Redis.from_url(valkey.url)
    client.mset(dict(users()))
    client.close()
    return str(valkey.url)


@pytest.fixture
def world(kafka: Any, elasticsearch: Any, redis_url: str, tmp_path: Path) -> Iterator[World]:
    """Give a case its own topics and empty indices; every daemon is ended afterwards."""
    print(f"seed {SCALE.seed}")
    made = World(kafka, elasticsearch, redis_url, tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def proxy(world: World) -> Iterator[Proxy]:
    """Put the proxy between the daemons and Elasticsearch."""
    with Proxy(world.elasticsearch.url, SCALE.seed) as made:
        world.environment["ELASTICSEARCH_URL"] = made.url
        yield made
        for daemon in world.daemons:  # before the proxy goes, which they would report
            daemon.kill()
