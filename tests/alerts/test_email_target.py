"""What is said of mails in a pipeline file: addresses, templates; mistakes are found while building."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from enricher.connections import SmtpConnection
from enricher.model import ConfigError, UserError

from .digests import digest
from .test_mail import TEMPLATES, parsed, target


def test_a_missing_or_broken_template_is_found_while_building(tmp_path: Path) -> None:
    """All mistakes of both files at once."""
    (tmp_path / "alerts").mkdir()
    (tmp_path / "alerts" / "a.html").write_text("<style>p {}</style>\n{$each}\n{$nope}\n{$end}")
    with pytest.raises(ConfigError) as caught:
        target(template="a").build(None, tmp_path, "p")
    folder = tmp_path / "alerts"
    assert str(caught.value).splitlines() == [
        f"{folder}/a.txt: cannot be read: No such file or directory",
        f"{folder}/a.html:1:1: a field path must not be empty",
        (
            f'{folder}/a.html:3:1: unknown value "{{$nope}}" (there are alert, summary, at, count, more, '
            "first, last, when, pipeline, now, hostname, version, fields)"
        ),
    ]
    with pytest.raises(ValueError, match="template needs `templates:`"):
        target(template="a").build(None, None, "p")
    target(template=None).build(None, None, "p")


def test_a_tls_file_is_opened_while_building(tmp_path: Path) -> None:
    given = {"url": "smtps://mail.example.com:465", "ca_file": tmp_path / "away.pem"}
    connection = SmtpConnection.model_validate(given)
    with pytest.raises(UserError, match=r"connections\.smtp\.ca_file: .*away\.pem cannot be read"):
        target().build(connection, TEMPLATES, "p")
    (tmp_path / "away.pem").write_text("no certificate")
    with pytest.raises(UserError, match="connections.smtp: a TLS file cannot be used"):
        target().build(connection, TEMPLATES, "p")


@pytest.mark.parametrize(
    "address",
    [
        *("", "a", "a@", "@b", "a b@c", "a@b c", "a@b\r\nBcc: c@d", "a@b\nc", "a@b,c@d", "a@@b"),
        *("<a@b", "a@b>", "a..b@c", ".a@b", "a.@b", "a@-b", "a@b-", "a@b.", "é@b", "a@é", '"a b"@c'),
        *('Name "x" <a@b>', "N\n <a@b>", "N <a@b> <c@d>", "a@[127.0.0.1]", f"{'a' * 65}@b", "a@b;c@d"),
        f"a@{'b' * 181}",
    ],
)  # fmt: skip
def test_what_is_no_address(address: str) -> None:
    """Neither as sender nor as one of those who get it."""
    for field, value in (("sender", address), ("to", [address]), ("to", ["a@b", address])):
        with pytest.raises(ValidationError, match="is no mail address"):
            target(**{field: value})


def test_addresses() -> None:
    """A text with commas is a list; who stands there twice gets one mail."""
    made = target(to=" a@b , Ops Team <ops+x@example.co.in>,a@b", sender="रात्रि दल <o'n_1@x-y.z>")
    assert made.to == ["a@b", "Ops Team <ops+x@example.co.in>", "a@b"]
    message = parsed(made.build(None, TEMPLATES, "p")._compose(digest()).encode())
    assert [str(one) for one in message["To"].addresses] == ["a@b", "Ops Team <ops+x@example.co.in>"]  # fmt: skip
    assert message["From"].addresses[0].display_name == "रात्रि दल"
    with pytest.raises(ValidationError):
        target(to=[])
    with pytest.raises(ValidationError):
        target(template="../../etc/passwd")
