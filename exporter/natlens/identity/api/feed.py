"""Bytes as they arrive, read in the pieces that a format has; and protobuf's own framing of fields."""

from collections.abc import Iterator

from natlens.identity.api.failure import Failure

__all__ = ["BYTES", "Feed"]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types of protobuf."""


class Feed:
    """Raises :class:`Failure` ``truncated`` where the stream ends within what is read, ``garbage`` for no protobuf."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""
        self._at = 0
        self._before = 0

    @property
    def position(self) -> int:
        """Return how many bytes were read."""
        return self._before + self._at

    def ended(self) -> bool:
        """Return whether there is no more; waits for the next chunk if need be."""
        return self._at == len(self._buffer) and not self._more()

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        end = self._at + size
        if end > len(self._buffer):
            return b"".join(self._parts(size))
        piece = self._buffer[self._at : end]
        self._at = end
        return piece

    def skip(self, size: int) -> None:
        """Read past the next ``size`` bytes without keeping them."""
        for _ in self._parts(size):
            pass

    def line(self, most: int) -> bytes:
        """Return what comes up to the end of the line, or of the stream; ``garbage`` where that is more than most."""
        parts, size = [], 0
        while not self.ended():
            end = self._buffer.find(b"\n", self._at) + 1
            parts.append(self._buffer[self._at : end or len(self._buffer)])
            self._at += len(parts[-1])
            size += len(parts[-1])
            if size > most:
                raise Failure("garbage", f"an event of more than {most} bytes")
            if end:
                break
        return b"".join(parts)

    def varint(self) -> int:
        """Return a number in protobuf's base 128."""
        number = shift = 0
        while shift < 64:
            byte = self.read(1)[0]
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
        raise Failure("garbage", "the answer is no protobuf: a number of more than 64 bits")

    def field(self) -> tuple[int, int]:
        """Return number and wire type of the next field."""
        tag = self.varint()
        return tag >> 3, tag & 7

    def skip_field(self, wire: int) -> None:
        """Read past the value of a field."""
        match wire:
            case 0:
                self.varint()
            case 1 | 5:
                self.skip(8 if wire == FIXED64 else 4)
            case 2:
                self.skip(self.varint())
            case _:
                raise Failure("garbage", f"the answer is no protobuf: wire type {wire}")

    def _parts(self, size: int) -> Iterator[bytes]:
        while size:
            if self.ended():
                raise Failure("truncated", f"the answer ended {size} bytes too early")
            piece = self._buffer[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece

    def _more(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._before += len(self._buffer)
                self._buffer, self._at = chunk, 0
                return True
        return False
