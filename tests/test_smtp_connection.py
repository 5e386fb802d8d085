"""`connections.smtp`: a URL whose password never goes over the network unencrypted, nor into a text."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from pydantic import ValidationError

from enricher import config
from enricher.connections import SmtpConnection
from enricher.document import MISSING
from enricher.model import ConfigError
from enricher.url import is_loopback

MARK = "hunter2marker"


def connection(url: str, **more: object) -> SmtpConnection:
    return SmtpConnection.model_validate({"url": url, **more})


@pytest.mark.parametrize(
    ("url", "address", "credentials", "tls", "starttls"),
    [
        ("smtp://mail:25", "mail:25", None, False, None),
        ("smtp://u:p@mail.example.com:587/", "mail.example.com:587", ("u", "p"), False, None),
        ("smtps://u%40x:p%3A%2F%25@[::1]:465", "[::1]:465", ("u@x", "p:/%"), True, None),
    ],
)
def test_urls(
    url: str, address: str, credentials: object, tls: bool, starttls: bool | None
) -> None:
    made = connection(url)
    options = made.client_options()
    assert (made.address, made.credentials) == (address, credentials)
    assert (options["use_tls"], options["start_tls"]) == (tls, starttls)
    context = options["tls_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert "password" not in options


@pytest.mark.parametrize(
    "url",
    [
        *("mail:25", "http://mail:25", "smtp://mail", "smtp://:25", "smtp://mail:x", "smtp://ma il:25"),
        *("smtp://u@mail:25", f"smtp://:{MARK}@mail:25", f"smtp://u:{MARK}/x@mail:25", "smtp://mail:25/x"),
        *("smtp://mail:25?tls=no", f"smtp://u:{MARK}#@mail:25", "smtp://mail:70000", f"{MARK}"),
    ],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    """The text says how it is written; never what was there."""
    with pytest.raises(ValidationError, match="smtp://user:password@localhost:587") as caught:
        connection(url)
    assert MARK not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        (f"smtp://u:{MARK}@mail.example.com:587", False),
        (f"smtp://u:{MARK}@10.0.0.1:25", False),
        (f"smtp://u:{MARK}@localhost.example.com:25", False),
        (f"smtp://u:{MARK}@localhost:25", True),
        (f"smtp://u:{MARK}@127.0.0.9:25", True),
        (f"smtp://u:{MARK}@[::1]:25", True),
        (f"smtps://u:{MARK}@mail.example.com:465", True),
        ("smtp://mail.example.com:25", True),
    ],
)
def test_starttls_off_is_not_for_passwords(url: str, is_taken: bool) -> None:
    """Unless nobody can read along; found by `check`."""
    if is_taken:
        assert connection(url, starttls="off").client_options()["start_tls"] in (False, None)
        return
    with pytest.raises(ValidationError, match="would send the password for all to read") as caught:
        connection(url, starttls="off")
    assert MARK not in str(caught.value)


def test_secrets_are_shown_nowhere() -> None:
    made = connection(f"smtp://{MARK}:{MARK}@mail:25")
    assert MARK not in f"{made!r} {made} {made.model_dump()} {made.client_options()} {made.address}"


def test_what_is_empty_or_missing() -> None:
    """Empty: there is none. Missing, where that is allowed: nothing will connect."""
    assert connection("").url is None
    made = connection(f"{MISSING}SMTP_URL", ca_file=f"{MISSING}CA", starttls="off")
    made.client_options()
    assert made.credentials is None


def test_certificates_need_not_be_checked_where_that_is_said() -> None:
    context = connection("smtps://mail:465", verify_certificates=False).client_options()[
        "tls_context"
    ]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *[(host, True) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1")],
        *[(host, False) for host in ("", None, "0.0.0.0", "10.0.0.1", "localhost.evil.example", "::2")],
    ],
)  # fmt: skip
def test_which_hosts_are_this_machine(host: str | None, local: bool) -> None:
    assert is_loopback(host) is local


def test_mistakes_in_a_pipeline_file_have_their_line(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "name: p\nstages: [json: {}]\nroutes: [console: {}]\nconnections:\n"
        f"  smtp: {{url: 'smtp://u:{MARK}@mail', starttls: maybe}}\n"
        "alerts:\n  - name: a\n    when: x\n    summary: s\n"
        "    email: {sender: nobody, to: 'a@b, c', subject: '{', template: a/b}\n"
        "    webhook:\n      url: ftp://x\n      headers: {'a b': x}\n"
        "      body: {text: '{$nope}', blocks: [{a: ok, b: '{x'}]}\n"
    )
    with pytest.raises(ConfigError) as caught:
        config.load(file, {})
    lines = [(one.line, one.path) for one in caught.value.problems]
    assert lines == [
        (5, "connections.smtp.url"),
        (5, "connections.smtp.starttls"),
        (10, "alerts[0].email.sender"),
        (10, "alerts[0].email.to[1]"),
        (10, "alerts[0].email.subject"),
        (10, "alerts[0].email.template"),
        (12, "alerts[0].webhook.url"),
        (13, "alerts[0].webhook.headers"),
        (14, "alerts[0].webhook.body.text"),
        (14, "alerts[0].webhook.body.blocks[0].b"),
    ]
    assert MARK not in str(caught.value)
