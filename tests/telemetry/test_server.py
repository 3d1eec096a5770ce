"""Whoever asks is answered; whoever hangs is let go, and holds nobody up."""

import socket
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from natlens.health import Health
from natlens.telemetry.listen import Place, take
from natlens.telemetry.server import CONNECTIONS, Answer, Server
from tests.delivery.account import eventually
from tests.telemetry.asking import ask

LARGE = b"x" * (8 << 20)  # more than sockets take
LIFE_S = 1.0


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def server(health: Health) -> Iterator[Server]:
    pages = {
        "/page": lambda: Answer(HTTPStatus.OK, b"here\n"),
        "/large": lambda: Answer(HTTPStatus.OK, LARGE),
        "/ill": lambda: Answer(HTTPStatus.SERVICE_UNAVAILABLE, b"why\n"),
    }
    one = Server(take(Place("127.0.0.1", 0)), pages, health, life_s=LIFE_S)
    yield one
    one.close()


def test_get_and_head(server: Server, health: Health) -> None:
    said = ask(server.port, "/page?x=1")
    assert (said.status, said.text, said.headers["Content-Type"]) == (200, "here\n", "text/plain; charset=utf-8")
    said = ask(server.port, "/page", "HEAD")
    assert (said.status, said.text, said.headers["Content-Length"]) == (200, "", "5")
    assert (ask(server.port, "/ill").status, ask(server.port, "/large").text) == (503, LARGE.decode())
    assert health.count("listen_answers", path="/page", code="200") == 2
    assert health.count("listen_answers", path="/ill", code="503") == 1


def test_other_paths_and_methods(server: Server, health: Health) -> None:
    assert ask(server.port, "/").text == "here are /page, /large, /ill\n"
    assert ask(server.port, "/../etc/passwd").status == 404
    for method in ("POST", "PUT", "DELETE", "TRACE", "FROB"):
        said = ask(server.port, "/page", method)
        assert (said.status, said.headers["Allow"]) == (405, "GET, HEAD")
    assert health.count("listen_answers") == 0


@pytest.mark.parametrize(
    "line", [b"\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET /page HTTP/9.9.9\r\n\r\n", b"A" * 70_000]
)
def test_garbage_harms_nobody(server: Server, line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 5) as client:
        client.sendall(line)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
    assert ask(server.port, "/page").status == 200


def hang(port: int, request: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), 5)
    client.sendall(request)
    return client


@pytest.mark.parametrize(
    "request_", [b"", b"GET /page HT", b"GET /large HTTP/1.0\r\n\r\n"], ids=["mute", "half", "deaf"]
)
def test_hanging_client_holds_up_nobody_and_is_let_go(server: Server, health: Health, request_: bytes) -> None:
    with hang(server.port, request_) as client:
        begin = time.monotonic()
        assert ask(server.port, "/page", timeout_s=LIFE_S).status == 200
        assert time.monotonic() - begin < LIFE_S
        eventually(lambda: health.count("listen_refused", reason="slow") == 1, 5 * LIFE_S)
        while client.recv(1 << 20):  # what was underway, then the end
            pass


def test_client_that_drips_is_let_go(server: Server, health: Health) -> None:
    with hang(server.port, b"GET /page HTTP/1.1\r\n") as client:
        over = threading.Event()

        def drip() -> None:
            try:
                while not over.wait(0.05):
                    client.sendall(b"a: b\r\n")
            except OSError:
                over.set()

        threading.Thread(target=drip, daemon=True).start()
        assert over.wait(5 * LIFE_S)
    assert health.count("listen_refused", reason="slow") == 1


def test_too_many_are_sent_away_until_there_is_room(server: Server, health: Health) -> None:
    clients = [hang(server.port) for _ in range(CONNECTIONS)]
    assert ask(server.port, "/page").status == 503
    assert health.count("listen_refused", reason="busy") == 1
    clients.pop().close()
    eventually(lambda: ask(server.port, "/page").status == 200)
    for one in clients:
        one.close()


def test_closing_ends_hanging_connections_at_once(health: Health) -> None:
    server = Server(take(Place("127.0.0.1", 0)), {}, health, life_s=60)
    with hang(server.port) as client:
        eventually(lambda: any(one.name == "natlens-answer" for one in threading.enumerate()))
        begin = time.monotonic()
        server.close()
        assert time.monotonic() - begin < 2
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        ask(server.port, "/page")
    eventually(lambda: not [one for one in threading.enumerate() if one.name in {"natlens-answer", "natlens-listen"}])
