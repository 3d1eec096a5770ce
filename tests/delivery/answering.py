"""A server without manners: says the same to whoever connects."""

import socket
import threading
from contextlib import suppress
from typing import Self

__all__ = ["Answering"]


class Answering:
    """A context manager: a server that says the same to whoever connects, and remembers what that began with."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.asked: list[bytes] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, suppress(ConnectionError):
                self.asked.append(connection.recv(1 << 16))
                connection.sendall(self._answer)
