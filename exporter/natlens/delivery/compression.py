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

LONGEST = 64 << 20
"""Bytes that anything may come to when it is decompressed: what OTLP asks clients to keep to."""


class Codec(NamedTuple):
    """A compression and its reverse, which raises ``ValueError`` for what is not compressed so or over 64 MiB.

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
        stream = zlib_ng.decompressobj(GZIP_WINDOW)
        try:
            found = _bounded(stream.decompress(data, LONGEST + 1))
        except zlib_ng.error as error:  # type: ignore[misc]  # the stub has an instance for the class
            raise ValueError(str(error)) from error
        if not stream.eof:
            raise ValueError("it is cut off")
        return found

    return Codec("gzip", compress, decompress)


def _zstd() -> Codec:
    import zstandard  # 2 MiB that gzip does not need

    def compress(data: bytes) -> bytes:
        return zstandard.ZstdCompressor(ZSTD_LEVEL).compress(data)  # not one for all: it is not thread-safe

    def decompress(data: bytes) -> bytes:
        try:
            # As a stream: frames of others need not say how large their content is, and a few bytes may be gigabytes.
            return _bounded(zstandard.ZstdDecompressor().stream_reader(data).read(LONGEST + 1))
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error

    return Codec("zstd", compress, decompress)


def _bounded(data: bytes) -> bytes:
    if len(data) > LONGEST:
        raise ValueError(f"decompressed it is more than {LONGEST} bytes")
    return data
