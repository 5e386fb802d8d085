"""`enricher run --workers`: what is refused before anything starts, and how it ends without servers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from .program import PATIENCE_S, TINY, Daemon, enricher, serving

AWAY = """\
connections: {kafka: {brokers: "127.0.0.1:9"}, elasticsearch: {hosts: "http://127.0.0.1:9"}}
sources: [kafka: {topics: [t], group: g}]
"""
FILES = """\
connections: {elasticsearch: {hosts: "http://127.0.0.1:9"}}
sources: [file: {paths: [in.ndjson]}]
"""
FAST_S = 15.0


def test_what_cannot_be_started_is_told_once(tmp_path: Path) -> None:
    """A mistake in the file, sources that cannot be shared: exit code 2, and no worker was started."""
    (tmp_path / "bad.yaml").write_text(TINY.replace("convert", "convrt", 1) + AWAY)
    (tmp_path / "files.yaml").write_text(TINY + FILES)
    (tmp_path / "nowhere.yaml").write_text(TINY + "sources: [kafka: {topics: [t], group: g}]\n")
    for arguments, told in (
        (("bad.yaml",), "bad.yaml:4:5: stages[1].convrt: unknown stage"),
        (("files.yaml",), "files.yaml: source file reads files, which workers cannot share"),
        (("nowhere.yaml",), "nowhere.yaml: source kafka needs connections.kafka"),
        (("nowhere.yaml", "--source", "kafak"), 'no source "kafak" (did you mean "kafka"?)'),
    ):
        result = enricher("run", *arguments, "--workers", 2, folder=tmp_path)
        assert result.code == 2
        assert told in result.err
        assert len(result.err.splitlines()) == 1, result.err
    result = enricher("run", "bad.yaml", "in.ndjson", "--workers", 2, folder=tmp_path)
    assert result.code == 2
    assert "FILES cannot be shared; leave --workers out" in result.err


def test_an_address_in_use_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(TINY + AWAY)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = enricher("run", "p.yaml", "--workers", 2, "--admin", address, folder=tmp_path)
    assert result.code == 2
    assert f"{address} is in use" in result.err
    assert "worker started" not in result.err


def test_what_only_a_worker_can_find_ends_all(tmp_path: Path) -> None:
    """A dead-letter file that cannot be opened: exit code 2, not a worker started for ever."""
    (tmp_path / "file").write_text("")
    with serving() as server:
        (tmp_path / "p.yaml").write_text(TINY + AWAY.replace("http://127.0.0.1:9", server.url))
        result = enricher(
            *("run", "p.yaml", "--workers", 2, "--dead-letters", "file/below"), folder=tmp_path
        )
    assert result.code == 2
    assert "dead letters: file/below cannot be opened" in result.err
    assert result.err.count("worker started") == 2
    assert result.err.count("a worker cannot start, see its line above") == 1


@contextmanager
def waiting(folder: Path, **environment: str) -> Iterator[tuple[Daemon, list[psutil.Process]]]:
    """Start a supervisor whose two workers wait for servers that are away."""
    (folder / "p.yaml").write_text(TINY + AWAY)
    with Daemon("run", "p.yaml", "--workers", 2, folder=folder, environment=environment) as daemon:
        daemon.wait_for('"worker": 1, "event": "', '"worker": 2, "event": "')
        workers = psutil.Process(daemon.process.pid).children()
        try:
            yield daemon, workers
        finally:
            for worker in workers:
                if worker.is_running():
                    worker.kill()


def test_sigterm_while_servers_are_away(tmp_path: Path) -> None:
    """Exit code 0, one line of JSON from each worker, nobody left, no folder of sockets left."""
    with waiting(tmp_path, TMPDIR=str(tmp_path)) as (daemon, workers):
        daemon.terminate()
        assert daemon.wait(FAST_S) == 0
        assert not any(worker.is_running() for worker in workers)
        assert daemon.text.count('{"records":0,') == 2
        assert not list(tmp_path.glob("enricher-*"))
        assert "Traceback" not in daemon.text


def test_workers_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with waiting(tmp_path) as (daemon, workers):
        daemon.process.kill()
        assert not psutil.wait_procs(workers, timeout=FAST_S)[1]
        assert daemon.text.count("the supervisor is gone; this worker drains and stops") == 2
        assert "Traceback" not in daemon.text


def test_systemd_hears_of_the_service_from_the_supervisor_alone(tmp_path: Path) -> None:
    """What its workers wait for, never READY before they are, and that it stops."""
    address = tmp_path / "notify"
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(PATIENCE_S)
        with waiting(tmp_path, NOTIFY_SOCKET=str(address)) as (daemon, _):
            while "worker 2: " not in (heard[-1] if heard else ""):
                heard.append(systemd.recv(4096).decode())
            daemon.terminate()
            while "STOPPING=1" not in heard[-1]:
                heard.append(systemd.recv(4096).decode())
            assert daemon.wait(FAST_S) == 0
    assert not any("READY=1" in text for text in heard)
