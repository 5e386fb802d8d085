"""A mail server of the tests' own process: real SMTP by aiosmtpd, with what it answers in the test's hands."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import defaultdict
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import quote

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from .process import free_ports

Security = Literal["plain", "starttls", "tls"]


class Mail(NamedTuple):
    """A mail as the server took it."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def message(self) -> EmailMessage:
        """Give the mail as a reader's program parses it."""
        parsed = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    def body(self, kind: Literal["plain", "html"]) -> str:
        """Give the text of one of the bodies."""
        part = self.message.get_body((kind,))
        assert part is not None
        text: str = part.get_content()
        return text.replace("\r\n", "\n")


class MailServer:
    """Takes mails on a port of loopback that it keeps when it is stopped and started again.

    It runs in a thread, so that a test may block, and a daemon in another process may send.

    Args:
        security: `plain`, `starttls` (offered), or `tls` from the first byte.
        certificate: The server's; for loopback.
        login: User and password that it wants, if any.
    """

    HANG = "hang"
    """An answer that never comes."""

    def __init__(
        self,
        security: Security = "plain",
        certificate: trustme.LeafCert | None = None,
        login: tuple[str, str] | None = None,
    ) -> None:
        self.port = free_ports(1)[0]
        self.mails: list[Mail] = []
        """Taken; also those whose answer was withheld."""
        self.connections = 0
        self.logins: list[tuple[str, str, bool]] = []
        """User, password, and whether they came encrypted."""
        self.answers: defaultdict[str, list[str]] = defaultdict(list)
        """What to answer in place of yes, by MAIL, RCPT, DATA (each once, in order), or by address (each time)."""
        self._login = login
        self._security = security
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(self._tls)
        self._transports: list[asyncio.BaseTransport] = []
        self._thread: threading.Thread | None = None
        self._stop: Any = None

    @property
    def url(self) -> str:
        """Give the URL, with the login."""
        scheme = "smtps" if self._security == "tls" else "smtp"
        login = f"{':'.join(quote(one, safe='') for one in self._login)}@" if self._login else ""
        return f"{scheme}://{login}127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; raises what hinders it."""
        ready = threading.Event()
        failure: list[BaseException] = []

        def serve() -> None:
            try:
                asyncio.run(self._serve(ready))
            except BaseException as error:
                failure.append(error)
                ready.set()

        self._thread = threading.Thread(target=serve, name="mail server")
        self._thread.start()
        ready.wait(20)
        if failure:
            raise failure[0]

    def stop(self) -> None:
        """End at once: connections are reset."""
        if self._thread is not None:
            self._stop()
            self._thread.join(20)
            assert not self._thread.is_alive()
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def _serve(self, ready: threading.Event) -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stopping.set)
        implicit = self._tls if self._security == "tls" else None
        server = await loop.create_server(self._protocol, "127.0.0.1", self.port, ssl=implicit)
        ready.set()
        await stopping.wait()
        server.close()
        for transport in self._transports:
            if isinstance(transport, asyncio.Transport):
                transport.abort()
        self._transports.clear()
        await asyncio.sleep(0)  # for connection_lost()

    def _protocol(self) -> SMTP:
        transports = self._transports
        self.connections += 1

        class Protocol(SMTP):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                transports.append(transport)
                super().connection_made(transport)

        return Protocol(
            self,
            hostname="mail.test",
            tls_context=self._tls if self._security == "starttls" else None,
            auth_require_tls=False,
            auth_exclude_mechanism=() if self._login else ("LOGIN", "PLAIN"),
            authenticator=self._authenticate,
            loop=asyncio.get_running_loop(),
        )

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        user, password = data.login.decode(), data.password.decode()
        assert server.transport is not None
        encrypted = server.transport.get_extra_info("sslcontext") is not None
        self.logins.append((user, password, encrypted))
        return AuthResult(success=(user, password) == self._login, handled=False)

    async def _answer(self, command: str) -> str | None:
        planned = self.answers[command]
        if not planned:
            return None
        answer = planned.pop(0)
        if answer == self.HANG:
            await asyncio.Event().wait()
        return answer

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Note the sender; called by aiosmtpd."""
        if self._login and not session.authenticated:
            return "530 5.7.0 Authentication required"
        if answer := await self._answer("MAIL"):
            return answer
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Note a recipient; called by aiosmtpd."""
        if answer := await self._answer("RCPT"):
            return answer
        if self.answers[address]:
            return self.answers[address][0]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take the mail; called by aiosmtpd."""
        content = envelope.original_content or b""
        refused = self.answers["DATA"] and self.answers["DATA"][0] != self.HANG
        if not refused:
            self.mails.append(Mail(envelope.mail_from or "", tuple(envelope.rcpt_tos), content))
        return await self._answer("DATA") or "250 OK"
