"""Types of what a pipeline file says: secrets, texts, files, addresses; and TLS from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr

from enricher.document import MISSING
from enricher.model import UserError

if TYPE_CHECKING:
    import ssl

STRICT = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
"""Unknown fields are refused, and an error never repeats a value that may be a secret."""


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def is_url(text: str, schemes: tuple[str, ...], *, needs_port: bool = False) -> bool:
    """Say whether a text can be used; what is wrong is not told, for it may be a secret."""
    if text.startswith(MISSING):
        return True
    if any(map(str.isspace, text)):
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in schemes or "@" in f"{parts.path}{parts.query}{parts.fragment}":
        return False  # an @ there was one of the password, which began before
    has_place = bool(parts.hostname or (parts.scheme == "unix" and parts.path))
    return has_place and (port is not None or not needs_port)


ESCAPES = "in a password write , : / @ ? # % as %2C %3A %2F %40 %3F %23 %25"


Addresses = Annotated[list[str], BeforeValidator(_split), Field(min_length=1)]
Secret = Annotated[SecretStr | None, BeforeValidator(_empty_is_none)]
Text = Annotated[str | None, BeforeValidator(_empty_is_none)]
File = Annotated[Path | None, BeforeValidator(_empty_is_none)]


def reveal(secret: SecretStr | None) -> str | None:
    """Give a secret's text, for the client that needs it and nobody else."""
    return secret.get_secret_value() if secret else None


def tls(
    connection: str, ca_file: Path | None, certificate_file: Path | None, key_file: Path | None
) -> ssl.SSLContext:
    """Load the files of TLS. Raises UserError for an unusable one."""
    import ssl

    files = {"ca_file": ca_file, "certificate_file": certificate_file, "key_file": key_file}
    check_files(connection, files)
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if certificate_file:
            context.load_cert_chain(certificate_file, key_file)
    except ssl.SSLError as error:
        reason = error.reason or "not PEM"
        raise UserError(f"connections.{connection}: a TLS file cannot be used: {reason}") from None
    return context


def check_files(connection: str, files: dict[str, Path | None]) -> None:
    """Raise UserError for a file that cannot be read."""
    for name, file in files.items():
        try:
            if file:
                file.open("rb").close()
        except OSError as error:
            where = f"connections.{connection}.{name}"
            raise UserError(f"{where}: {file} cannot be read: {error.strerror}") from None
