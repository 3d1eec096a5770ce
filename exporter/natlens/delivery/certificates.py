"""The files of TLS, checked before anything is attached: a typo is not found hours later, by the first export."""

from pathlib import Path
from typing import NamedTuple

from natlens.delivery.variables import Given
from natlens.errors import ConfigError

__all__ = ["NO_CERTIFICATES", "Certificates", "checked_certificates"]


class Certificates(NamedTuple):
    """Paths of PEM files; empty ones are not set."""

    ca: str = ""
    """Trusted instead of the system's."""
    client: str = ""
    client_key: str = ""


NO_CERTIFICATES = Certificates()


def checked_certificates(ca: Given, client: Given, client_key: Given, *, secure: bool) -> Certificates:
    """Return the files' paths; raises :class:`~natlens.errors.ConfigError` for what cannot be used together.

    ssl is imported only where there is a file to check: 6 MiB.
    """
    given = [one for one in (ca, client, client_key) if one.value]
    if given and not secure:
        key, value = given[0]
        raise ConfigError(f"{key}={value!r} is for TLS, and the endpoint is not https: write https://, or leave it out")
    if bool(client.value) != bool(client_key.value):
        there, missing = (client, client_key) if client.value else (client_key, client)
        raise ConfigError(f"{there.key}={there.value!r} is given without {missing.key}: a client has both")
    for one in given:
        _readable(one)
    if ca.value:
        _check_ca(ca)
    if client.value:
        _check_pair(client, client_key)
    return Certificates(ca.value, client.value, client_key.value)


def _readable(given: Given) -> None:
    try:
        with Path(given.value).open("rb") as file:
            file.read(1)
    except OSError as error:
        why = error.strerror
    except ValueError as error:  # a NUL in the path
        why = str(error)
    else:
        return
    raise ConfigError(f"{given.key}={given.value!r} cannot be read: {why}; check the path and its mode")


def _check_ca(given: Given) -> None:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=given.value)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise ConfigError(f"{given.key}={given.value!r} holds no certificates in PEM format") from error


def _check_pair(client: Given, client_key: Given) -> None:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(client.value, client_key.value, password=_refuse_password)
    except _EncryptedKeyError as error:
        raise ConfigError(f"{client_key.key}={client_key.value!r} is encrypted: natlens has no password") from error
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            why = f"is not the key of {client.key}={client.value!r}"
        else:
            why = f"or {client.key}={client.value!r} is not in PEM format"
        raise ConfigError(f"{client_key.key}={client_key.value!r} {why}") from error


class _EncryptedKeyError(Exception):
    """OpenSSL asks for a password."""


def _refuse_password() -> str:
    raise _EncryptedKeyError
