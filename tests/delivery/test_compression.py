"""Compression of requests."""

import gzip
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from natlens.delivery.compression import Compression, codec

NAMES: tuple[Compression, ...] = ("none", "gzip", "zstd")


@pytest.mark.parametrize("name", NAMES)
@given(data=st.binary(max_size=2000))
def test_what_is_compressed_comes_back(name: Compression, data: bytes) -> None:
    packing = codec(name)
    assert packing.decompress(packing.compress(data)) == data


def test_others_can_read_it() -> None:
    data = b"one record after another " * 1000
    packed = {name: codec(name).compress(data) for name in NAMES}
    assert packed["none"] == data
    assert gzip.decompress(packed["gzip"]) == data
    assert zstandard.ZstdDecompressor().decompress(packed["zstd"]) == data
    assert all(len(packed[name]) < len(data) / 20 for name in ("gzip", "zstd"))


def test_names_are_those_of_the_protocols() -> None:
    assert [codec(name).encoding for name in NAMES] == ["identity", "gzip", "zstd"]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_data_gives_the_same_bytes_at_any_time(name: Compression) -> None:
    data = bytes(range(256)) * 100
    assert codec(name).compress(data) == codec(name).compress(data)
    assert codec("gzip").compress(data)[4:8] == bytes(4)  # gzip's time


@pytest.mark.parametrize("name", NAMES)
def test_two_threads_may_compress(name: Compression) -> None:
    packing, data = codec(name), [bytes([number]) * 50_000 for number in range(64)]
    with ThreadPoolExecutor(4) as pool:
        packed = list(pool.map(packing.compress, data))
    assert [packing.decompress(one) for one in packed] == data


def test_a_frame_of_zstd_that_does_not_say_its_size_is_read() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"data" * 1000)
    assert codec("zstd").decompress(frame) == b"data" * 1000


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_bomb_does_not_go_off(name: Compression) -> None:
    bomb = codec(name).compress(bytes(65 << 20))
    assert len(bomb) < 1 << 20
    with pytest.raises(ValueError, match="more than 67108864 bytes"):
        codec(name).decompress(bomb)
    assert len(codec(name).decompress(codec(name).compress(bytes(64 << 20)))) == 64 << 20


def test_gzip_that_is_cut_off_is_refused() -> None:
    with pytest.raises(ValueError, match="cut off"):
        codec("gzip").decompress(codec("gzip").compress(bytes(5000))[:-3])


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_what_is_not_compressed_is_refused(name: Compression) -> None:
    with pytest.raises(ValueError, match=r"Error|error"):
        codec(name).decompress(b"plain")


def test_zstandard_is_imported_only_where_it_is_asked_for() -> None:
    code = (
        "import sys; from natlens.delivery.compression import codec; codec('gzip'); a = 'zstandard' in sys.modules; "
        "codec('zstd'); sys.exit(a or 'zstandard' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": "exporter"}, check=False).returncode == 0
