"""TLS of a source that listens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, model_validator

from enricher.connections import STRICT, File
from enricher.model import UserError

if TYPE_CHECKING:
    import ssl


class ServerTls(BaseModel):
    """Certificates of a source that listens; without one it speaks plain text.

    Relative paths start at the pipeline file. A renewed certificate counts after a restart.
    """

    model_config = STRICT
    certificate_file: File = Field(
        default=None, description="The server's own, with those that lead to its authority."
    )
    key_file: File = Field(default=None, description="Of that certificate, where not in it.")
    client_ca_file: File = Field(
        default=None,
        description="Authorities of clients: without a certificate of theirs nobody gets in.",
    )

    @model_validator(mode="after")
    def _has_certificate(self) -> ServerTls:
        if self.certificate_file is None and (self.key_file or self.client_ca_file):
            raise ValueError("certificate_file is missing, without which there is no TLS")
        return self

    def context(self, folder: Path) -> ssl.SSLContext | None:
        """Make the context; None without a certificate. Raises UserError for an unusable file."""
        import ssl

        if self.certificate_file is None:
            return None
        for name, file in self:
            try:
                if file:
                    (folder / file).open("rb").close()
            except OSError as error:
                reason = f"{file} cannot be read: {error.strerror}"
                raise UserError(f"tls.{name}: {reason}; correct the path") from None
        key = folder / self.key_file if self.key_file else None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            # A password would be asked for on the terminal, and is none here.
            context.load_cert_chain(folder / self.certificate_file, key, password="")
            if self.client_ca_file:
                context.load_verify_locations(folder / self.client_ca_file)
                context.verify_mode = ssl.CERT_REQUIRED
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or "not PEM, or needs a password"
            raise UserError(f"tls: a file cannot be used: {reason}; they are PEM") from None
        return context
