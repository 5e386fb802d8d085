"""The GeoIP file is exchanged and damaged under load: every answer is one of a sound database."""

from __future__ import annotations

import random
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.admin_client import get

from . import results
from .checker import Found
from .daemon import Daemon
from .geography import DAMAGE, Geography
from .scale import SCALE
from .world import World

REFUSED, TAKEN = '"not reloaded', '"reloaded"'
PLACE = {"geo_country", "geo_state", "geo_city", "geoip"}
_MORE_MIB = 100
"""What may stay resident of a hundred databases, each of a megabyte: far less than all."""


@contextmanager
def feeding(world: World) -> Iterator[None]:
    """Send events meanwhile, without a pause."""
    done = threading.Event()
    failures: list[BaseException] = []

    def feed() -> None:
        seed = SCALE.seed
        try:
            while not done.is_set():
                world.ledger.send(SCALE.swap_events, seed=seed, over_s=1)
                seed += 1
        except BaseException as error:
            failures.append(error)
            raise

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield
    finally:
        done.set()
        feeder.join()
    assert not failures


def test_a_database_is_exchanged_and_damaged(world: World) -> None:
    """In turns, in every way, by SIGHUP and by the change alone: no crash, no wrong answer, no gap."""
    dice = random.Random(SCALE.seed)
    geography = Geography(world.folder)
    geography.put(geography.database(0))
    world.environment["GEOIP_DATABASE"] = str(geography.file)
    socket = world.folder / "admin.sock"
    daemon = world.start("--admin", f"unix:{socket}")
    kinds = [*DAMAGE] * (SCALE.swaps // len(DAMAGE) + 1)
    stalls = []
    with feeding(world):
        world.until_more()
        resident = daemon.resident_bytes()
        for turn in range(1, SCALE.swaps + 1):
            with changing(world, daemon, REFUSED, hang_up=dice.random() < 0.5):
                DAMAGE[kinds[turn - 1]](geography, dice)
            world.until_more()  # the old one answers
            with changing(world, daemon, TAKEN, hang_up=dice.random() < 0.5):
                geography.put(geography.database(turn), in_place=dice.random() < 0.5)
            world.until_more()
            stalls.append(longest_stall_ms(socket))
        grown = (daemon.resident_bytes() - resident) >> 20
    world.until_settled()
    assert daemon.stop() == 0, world.logs
    assert daemon.log.read_text().count("Traceback") == 0, world.logs
    verdict = world.verdict()
    assert verdict.clean, f"{verdict}\n{world.logs}"
    answers = check_places(world.documents(), geography, SCALE.swaps)
    assert grown < _MORE_MIB
    results.note(
        f"GeoIP file damaged and exchanged, {SCALE.swaps} times each",
        verdict,
        answers=answers,
        kinds_of_damage=len({*kinds[: SCALE.swaps]}),
        MiB_more_resident=grown,
        ms_longest_stall=max(stalls),
    )


@contextmanager
def changing(world: World, daemon: Daemon, said: str, *, hang_up: bool) -> Iterator[None]:
    """Wait until the log says once more what came of a change."""
    before = daemon.log.read_text().count(said)
    yield
    if hang_up:
        daemon.signal(signal.SIGHUP)
    world.until(lambda: daemon.log.read_text().count(said) > before, 30, said)
    assert daemon.is_running, world.logs


def longest_stall_ms(socket: Path) -> int:
    """Give the longest stall of the daemon's event loop in the last minute."""
    _, text = get(socket, "/metrics")
    found = re.search(r"^enricher_event_loop_stall_max_seconds (\S+)$", text, re.MULTILINE)
    assert found
    return round(float(found[1]) * 1000)


def check_places(documents: list[Found], geography: Geography, last: int) -> int:
    """Hold every document to the answer of one sound database; gives how many have one.

    That database is the same as, or a later one than, that of the records before it in its
    partition; and all of them had their turn.
    """
    partitions: dict[str, list[tuple[int, int]]] = {}
    for document in documents:
        generation = generation_of(document.fields, geography)
        if generation is not None:
            stream, offset, _ = document.id.rsplit("-", 2)
            partitions.setdefault(stream, []).append((int(offset), generation))
    for places in partitions.values():
        generations = [generation for _, generation in sorted(places)]
        assert generations == sorted(generations)
    seen = {generation for places in partitions.values() for _, generation in places}
    assert seen == set(range(last + 1))
    return sum(map(len, partitions.values()))


def generation_of(fields: Mapping[str, Any], geography: Geography) -> int | None:
    """Give the database that an answer comes from; None where the address has no place."""
    address = fields.get("ip_address")
    tags = fields.get("tags", [])
    city = geography.city(address) if address else None
    if city is None:
        assert not PLACE & set(fields), fields
        assert ("_geoip_failure" in tags) == bool(address), fields
        if address:
            assert re.search(
                r" is (a private address|not in the database)$", fields["failures"]["geoip"]
            )
        return None
    assert "_geoip_failure" not in tags, fields
    generation, _, rest = fields["geo_city"].partition(" ")
    assert rest == city, fields
    assert fields["geo_country"] == "India"
    return int(generation)
