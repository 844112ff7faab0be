"""A certificate for this machine, by OpenSSL."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from archive import run

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"


@dataclass(frozen=True)
class Certificate:
    """For localhost and the loopback addresses; its own authority."""

    chain: Path
    key: Path

    @staticmethod
    def make(folder: Path, *more: str) -> Certificate:
        """`more` goes to OpenSSL: our program takes none of an authority for a server's."""
        made = Certificate(folder / "tls.crt", folder / "tls.key")
        run([
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
            "-subj", "/CN=localhost", "-addext", NAMES, *more, "-keyout", made.key, "-out", made.chain,
        ])  # fmt: skip
        return made

    def for_clients(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.chain))

    def for_servers(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context
