"""A mail of a digest: headers that no event can break out of, text and HTML."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email import policy
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import NamedTuple

from enricher.alerts.digest import Digest
from enricher.alerts.identity import name_of, short_hash
from enricher.alerts.text import Style, View, compile_text, cut, more, tidy

MOST_SUBJECT = 200
"""Characters of a subject, before the "(and 942 more)"."""
_POLICY = policy.SMTP.clone(cte_type="7bit")
"""Any server takes 7 bits, in lines of 76 characters."""
_SUBJECT = Style(str, most=MOST_SUBJECT)
Body = Callable[[Digest], str]


class Mail(NamedTuple):
    """What a mail says, and to whom."""

    sender: Address
    to: tuple[Address, ...]
    subject: str
    date: datetime
    id: str
    thread: str
    """Id of a mail that never was, which others answer."""
    text: str
    html: str

    def encode(self) -> bytes:
        """Write it as it is sent. Takes some milliseconds."""
        message = EmailMessage(policy=_POLICY)
        message["From"] = self.sender
        message["To"] = self.to
        message["Date"] = format_datetime(self.date)
        message["Message-ID"] = self.id
        message["In-Reply-To"] = message["References"] = self.thread
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(self.text)
        message.add_alternative(self.html, subtype="html")
        return _subject_line(self.subject) + message.as_bytes()


def _subject_line(subject: str) -> bytes:
    """Write the one header that holds what events say.

    Not by `EmailMessage`, which decodes `=?utf-8?q?=0D=0ABcc:…?=` and then writes the line break
    that was hidden there, and which garbles some texts where it folds them.
    """
    is_plain = subject.isascii() and "=?" not in subject and len(subject) < 68  # on one line
    charset = "us-ascii" if is_plain else "utf-8"
    header = Header(subject, charset, maxlinelen=76, header_name="Subject")
    return b"Subject: %b\r\n" % header.encode(linesep="\r\n").encode("ascii")


def composer(
    sender: Address,
    to: tuple[Address, ...],
    subject: str,
    bodies: tuple[Body, Body],
    pipeline: str,
) -> Callable[[Digest], Mail]:
    """Build the function that makes a mail; the bodies are of text and of HTML.

    A digest's Message-ID is always the same: where it is not known whether a mail was taken, it
    is sent again, and servers can tell. Those of one alert on one day are a thread.
    """
    write_text, write_html = bodies
    write_subject = compile_text(subject, _SUBJECT)
    place = sender.domain[-38:].strip("-.")  # a longer line would be folded, and encoded

    def compose(digest: Digest) -> Mail:
        view = View(digest, digest.shown[0], 0, pipeline)
        title = cut(" ".join(tidy(write_subject(view)).split()), MOST_SUBJECT) or "–"
        rest = more(digest.count - 1)
        day = datetime.fromtimestamp(digest.first_at, UTC).date().isoformat()
        return Mail(
            sender,
            to,
            subject=f"{title} ({rest})" if rest else title,
            date=datetime.fromtimestamp(digest.last_at, UTC),
            id=f"<{name_of(pipeline, digest)}@{place}>",
            thread=f"<{short_hash(pipeline, digest.alert, day)}@{place}>",
            text=write_text(digest),
            html=write_html(digest),
        )

    return compose
