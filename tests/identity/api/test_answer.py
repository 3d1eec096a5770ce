import gzip
from collections.abc import Callable, Iterator

import pytest
import urllib3

from natlens.identity.api.answer import Answer, failure_of
from natlens.identity.api.failure import Failure


class Body(urllib3.HTTPResponse):
    """A response whose body is bytes that came already."""

    def __init__(self, body: bytes, encoding: str = "gzip") -> None:
        super().__init__(headers={"content-encoding": encoding})
        self._left = body

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        assert decode_content is False
        piece, self._left = self._left[:amt], self._left[amt or 0 :]
        return piece


def chunks(body: bytes, count: Callable[[int], None] = lambda _: None, encoding: str = "gzip") -> Iterator[bytes]:
    return Answer(Body(body, encoding), count, failure_of).chunks()


def test_gzip_is_undone_in_bounded_pieces_and_counted_as_it_came() -> None:
    octets: list[int] = []
    bomb = gzip.compress(bytes(64 << 20))
    sizes = [len(piece) for piece in chunks(bomb, octets.append)]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= 1 << 20
    assert sum(octets) == len(bomb)


@pytest.mark.parametrize("cut", [0, 5, 30, -1])
def test_gzip_that_ends_early_is_truncated(cut: int) -> None:
    with pytest.raises(Failure) as failed:
        list(chunks(gzip.compress(b"k8s" * 1000)[:cut]))
    assert failed.value.code == "truncated"


@pytest.mark.parametrize(("body", "encoding"), [(b"no gzip at all", "gzip"), (b"", "br")])
def test_what_was_not_asked_for_is_garbage(body: bytes, encoding: str) -> None:
    with pytest.raises(Failure) as failed:
        list(chunks(body, encoding=encoding))
    assert failed.value.code == "garbage"


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("", None), ("soon", None), ("-1", None), ("1e9", None), ("9999999", None)]
)
def test_retry_after_is_in_seconds_or_nothing(value: str, seconds: float | None) -> None:
    response = urllib3.HTTPResponse(status=429, headers={"retry-after": value})
    assert Answer(response, lambda _: None, failure_of).retry_after_s == seconds
