"""The relay that breaks connections: what passes, what does not, and how it looks from both sides."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import grpc
import pytest

from tests.collector.samples import request
from tests.delivery.account import eventually
from tests.delivery.clients import connect, export, post
from tests.delivery.relay import Relay
from tests.delivery.server import Receiver

REQUEST = request()
BODY = REQUEST.SerializeToString()
Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def relay(listener: socket.socket) -> Iterator[Relay]:
    with Relay(*listener.getsockname()) as relay:
        yield relay


@pytest.fixture
def ends(relay: Relay, listener: socket.socket) -> Iterator[Ends]:
    with socket.create_connection(("127.0.0.1", relay.port), 5) as client:
        server, _ = listener.accept()
        eventually(lambda: relay.connections == 1)
        with server:
            server.settimeout(5)
            yield client, server


def read(end: socket.socket) -> tuple[bytes, bool]:
    """Return what comes until the end, and whether that is a reset."""
    data = b""
    try:
        while piece := end.recv(1 << 20):
            data += piece
    except ConnectionResetError:
        return data, True
    return data, False


def test_what_both_sides_say_passes(relay: Relay, ends: Ends) -> None:
    client, server = ends
    client.sendall(bytes(100_000))
    client.shutdown(socket.SHUT_WR)
    assert read(server) == (bytes(100_000), False)
    server.sendall(b"answer")
    server.close()
    assert read(client) == (b"answer", False)
    assert relay.connections == 1


@pytest.mark.parametrize("n_bytes", [1, 70_000, 150_000])
def test_a_cut_comes_behind_so_many_bytes_and_both_sides_see_a_reset(relay: Relay, ends: Ends, n_bytes: int) -> None:
    client, server = ends
    server.sendall(b"not counted")
    assert client.recv(100) == b"not counted"
    relay.cut_after(n_bytes)
    client.sendall(bytes(200_000))
    data, reset = read(server)
    assert (len(data), reset) == (n_bytes, True)
    assert read(client) == (b"", True)


def test_a_cut_after_nothing_swallows_what_comes_next(relay: Relay, ends: Ends) -> None:
    client, server = ends
    client.sendall(b"before")
    assert server.recv(100) == b"before"
    relay.cut_after(0)
    client.sendall(b"after")
    assert (read(server), read(client)) == ((b"", True), (b"", True))


def test_every_connection_is_reset_when_told(relay: Relay, ends: Ends) -> None:
    relay.reset()
    assert [read(end) for end in ends] == [(b"", True)] * 2


def test_a_reset_of_one_side_reaches_the_other(relay: Relay, ends: Ends) -> None:
    client, server = ends
    client.sendall(b"never read")
    eventually(lambda: bool(server.recv(1, socket.MSG_PEEK)))
    server.close()  # with data unread: the kernel sends a reset
    assert read(client) == (b"", True)
    assert relay.connections == 1


def test_a_target_that_refuses_is_a_reset(relay: Relay, listener: socket.socket) -> None:
    listener.close()
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", relay.port), 5) as client:
        client.recv(1)


def test_it_refuses_and_accepts_while_what_is_there_stays(relay: Relay, ends: Ends) -> None:
    client, server = ends
    relay.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", relay.port))
    client.sendall(b"still here")
    assert server.recv(100) == b"still here"
    relay.accept()
    socket.create_connection(("127.0.0.1", relay.port)).close()
    eventually(lambda: relay.connections == 2)


def test_data_is_held_back_either_way(relay: Relay, ends: Ends) -> None:
    relay.delay = 0.1
    started = time.monotonic()
    for sender, receiver in (ends, ends[::-1]):
        sender.sendall(b"slow")
        assert receiver.recv(100) == b"slow"
    assert time.monotonic() - started >= 0.2


def test_a_delay_does_not_hold_up_leaving(listener: socket.socket) -> None:
    started = time.monotonic()
    with Relay(*listener.getsockname()) as relay, socket.create_connection(("127.0.0.1", relay.port)) as client:
        relay.delay = 60
        client.sendall(b"never")
        eventually(lambda: relay.connections == 1)
    assert time.monotonic() - started < 5


def test_a_cut_over_grpc_is_a_failure_and_the_next_attempt_comes_through() -> None:
    with Receiver() as receiver, Relay("127.0.0.1", receiver.port) as relay:
        relay.cut_after(len(BODY))  # headers come before it, so that is in the middle of the body
        with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
            export(relay.url, REQUEST)
        export(relay.url, REQUEST)
    assert (receiver.attempts, relay.connections) == ([BODY], 2)


def test_a_cut_over_http_is_a_failure_and_the_next_attempt_comes_through() -> None:
    with Receiver(transport="http") as receiver, Relay("127.0.0.1", receiver.port) as relay:
        relay.cut_after(len(BODY))
        with closing(connect(relay.url)) as connection:
            with pytest.raises(ConnectionResetError):
                post(connection, BODY)
            connection.close()
            assert post(connection, BODY).status == 200
    assert (receiver.attempts, relay.connections) == ([BODY], 2)
