"""Make a mail of a digest: headers that no event can break out of, text and HTML."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from enricher.alerts.digest import Digest
from enricher.alerts.identity import name_of, short_hash
from enricher.alerts.text import Style, View, compile_text, cut, more, tidy

MOST_SUBJECT = 200
"""Characters of a subject, before the "(and 942 more)"."""
_POLICY = policy.SMTP.clone(cte_type="7bit")
"""Any server takes 7 bits, in lines of 76 characters."""
_SUBJECT = Style(str, most=MOST_SUBJECT)
Body = Callable[[Digest], str]


def composer(
    sender: Address,
    to: tuple[Address, ...],
    subject: str,
    bodies: tuple[Body, Body],
    pipeline: str,
) -> Callable[[Digest], EmailMessage]:
    """Build the function that makes a mail; the bodies are of text and of HTML.

    A digest's Message-ID is always the same: where it is not known whether a mail was taken, it
    is sent again, and servers can tell. Those of one alert on one day are a thread.
    """
    write_text, write_html = bodies
    write_subject = compile_text(subject, _SUBJECT)
    place = sender.domain[-48:].strip("-.")  # a longer id would be folded, that is encoded

    def compose(digest: Digest) -> EmailMessage:
        last = datetime.fromtimestamp(digest.last_at, UTC)
        day = datetime.fromtimestamp(digest.first_at, UTC).date().isoformat()
        thread = f"<{short_hash(pipeline, digest.alert, day)}@{place}>"
        title = _on_one_line(write_subject(View(digest, digest.shown[0], 0, pipeline)))
        rest = more(digest.count - 1)
        message = EmailMessage(policy=_POLICY)
        message["From"] = sender
        message["To"] = to
        message["Subject"] = f"{title} ({rest})" if rest else title
        message["Date"] = format_datetime(last)
        message["Message-ID"] = f"<{name_of(pipeline, digest)}@{place}>"
        message["In-Reply-To"] = message["References"] = thread
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(write_text(digest))
        message.add_alternative(write_html(digest), subtype="html")
        return message

    return compose


def _on_one_line(text: str) -> str:
    """Make a text fit for a header.

    `EmailMessage` decodes `=?utf-8?q?=0D=0ABcc:…?=` as it is put in, and then writes the line
    break that was hidden there: so an encoded word must not begin in what an event holds.
    """
    return cut(tidy(text).replace("=?", "= ?").strip(), MOST_SUBJECT) or "–"
