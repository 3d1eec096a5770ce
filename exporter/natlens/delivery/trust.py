"""Where this system keeps the certificates it trusts.

libcurl comes with pycurl's wheel, built on another distribution: its own idea of the place is wrong on
most. Asking Python's ssl would import OpenSSL a second time.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["system_trust"]

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch, Gentoo, distroless
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL and their kin
    "/etc/pki/tls/certs/ca-bundle.crt",  # the same, older
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # BSDs, Alpine without ca-certificates
)


def system_trust(
    environ: Mapping[str, str], exists: Callable[[str], bool] = lambda path: Path(path).exists()
) -> tuple[str, str]:
    """Return a file and a directory of trusted certificates, either may be empty: not known.

    OpenSSL's variables SSL_CERT_FILE and SSL_CERT_DIR win, each alone too.
    """
    file, directory = environ.get("SSL_CERT_FILE", ""), environ.get("SSL_CERT_DIR", "")
    if file or directory:
        return file, directory
    return next(filter(exists, BUNDLES), ""), ""
