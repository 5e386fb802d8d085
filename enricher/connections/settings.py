"""Types of what a pipeline file says: secrets, texts, files, addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr

STRICT = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
"""Unknown fields are refused, and an error never repeats a value that may be a secret."""


def split(value: object) -> object:
    """Take a text apart at its commas."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def empty_is_none(value: object) -> object:
    """Take an empty text, such as a variable that is not set gives, for nothing at all."""
    return None if value == "" else value


def _check_token(secret: SecretStr | None) -> SecretStr | None:
    text = reveal(secret) or ""
    if not (text.isascii() and text.isprintable()):
        raise ValueError("a token is one line of printable ASCII")
    return secret


Addresses = Annotated[list[str], BeforeValidator(split), Field(min_length=1)]
Secret = Annotated[SecretStr | None, BeforeValidator(empty_is_none)]
Token = Annotated[Secret, AfterValidator(_check_token)]
"""A secret that goes into a header."""
Text = Annotated[str | None, BeforeValidator(empty_is_none)]
File = Annotated[Path | None, BeforeValidator(empty_is_none)]


def reveal(secret: SecretStr | None) -> str | None:
    """Give a secret's text, for the client that needs it and nobody else."""
    return secret.get_secret_value() if secret else None
