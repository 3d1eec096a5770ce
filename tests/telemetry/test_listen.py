"""What ``listen`` may say, and what is said where nothing can listen there."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natlens.errors import ConfigError
from natlens.telemetry.listen import Place, parse_listen, take

WAYS = "write for example :9464, 127.0.0.1:9464 or [::1]:9464"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (":9464", Place("", 9464)),
        ("127.0.0.1:9464", Place("127.0.0.1", 9464)),
        ("0.0.0.0:80", Place("0.0.0.0", 80)),  # noqa: S104  # only read
        ("[::1]:1", Place("::1", 1)),
        ("localhost:65535", Place("127.0.0.1", 65535)),
        (" :9464 ", Place("", 9464)),
    ],
)
def test_address_and_port(text: str, place: Place) -> None:
    assert parse_listen(text) == place


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("9464", "is not an address and a port"),
        ("http://127.0.0.1:9464", "is not an address and a port"),
        ("::1:9464", "is not an address and a port"),
        (":metrics", "is not an address and a port"),
        (":٣", "is not an address and a port"),
        (":0", "a port is a number from 1 to 65535"),
        (":65536", "a port is a number from 1 to 65535"),
        ("node-1:9464", "'node-1' is no address of this host"),
        ("[]:9464", "'' is no address of this host"),
        ("[127.0.0.1]:9464", "'127.0.0.1' is no address of this host"),
        ("300.0.0.1:9464", "'300.0.0.1' is no address of this host"),
    ],
)
def test_mistakes_name_the_value_and_the_way_out(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_listen(text)
    assert str(caught.value).startswith(f"listen={text!r}")
    assert words in str(caught.value)
    assert str(caught.value).endswith(WAYS)


@given(st.text(max_size=30))
def test_any_text_is_a_place_or_a_mistake(text: str) -> None:
    try:
        place = parse_listen(text)
    except ConfigError:
        return
    assert 0 < place.port < 65536
    assert not place.address or ":" in place.address or place.address.count(".") == 3


def test_port_in_use_is_named() -> None:
    with take(Place("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"listen: port {port} is in use by another program"):
            take(Place("127.0.0.1", port))


def test_address_of_another_host_is_named() -> None:
    with pytest.raises(ConfigError, match=r"listen: this host does not have the address 192\.0\.2\.1"):
        take(Place("192.0.2.1", 9464))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_every_address_means_both_families(address: str) -> None:
    with take(Place("", 0)) as listener, socket.create_connection((address, listener.getsockname()[1]), 5) as client:
        assert client.getpeername()[0] == address
