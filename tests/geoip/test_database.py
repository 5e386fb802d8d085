"""A database that is open stays what it was, and one that is no good is not opened."""

from __future__ import annotations

import os
import random
import tempfile
import threading
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest

from enricher.geoip import probe
from enricher.geoip.database import CHUNK, Database, open_database, packaged
from enricher.geoip.reader import DamagedError, Reader

from .mmdb import DATA, GOOD, MARK, country, write

CITY = DATA / "GeoLite2-City-Test.mmdb"


def networks(count: int) -> dict[str, Any]:
    return {f"{20 + n // 256}.{n % 256}.0.0/16": country(f"{n}" * 50) for n in range(count)}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one of many pages."""
    return write(tmp_path_factory.mktemp("geoip") / "large.mmdb", networks(5000))


def name_of(database: Database, address: str) -> Any:
    place, _ = database.reader.find(ip_address(address).packed)
    assert place is not None
    return database.reader.read(place)["country"]["names"]["en"]


def overwrite(file: Path) -> None:
    with file.open("r+b") as content:
        content.write(b"\xff" * file.stat().st_size)


@pytest.mark.parametrize(
    "harm",
    [
        lambda file: os.truncate(file, 100),
        lambda file: os.truncate(file, 0),
        overwrite,
        lambda file: file.write_bytes(b"no database"),
        lambda file: file.unlink(),
    ],
    ids=["truncated", "emptied", "overwritten", "replaced", "deleted"],
)
@pytest.mark.parametrize("has_disk", [True, False])
def test_what_happens_to_the_file_changes_nothing(
    large: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Path], object],
    has_disk: bool,
) -> None:
    """A mapped file that is truncated would end the process; in memory where no disk will do."""
    if not has_disk:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "away"))
    file = tmp_path / "d.mmdb"
    file.write_bytes(large.read_bytes())
    database = open_database(file)
    harm(file)
    for n in range(0, 5000, 7):
        assert name_of(database, f"{20 + n // 256}.{n % 256}.1.2") == f"{n}" * 50


def test_the_copy_leaves_nothing_behind(large: Path, tmp_path: Path) -> None:
    """No file in the folder of temporary files, and no descriptor or mapping once it is closed."""
    process = psutil.Process()
    before = process.num_fds(), len(os.listdir(tempfile.gettempdir()))
    database = open_database(large)
    assert len(os.listdir(tempfile.gettempdir())) == before[1]
    del database
    with pytest.raises(ValueError):
        open_database(DATA / "bad" / "libmaxminddb-metadata-marker-only.mmdb")
    assert process.num_fds() == before[0]


def sparse(file: Path) -> None:
    with file.open("r+b") as content:
        content.seek(file.stat().st_size // 3 & ~4095)
        content.write(bytes(4096))


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def half_lost(file: Path) -> None:
    """Keep the metadata, which stand at the end."""
    whole = file.read_bytes()
    begin = whole.rindex(MARK)
    file.write_bytes(b"\xff" * (begin // 2) + whole[begin // 2 :])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda file: file.unlink(), "does not exist: set GEOIP_DATABASE to an .mmdb file"),
        (lambda file: os.truncate(file, file.stat().st_size - 1), "metadata are damaged"),
        (lambda file: os.truncate(file, file.stat().st_size // 2), "or its end is missing"),
        (lambda file: os.truncate(file, 0), "cannot mmap an empty file"),
        (lambda file: file.write_text("<html>Too many downloads</html>"), "is no MaxMind database"),
        (sparse, "a part of it was never written"),
        (half_lost, "its search tree is damaged"),
        (lambda file: [file.unlink(), file.mkdir()], "Is a directory"),
        (pipe, "no regular file"),
        (lambda file: [file.unlink(), file.symlink_to("/dev/zero")], "no regular file"),
        (lambda file: [file.unlink(), file.symlink_to(file)], "symbolic link"),
    ],
)
def test_what_is_no_database(
    large: Path, tmp_path: Path, spoil: Callable[[Path], object], why: str
) -> None:
    """Refused at once, with its name; a pipe is not waited for."""
    file = tmp_path / "d.mmdb"
    file.write_bytes(large.read_bytes())
    spoil(file)
    with pytest.raises(ValueError, match="GeoIP database .*d.mmdb ") as error:
        open_database(file)
    assert why in str(error.value)


def test_a_file_that_is_being_written_is_not_taken(large: Path, tmp_path: Path) -> None:
    """Neither the old nor the new database, nor a mixture; once it is at rest, it is."""
    file = tmp_path / "d.mmdb"
    whole = large.read_bytes()
    file.write_bytes(whole)
    done = threading.Event()

    def keep_writing() -> None:
        with file.open("r+b") as content:
            while not done.is_set():
                content.seek(0)
                content.write(whole[:CHUNK])
                content.flush()

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        with pytest.raises(ValueError, match="changed while it was read"):
            for _ in range(1000):
                open_database(file)
    finally:
        done.set()
        writer.join()
    assert name_of(open_database(file), "20.5.0.1") == "5" * 50


@pytest.mark.parametrize("file", [*GOOD, packaged()], ids=lambda file: file.stem)
def test_sound_databases_are_opened(file: Path) -> None:
    """MaxMind's, and the packaged one; some fields of their records are seen."""
    database = open_database(file)
    assert database.built_at > 1_600_000_000
    wanted = {"asn", "as_organization"} if "ASN" in file.stem else {"country", "country_code"}
    assert wanted <= database.seen
    assert ("city" in database.seen) == ("city" in file.stem.lower())


def test_the_probe_reaches_into_every_corner(tmp_path: Path) -> None:
    """A record of one address is found among networks without any; an empty database is none."""
    for address in ("1.2.3.4/32", "2001:db8::1/128"):
        file = write(tmp_path / "d.mmdb", {address: country("Nepal")})
        assert open_database(file).seen == {"country", "country_code"}
    reader = Reader(write(tmp_path / "d.mmdb", networks(300)).read_bytes())
    dice = random.Random(1)
    found = {probe.some_place(reader, size, dice) for size in (4, 16) for _ in range(3000)}
    assert len(found - {None}) == 300
    writer = write(tmp_path / "d.mmdb", {"1.2.3.4/32": country("Nepal")}).read_bytes()
    begin = writer.rindex(MARK)
    nodes = Reader(writer).metadata.nodes
    empty = nodes.to_bytes(3, "big") * 2 * nodes + bytes(16) + writer[begin:]
    with pytest.raises(DamagedError, match="no record was found"):
        probe.probe(Reader(empty))


def test_records_that_are_no_maps(tmp_path: Path) -> None:
    file = write(tmp_path / "d.mmdb", {"1.0.0.0/8": "text"})
    with pytest.raises(ValueError, match="a record of it is no map but str"):
        open_database(file)
