"""Real clients: pylogbeat, and go-lumber, which is what Beats themselves send with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pylogbeat import PyLogBeatClient

from . import wire
from .certificates import Certificates
from .daemon import BeatsDaemon, pipeline_of

PROGRAM = Path(__file__).parent / "lumber"


def test_pylogbeat(tmp_path: Path) -> None:
    """Its numbers go on from batch to batch, and it waits for the last of each."""
    with BeatsDaemon(pipeline_of(tmp_path), tmp_path) as daemon:
        with PyLogBeatClient(wire.HOST, daemon.port, timeout=wire.PATIENCE_S) as client:
            for number in range(3):
                events = [
                    {"@metadata": {"_id": f"{number}-{n}"}, "message": json.dumps({"n": n})}
                    for n in range(50)
                ]
                client.send(events)
                found = daemon.documents()  # what is acknowledged is durable
                assert len(found) == 50 * (number + 1)
        assert found["beats@2-49"] == {"@metadata": {"_id": "2-49"}, "n": 49}
        daemon.terminate()
        assert daemon.wait() == 0


def test_pylogbeat_over_tls(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    server, client_pair = certificates.server, certificates.client
    fields = {
        "certificate_file": server.certificate.name,
        "key_file": server.key.name,
        "client_ca_file": certificates.ca.name,
    }
    with BeatsDaemon(pipeline_of(tmp_path, tls=fields), tmp_path) as daemon:
        client = PyLogBeatClient(
            wire.HOST,
            daemon.port,
            timeout=wire.PATIENCE_S,
            ssl_enable=True,
            keyfile=str(client_pair.key),
            certfile=str(client_pair.certificate),
            ca_certs=str(certificates.ca),
        )
        with client:
            client.send([{"n": 1}, {"n": 2}])
        assert sorted(one["n"] for one in daemon.documents().values()) == [1, 2]


@pytest.fixture(scope="module")
def lumber(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the program that sends with go-lumber; where that cannot be, say why and skip."""
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        pytest.skip("Go is not installed, so go-lumber cannot be built: apt-get install golang-go")
    program = tmp_path_factory.mktemp("lumber") / "lumber"
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}
    built = subprocess.run(
        [go, "build", "-o", program, "."],
        cwd=PROGRAM,
        env=environment,
        capture_output=True,
        text=True,
    )
    if built.returncode:
        pytest.skip(f"go-lumber cannot be built: {built.stderr.strip()[-300:]}")
    return program


@pytest.mark.parametrize("level", [0, 3])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_go_lumber(lumber: Path, tmp_path: Path, way: str, level: int) -> None:
    """One batch after the other, or several sent ahead; compressed, or not."""
    with BeatsDaemon(pipeline_of(tmp_path), tmp_path) as daemon:
        address = f"{wire.HOST}:{daemon.port}"
        sent = subprocess.run(
            [lumber, address, way, str(level), "20", "300"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert sent.returncode == 0, f"{sent.stderr}\n{daemon.text}"
        assert sent.stdout.strip() == "6000"
        found = daemon.documents()
        assert len(found) == 6000
        assert found["beats@19-299"]["n"] == 299
