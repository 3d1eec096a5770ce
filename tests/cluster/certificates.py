"""What an API server shows, and the authority that its clients trust: files that change while it runs."""

import ssl
from pathlib import Path

from tests.collector.tls import Authority, Tls

__all__ = ["Certificates"]


class Certificates:
    """Its certificate for ``names`` and the authority's, each always in the same file."""

    def __init__(self, directory: Path, *names: str) -> None:
        self._directory = directory
        self._names = names
        self._authorities = 0
        directory.mkdir(parents=True, exist_ok=True)
        self.served = Tls(directory / "served.pem", directory / "served.key")
        self.ca = directory / "ca.crt"
        self.new_authority()

    def new_authority(self) -> None:
        """Change to another authority: what was copied from ``ca`` is stale then."""
        self._authorities += 1
        self._authority = Authority(self._directory / f"authority-{self._authorities}")
        self.ca.write_bytes(self._authority.ca.read_bytes())
        self.issue()

    def issue(self) -> None:
        """Change to another certificate of the same authority."""
        issued = self._authority.server(*self._names)
        issued.key.replace(self.served.key)
        issued.cert.replace(self.served.cert)

    def current(self) -> bytes:
        """Return the certificate to be served, as it is on the wire."""
        return ssl.PEM_cert_to_DER_cert(self.served.cert.read_text())
