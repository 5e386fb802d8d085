"""Write mails: one for many matches, with what they have to say."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from email.headerregistry import Address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from enricher.alerts.body import read_body
from enricher.alerts.digest import Digest, Refused
from enricher.alerts.mail import Mail, composer
from enricher.alerts.reason import reason_of
from enricher.alerts.text import HTML, PLAIN, cut, tidy
from enricher.connections import STRICT, SmtpConnection
from enricher.connections.settings import split
from enricher.document import MISSING
from enricher.model import ConfigError, Problem, Unavailable
from enricher.template import Template

if TYPE_CHECKING:
    from aiosmtplib import SMTP, SMTPResponseException

GENERIC = Path(__file__).parent / "generic"
"""Bodies for any alert: what stands where no template is named."""
QUIT_S = 5.0
_RIGHTS = frozenset({530, 534, 535, 538})
"""Codes that ask for a login, another login, or TLS first: RFC 4954 and RFC 3207."""
_ADDRESS = re.compile(
    r"(?:(?P<name>[^<>\"\x00-\x1f\x7f-\x9f]*)<)?"
    r"(?P<user>[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*)"
    r"@(?P<host>(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)"
    r"(?(name)>)"
)


def address_of(text: str) -> Address:
    """Read `name@host` or `Name <name@host>`. Raises ValueError."""
    if text.startswith(MISSING):
        return Address(username=text, domain="localhost")
    found = _ADDRESS.fullmatch(text)
    if not found or len(found["user"]) > 64 or len(found["host"]) > 180:
        raise ValueError(
            f'"{text}" is no mail address: write name@example.com or Name <name@example.com>, '
            "in ASCII but for the name"
        )
    return Address((found["name"] or "").strip(), found["user"], found["host"])


def _check(text: str) -> str:
    address_of(text)
    return text


MailAddress = Annotated[str, AfterValidator(_check)]


class EmailTarget(BaseModel):
    """Who gets a mail, and what it says: one for many matches.

    Its bodies are `templates/alerts/NAME.txt` and `NAME.html`. What stands between a line
    `{$each}` and a line `{$end}` is written for each match; outside of them, as in `subject`, a
    `{field}` is one of the first match. Beside `{$now}` and the like, they know `{$alert}`,
    `{$summary}`, `{$count}` (of all matches), `{$more}` ("and 942 more", or nothing), `{$first}`
    and `{$last}` (times), `{$when}` (both, or one where they are the same), `{$at}` (time of one
    match) and `{$fields}` (all of one match). Values are escaped, put on one line and cut at
    2,000 characters; braces of CSS are written twice.
    """

    model_config = STRICT
    sender: MailAddress = Field(description="Address that the mail comes from.")
    to: Annotated[list[MailAddress], BeforeValidator(split)] = Field(
        min_length=1, max_length=100, description="Addresses; a text may hold several, with commas."
    )
    subject: Template
    template: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Name of the bodies in `templates/alerts/`; without, all fields are shown.",
    )

    def build(
        self, connection: SmtpConnection | None, folder: Path | None, pipeline: str
    ) -> EmailSender:
        """Build the sender. Opens the files of bodies and of TLS, never the network.

        Args:
            connection: `connections.smtp`; without a URL, `send()` refuses every digest.
            folder: `templates:` of the pipeline file, as it is to be opened.
            pipeline: its name.

        Raises:
            ConfigError: with every mistake in the bodies.
            ValueError: `template` is given, `templates:` is not.
            UserError: a TLS file cannot be used.
        """
        if self.template and folder is None:
            raise ValueError("template needs `templates:`, the folder that alerts/ lies in")
        place = folder / "alerts" / self.template if folder and self.template else GENERIC
        problems: list[Problem] = []
        bodies: list[Callable[[Digest], str]] = []
        for suffix, style in ((".txt", PLAIN), (".html", HTML)):
            try:
                bodies.append(read_body(place.with_suffix(suffix), style, pipeline))
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        to = tuple({address.addr_spec: address for address in map(address_of, self.to)}.values())
        text, html = bodies
        compose = composer(address_of(self.sender), to, self.subject, (text, html), pipeline)
        return EmailSender(connection, compose)


class EmailSender:
    """Sends each digest as a mail, over a connection of its own.

    `Refused` is what the server says of this mail for good: 5xx to its sender, to every
    recipient or to its content. All else is `Unavailable`: what befalls every mail alike (no
    connection, TLS, a wrong password) is put right by people, and must not cost the alerts of
    that time.
    """

    def __init__(
        self, connection: SmtpConnection | None, compose: Callable[[Digest], Mail]
    ) -> None:
        """Prepare, without touching the network. Raises UserError for an unusable TLS file."""
        self._connection = connection or SmtpConnection()
        self._options = self._connection.client_options() if self._connection.url else {}
        self._compose = compose
        self._where = f"the mail server at {self._connection.address}"

    async def send(self, digest: Digest) -> None:
        """Return once the server has taken the mail for one recipient at least.

        Raises:
            Unavailable: it may be taken later; whether it was taken may be unknown.
            Refused: it never will.
        """
        from aiosmtplib import SMTP, SMTPException

        if not self._connection.url:
            raise Refused("there is no mail server: set connections.smtp.url")
        if not self._connection.verify_certificates:
            _warn("certificates are not checked", server=self._connection.address)
        mail = self._compose(digest)
        content = await asyncio.to_thread(mail.encode)
        client = SMTP(**self._options, timeout=None)
        try:
            async with asyncio.timeout(self._connection.timeout_s):
                await self._deliver(client, mail, content)
            with suppress(SMTPException, OSError):  # TimeoutError is one; the mail is taken
                async with asyncio.timeout(QUIT_S):
                    await client.quit()
        except TimeoutError:
            patience = f"{self._connection.timeout_s:g} s"
            raise Unavailable(f"{self._where} did not answer within {patience}") from None
        except (SMTPException, OSError) as error:
            raise self._judged(error) from None
        finally:
            transport = cast("asyncio.Transport | None", client.transport)
            client.close()
            if transport is not None:
                transport.abort()  # close() alone would wait for a peer that reads no more

    async def _deliver(self, client: SMTP, mail: Mail, content: bytes) -> None:
        await client.connect()
        if self._connection.credentials:
            if not (self._connection.is_private or client.get_transport_info("sslcontext")):
                raise Unavailable(
                    f"{self._where} offers no TLS, and the password is not sent for all to read; "
                    "use smtps://, or a server with STARTTLS"
                )
            await client.login(*self._connection.credentials)
        to = [address.addr_spec for address in mail.to]
        refused, _ = await client.sendmail(mail.sender.addr_spec, to, content)
        if refused:
            _warn(
                "a mail was not taken for some of its recipients",
                server=self._connection.address,
                refused={name: _said(code, text) for name, (code, text) in refused.items()},
            )

    def _judged(self, error: Exception) -> Exception:
        """Translate what the client raises."""
        from aiosmtplib import (
            SMTPAuthenticationError,
            SMTPDataError,
            SMTPException,
            SMTPRecipientsRefused,
            SMTPResponseException,
            SMTPSenderRefused,
        )

        if isinstance(error, SMTPRecipientsRefused):
            answers: list[SMTPResponseException] = list(error.recipients)
            later = [one for one in answers if not _is_final(one.code)]
            first = (later or answers)[0]
            what = f"takes mail for none of the recipients: {_said(first.code, first.message)}"
            return (
                Unavailable(f"{self._where} {what}") if later else Refused(f"{self._where} {what}")
            )
        if isinstance(error, SMTPResponseException):
            what = f"{self._where} answered {_said(error.code, error.message)}"
            if isinstance(error, SMTPAuthenticationError) or error.code in _RIGHTS:
                return Unavailable(f"{what}; check user and password in connections.smtp.url")
            blames = isinstance(error, SMTPSenderRefused | SMTPDataError)
            return Refused(what) if blames and _is_final(error.code) else Unavailable(what)
        plain = type(error) is SMTPException  # the client's own words: a missing extension
        reason = tidy(str(error)) if plain else reason_of(error)
        advice = "check connections.smtp"
        if "certificate" in reason:
            advice = "set connections.smtp.ca_file, or on this machine starttls: off"
        return Unavailable(f"{self._where} cannot be used ({reason}); {advice}")

    async def close(self) -> None:
        """Do nothing: no connection outlives its mail."""


def _warn(text: str, **more: object) -> None:
    import structlog  # imported late: it takes a tenth of a second, and `check` warns of nothing

    structlog.get_logger(__name__).warning(text, **more)


def _is_final(code: int) -> bool:
    return 500 <= code < 600 and code not in _RIGHTS


def _said(code: int, text: str) -> str:
    return cut(tidy(f"{code} {text}"), 200)
