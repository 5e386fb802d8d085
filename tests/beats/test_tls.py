"""TLS on the real daemon: who may come in, and what becomes of the others."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from tests.admin_client import get

from . import wire
from .certificates import Certificates
from .daemon import BeatsDaemon, pipeline_of
from .wire import Client, Secure


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def tls(certificates: Certificates, **others: Any) -> dict[str, Any]:
    pair = certificates.server
    return {"certificate_file": str(pair.certificate), "key_file": str(pair.key), **others}


def sent(daemon: BeatsDaemon, context: ssl.SSLContext | None) -> bool:
    """Say whether a batch gets through."""
    try:
        with Client(daemon.port, context) as client:
            client.send(wire.batch([{"n": 1}], compress=True))
            return client.ack() == 1
    except (ssl.SSLError, ConnectionError):
        return False


def counts(daemon: BeatsDaemon) -> dict[str, Any]:
    status = json.loads(get(daemon.folder / "admin.sock", "/status")[1])
    found: dict[str, Any] = status["sources"]["beats"]
    return found


@pytest.mark.parametrize("clients", ["", "optional", "required"])
def test_who_may_come_in(certificates: Certificates, tmp_path: Path, clients: str) -> None:
    """By the certificate that is shown: none, ours, a stranger's; and one without any TLS."""
    others = {"client_ca_file": str(certificates.ca), "client_certificates": clients}
    pipeline = pipeline_of(tmp_path, tls=tls(certificates, **(others if clients else {})))
    with BeatsDaemon(pipeline, tmp_path, "--admin", f"unix:{tmp_path / 'admin.sock'}") as daemon:
        come_in = {
            "nobody": sent(daemon, certificates.trusting()),
            "ours": sent(daemon, certificates.trusting(certificates.client)),
            "stranger": sent(daemon, certificates.trusting(certificates.stranger)),
            "plain": sent(daemon, None),
        }
        assert come_in == {
            "nobody": clients != "required",
            "ours": True,
            "stranger": not clients,
            "plain": False,
        }
        refused = list(come_in.values()).count(False)
        end = time.monotonic() + wire.PATIENCE_S
        while counts(daemon)["refused"] != {"tls": refused}:
            assert time.monotonic() < end, counts(daemon)
            time.sleep(0.02)  # between two looks
        daemon.terminate()
        assert daemon.wait() == 0
        assert "Traceback" not in daemon.text
        assert '"tls": true' in daemon.text


def test_large_batches_pass_both_ways_of_reading(
    certificates: Certificates, tmp_path: Path
) -> None:
    """More than TLS keeps for us while we do not read, in windows sent ahead."""
    count, text = 40, "x" * 8000
    with BeatsDaemon(pipeline_of(tmp_path, tls=tls(certificates)), tmp_path) as daemon:
        with Client(daemon.port, certificates.trusting()) as client:
            for number in range(count):
                events = [{"@metadata": {"_id": f"{number}-{n}"}, "text": text} for n in range(100)]
                client.send(wire.batch(events, compress=number % 2 == 0))
            done = 0
            while done < count:
                one = client.ack()
                assert one is not None, daemon.text
                done += one == 100
        assert len(daemon.documents()) == count * 100


def test_who_said_goodbye_gets_its_ack_and_is_heard_no_more(
    certificates: Certificates, tmp_path: Path
) -> None:
    """What follows a goodbye is nobody's, and is not kept however much it is."""
    with BeatsDaemon(pipeline_of(tmp_path, tls=tls(certificates)), tmp_path) as daemon:
        with Secure(daemon.port, certificates.trusting()) as sender:
            sender.tls.write(wire.batch([{"n": 1}] * 100))
            with contextlib.suppress(ssl.SSLWantReadError):
                sender.tls.unwrap()
            sender.socket.sendall(sender.records())
            assert sender.read(6) == wire.ack(100)
            before = daemon.resident_bytes()
            with contextlib.suppress(OSError):
                sender.socket.sendall(bytes(64 << 20))
            assert daemon.resident_bytes() - before < 16 << 20
        assert len(daemon.documents()) == 100
        daemon.terminate()
        assert daemon.wait() == 0


def test_files_that_cannot_be_used_are_told_before_anything_runs(
    certificates: Certificates, tmp_path: Path
) -> None:
    from tests.cli.program import enricher

    relative = tmp_path / "server.pem"
    relative.write_bytes(certificates.server.certificate.read_bytes())
    (tmp_path / "other.key").write_bytes(certificates.client.key.read_bytes())
    encrypted = tmp_path / "secret.key"
    encrypted.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n")
    for fields, said in (
        ({"certificate_file": "away.pem"}, "tls.certificate_file: away.pem cannot be read"),
        ({"certificate_file": "server.pem", "key_file": "other.key"}, "KEY_VALUES_MISMATCH"),
        ({"certificate_file": "server.pem", "key_file": "secret.key"}, "a file cannot be used"),
        ({"key_file": "other.key"}, "certificate_file is missing"),
    ):
        pipeline = pipeline_of(tmp_path, tls=fields)
        checked = enricher("check", pipeline, folder=tmp_path)
        assert checked.code == 2
        assert said in checked.err
        ran = enricher("run", pipeline, "--local", folder=tmp_path)
        assert ran.code == 2
        assert said in ran.err
