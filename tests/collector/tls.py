"""A certificate authority that lives as long as a test."""

from dataclasses import dataclass
from pathlib import Path

import trustme

__all__ = ["Authority", "ClientTls", "Tls"]


@dataclass(frozen=True)
class Tls:
    """What a server shows; with ``client_ca`` it asks its clients for a certificate of that authority (mutual TLS)."""

    cert: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True)
class ClientTls:
    """What a client trusts, and the certificate that it shows if it is asked."""

    ca: Path
    cert: Path | None = None
    key: Path | None = None


class Authority:
    """Issues certificates, as PEM files in ``directory``.

    Nobody who trusts one authority trusts another: a second one is the foreign one of a test.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._authority = trustme.CA()
        self._issued = 0
        self.ca = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))

    def server(self, *names: str, mutual: bool = False) -> Tls:
        """Return a server's certificate for ``names``; for the loopback if none is given."""
        cert, key = self._issue("server", names or ("127.0.0.1", "localhost"))
        return Tls(cert, key, self.ca if mutual else None)

    def client(self) -> ClientTls:
        """Return a client's certificate, and this authority to trust."""
        return ClientTls(self.ca, *self._issue("client", ("natlens.test",)))

    def _issue(self, role: str, names: tuple[str, ...]) -> tuple[Path, Path]:
        issued = self._authority.issue_cert(*names)
        self._issued += 1
        cert, key = (self._directory / f"{role}-{self._issued}.{kind}" for kind in ("pem", "key"))
        key.touch(mode=0o600)
        issued.private_key_pem.write_to_path(str(key))
        cert.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        return cert, key
