"""What TLS clients are made of: authorities, certificates, and errors that name the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from enricher.document import MISSING
from enricher.model import UserError

if TYPE_CHECKING:
    import ssl


def tls_context(
    where: str,
    ca_file: Path | None,
    certificate_file: Path | None = None,
    key_file: Path | None = None,
    *,
    verify: bool = True,
) -> ssl.SSLContext:
    """Build what a client checks a server's certificate with, and shows its own.

    Args:
        where: the block that names the files, for errors.
        ca_file: authorities to trust; the system's where there is none.
        certificate_file: the client's own, for mutual TLS.
        key_file: of that certificate, where it is not in it.
        verify: `False` trusts any certificate.

    Raises:
        UserError: a file cannot be used.
    """
    import ssl  # imported late: only some connections need it

    files = {"ca_file": ca_file, "certificate_file": certificate_file, "key_file": key_file}
    if any(str(file).startswith(MISSING) for file in files.values()):
        ca_file = certificate_file = None  # `check --allow-missing-env`: nothing will connect
    else:
        check_files(where, files)
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if certificate_file:
            context.load_cert_chain(certificate_file, key_file)
    except ssl.SSLError as error:
        reason = error.reason or "not PEM"
        raise UserError(f"{where}: a TLS file cannot be used: {reason}") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def check_files(where: str, files: dict[str, Path | None]) -> None:
    """See whether files can be read. Raises UserError that names the first that cannot."""
    for name, file in files.items():
        try:
            if file:
                file.open("rb").close()
        except OSError as error:
            raise UserError(f"{where}.{name}: {file} cannot be read: {error.strerror}") from None
