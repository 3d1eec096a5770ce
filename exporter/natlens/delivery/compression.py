"""Compression of requests, by its name in ``OTEL_EXPORTER_OTLP_COMPRESSION``.

The same data gives the same bytes: receivers that drop duplicates know a resend by that.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

__all__ = ["Codec", "Compression", "codec"]

Compression = Literal["none", "gzip", "zstd"]

GZIP_LEVEL = 6
GZIP_WINDOW = 16 + 15  # how zlib is asked for its largest window and gzip's header, whose time it leaves 0
ZSTD_LEVEL = 1


class Codec(NamedTuple):
    """A compression and its reverse, which raises ``ValueError`` for what is not compressed so.

    ``encoding`` is its name in grpc-encoding and content-encoding. Both may be called from any thread.
    """

    encoding: str
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes], bytes]


def codec(name: Compression) -> Codec:
    """Return the codec of that name."""
    match name:
        case "none":
            return Codec("identity", lambda data: data, lambda data: data)
        case "gzip":
            return _gzip()
        case "zstd":
            return _zstd()


def _gzip() -> Codec:
    from zlib_ng import zlib_ng  # a third of zlib's time

    def compress(data: bytes) -> bytes:
        return zlib_ng.compress(data, GZIP_LEVEL, GZIP_WINDOW)

    def decompress(data: bytes) -> bytes:
        try:
            return zlib_ng.decompress(data, GZIP_WINDOW)
        except zlib_ng.error as error:  # type: ignore[misc]  # the stub has an instance for the class
            raise ValueError(str(error)) from error

    return Codec("gzip", compress, decompress)


def _zstd() -> Codec:
    import zstandard  # 2 MiB that gzip does not need

    def compress(data: bytes) -> bytes:
        return zstandard.ZstdCompressor(ZSTD_LEVEL).compress(data)  # not one for all: it is not thread-safe

    def decompress(data: bytes) -> bytes:
        try:
            # As a stream: frames of others need not say how large their content is.
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error

    return Codec("zstd", compress, decompress)
