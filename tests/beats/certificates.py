"""Certificates of authorities of the tests' own."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

import trustme


class Pair(NamedTuple):
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Certificates:
    """An authority, a server's certificate for `localhost`, and a client's."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._stranger = trustme.CA()
        self.folder = folder
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))
        self.server = self._pair("server", self._authority)
        self.client = self._pair("client", self._authority)
        self.stranger = self._pair("stranger", self._stranger)

    def _pair(self, name: str, authority: trustme.CA) -> Pair:
        issued = authority.issue_cert("localhost", "127.0.0.1")
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        issued.private_key_pem.write_to_path(str(pair.key))
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(str(pair.certificate), append=number > 0)
        return pair

    def trusting(self, shown: Pair | None = None) -> ssl.SSLContext:
        """Make a client's context that trusts the authority, and shows a certificate if told to."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if shown is not None:
            context.load_cert_chain(shown.certificate, shown.key)
        return context
