"""Mails over a real SMTP conversation: what is taken, what is sent again, what is refused for good."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from enricher.alerts.digest import Refused
from enricher.alerts.email import EmailSender
from enricher.connections import SmtpConnection
from enricher.model import Unavailable

from ..servers.smtp import MailServer, Security
from .digests import EVENT, digest
from .test_mail import HEADERS, TEMPLATES, target

TO = ("security@example.com", "fraud@example.com")
PASSWORD = "s3cret-p@ss"
LOGIN = ("enricher", PASSWORD)
authority = trustme.CA()
certificate = authority.issue_cert("127.0.0.1", "localhost")


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as running:
        yield running


def sender_to(server: MailServer, **settings: Any) -> EmailSender:
    connection = SmtpConnection.model_validate({"url": server.url, "timeout_s": 20} | settings)
    return target().build(connection, TEMPLATES, "payments")


async def test_a_mail_is_taken_as_it_was_written(server: MailServer) -> None:
    """Envelope, headers and both bodies; also lines that SMTP itself would take for its own."""
    event = EVENT | {"user_id": "हिन्दी\r\n.\r\nQUIT", "request_id": "."}
    sender = sender_to(server)
    await sender.send(digest(event, EVENT, count=943))
    await sender.close()
    [mail] = server.mails
    assert (mail.sender, mail.recipients) == ("enricher@alerts.example.com", TO)
    assert mail.message.keys() == HEADERS
    assert mail.message["Subject"] == (
        "HIGH RISK TRANSACTION ALERT: ₹84999.5 - User हिन्दी . QUIT (and 942 more)"
    )
    assert "User:            हिन्दी . QUIT\n" in mail.body("plain")
    assert "Request:         .\n" in mail.body("plain")
    assert "and 941 more" in mail.body("html")


@pytest.mark.parametrize(
    ("security", "starttls"),
    [("plain", "auto"), ("starttls", "auto"), ("starttls", "required"), ("tls", "auto")],
)
async def test_a_login_over_every_kind_of_connection(
    security: Security, starttls: str, ca_file: Path
) -> None:
    """Encrypted wherever the server lets it be; to this machine also where it does not."""
    with MailServer(security, certificate, LOGIN) as server:
        await sender_to(server, starttls=starttls, ca_file=ca_file).send(digest())
        assert server.logins == [(*LOGIN, security != "plain")]
        assert len(server.mails) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(security: Security) -> None:
    """Nothing is sent, not even the password; the text says what to do. Unless told not to look."""
    with MailServer(security, certificate, LOGIN) as server:
        with pytest.raises(Unavailable, match=r"not trusted: .*set connections\.smtp\.ca_file"):
            await sender_to(server).send(digest())
        assert (server.logins, server.mails) == ([], [])
        await sender_to(server, verify_certificates=False).send(digest())
        assert len(server.mails) == 1


async def test_a_certificate_of_another_host_is_not_trusted(ca_file: Path) -> None:
    with MailServer("tls", authority.issue_cert("mail.example.com")) as server:
        with pytest.raises(Unavailable, match="not trusted"):
            await sender_to(server, ca_file=ca_file).send(digest())
        assert server.mails == []


async def test_a_server_without_the_required_starttls_gets_nothing(server: MailServer) -> None:
    with pytest.raises(Unavailable, match="STARTTLS extension not supported"):
        await sender_to(server, starttls="required").send(digest())
    assert server.mails == []


async def test_a_password_goes_to_no_other_machine_unencrypted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The machine under test has no other one to send to: it is made to take itself for one."""
    with MailServer(login=LOGIN) as server:
        sender = sender_to(server)
        monkeypatch.setattr("enricher.connections.is_loopback", lambda _: False)
        with pytest.raises(Unavailable, match="offers no TLS, and the password is not sent"):
            await sender.send(digest())
        assert (server.logins, server.mails) == ([], [])


async def test_a_wrong_password_is_put_right_by_people() -> None:
    """The alert waits meanwhile; the password is in no text."""
    with MailServer(login=("enricher", "another")) as server:
        wrong = f"smtp://enricher:{PASSWORD.replace('@', '%40')}@127.0.0.1:{server.port}"
        with pytest.raises(Unavailable, match=r"535 .*; check user and password") as caught:
            await sender_to(server, url=wrong).send(digest())
        assert server.logins[0] == (*LOGIN, False)
        assert "s3cret" not in str(caught.value)
        with pytest.raises(Unavailable, match="530 .*Authentication required"):
            await sender_to(server, url=f"smtp://127.0.0.1:{server.port}").send(digest())
        assert server.mails == []


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
async def test_what_is_refused_for_now_can_be_sent_again(server: MailServer, command: str) -> None:
    """4xx, wherever it comes."""
    server.answers[command] += ["451 4.7.1 try later"] * (2 if command == "RCPT" else 1)
    sender = sender_to(server)
    with pytest.raises(Unavailable, match="451 4.7.1 try later"):
        await sender.send(digest())
    assert server.mails == []
    await sender.send(digest())
    assert len(server.mails) == 1


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("MAIL", "552 5.3.4 too large"),
        ("MAIL", "550 5.7.1 not from you"),
        ("RCPT", "550 5.1.1 no such user"),
        ("DATA", "554 5.7.1 looks like spam"),
    ],
)
async def test_what_is_refused_for_good(server: MailServer, command: str, answer: str) -> None:
    """5xx that blames this mail; the next one is another matter."""
    server.answers[command] += [answer] * (2 if command == "RCPT" else 1)
    sender = sender_to(server)
    with pytest.raises(Refused, match=answer):
        await sender.send(digest())
    assert server.mails == []
    await sender.send(digest())
    assert len(server.mails) == 1


async def test_recipients_that_may_be_taken_later_are_not_given_up(server: MailServer) -> None:
    """None was taken, and one of them only for now."""
    server.answers["RCPT"] += ["550 no such user", "450 greylisted"]
    with pytest.raises(Unavailable, match="450 greylisted"):
        await sender_to(server).send(digest())


async def test_some_recipients_refused(
    server: MailServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """The others have it; who has not is logged."""
    server.answers[TO[1]] = ["550 5.1.1 no such user"]
    await sender_to(server).send(digest())
    [mail] = server.mails
    assert mail.recipients == TO[:1]
    out, err = capfd.readouterr()
    assert "not taken for some" in out + err
    assert f"{TO[1]}" in out + err
    assert "550 5.1.1 no such user" in out + err


async def test_rights_that_are_missing_at_any_command_are_put_right_by_people(
    server: MailServer,
) -> None:
    for command in ("MAIL", "RCPT", "RCPT"):
        server.answers[command] += ["530 5.7.0 Must issue a STARTTLS command first"]
    sender = sender_to(server)
    for _ in range(2):
        with pytest.raises(Unavailable, match="530"):
            await sender.send(digest())


async def test_a_server_that_is_away_and_back(server: MailServer) -> None:
    """On the same port; nothing has to be told to the sender."""
    sender = sender_to(server)
    server.stop()
    with pytest.raises(Unavailable, match=r"cannot be used \(connection refused\)"):
        await sender.send(digest())
    server.start()
    await sender.send(digest())
    assert len(server.mails) == 1


async def test_a_name_that_nobody_knows() -> None:
    connection = SmtpConnection.model_validate({"url": "smtp://mail.invalid:25", "timeout_s": 20})
    with pytest.raises(Unavailable, match=r"mail\.invalid:25 cannot be used \(its name"):
        await target().build(connection, TEMPLATES, "p").send(digest())


async def test_an_answer_that_never_comes(server: MailServer) -> None:
    """The mail was taken and nobody said so: it is sent again, under the same Message-ID."""
    server.answers["DATA"] += [server.HANG]
    sender = sender_to(server, timeout_s=0.5)
    with pytest.raises(Unavailable, match=r"did not answer within 0\.5 s"):
        await sender.send(digest())
    await sender_to(server).send(digest())
    first, second = server.mails
    assert first.message["Message-ID"] == second.message["Message-ID"]
    assert first.body("plain") == second.body("plain")


async def test_a_connection_that_breaks_off(server: MailServer) -> None:
    """While the answer to the mail is awaited."""
    server.answers["DATA"] += [server.HANG]
    sending = asyncio.create_task(sender_to(server).send(digest()))
    async with asyncio.timeout(20):
        while not server.mails:
            await asyncio.sleep(0.01)
    server.stop()
    with pytest.raises(Unavailable, match="cannot be used"):
        await sending


async def test_a_peer_that_never_speaks_nor_reads() -> None:
    """A black hole, and one that sends without end: bounded in time, no connection is left."""
    peers: list[asyncio.StreamWriter] = []

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer)

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer)
        try:
            while True:
                writer.write(b"220-" + b"x" * 1_000 + b"\r\n")
                await writer.drain()
        except ConnectionError:
            pass

    for peer in (silent, endless):
        listener = await asyncio.start_server(peer, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        for scheme in ("smtp", "smtps"):
            given = {"url": f"{scheme}://127.0.0.1:{port}", "timeout_s": 0.5}
            connection = SmtpConnection.model_validate(given)
            with pytest.raises(Unavailable):
                await target().build(connection, TEMPLATES, "p").send(digest())
        listener.close()
    async with asyncio.timeout(20):
        for writer in peers:
            writer.transport.abort()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_many_at_a_time(server: MailServer) -> None:
    """One sender may be asked for several digests at once."""
    sender = sender_to(server)
    await asyncio.gather(*(sender.send(digest(alert=f"A{number}")) for number in range(20)))
    assert len({mail.message["Message-ID"] for mail in server.mails}) == 20


async def test_a_send_that_is_cancelled_leaves_nothing_behind(server: MailServer) -> None:
    server.answers["MAIL"] += [server.HANG]
    sending = asyncio.create_task(sender_to(server).send(digest()))
    async with asyncio.timeout(20):
        while server.answers["MAIL"]:
            await asyncio.sleep(0.01)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending


async def test_no_server_is_no_reason_to_keep_an_alert() -> None:
    """An empty URL means that there is none."""
    for connection in (None, SmtpConnection.model_validate({"url": ""})):
        with pytest.raises(Refused, match=r"set connections\.smtp\.url"):
            await target().build(connection, TEMPLATES, "p").send(digest())
