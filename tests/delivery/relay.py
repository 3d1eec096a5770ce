"""A TCP relay on loopback that breaks connections when told: in front of any receiver, the real Collector included."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from tests.collector.ports import free_port

__all__ = ["Relay"]

HOST = "127.0.0.1"
PIECE = 1 << 16
LINGER_0 = struct.pack("ii", 1, 0)  # on, 0 s: closing discards what is unsent and sends RST instead of FIN
CALL_SECONDS = 10.0
POLL_SECONDS = 0.001

Link = tuple[asyncio.StreamWriter, asyncio.StreamWriter]


class Relay:
    """A context manager that forwards to ``target_host:target_port``, from and to the network namespace of its maker.

    ``delay`` (s) holds back every piece of data, either way; it may be changed at any time. ``connections`` counts
    those that clients made, as soon as the target has accepted or refused them. If one side resets a connection, or
    the target refuses it, the other side sees a reset.
    """

    def __init__(self, target_host: str, target_port: int, *, scheme: str = "http") -> None:
        self.port = free_port(HOST)
        self.url = f"{scheme}://{HOST}:{self.port}"
        self.delay = 0.0
        self.connections = 0
        self._target = target_host, target_port
        self._left: int | None = None  # so many bytes of clients until the cut
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def cut_after(self, n_bytes: int) -> None:
        """Forward ``n_bytes`` more of what clients send, then reset that connection, once.

        With 0 the first data that comes causes the reset and goes nowhere. Otherwise the target has all
        ``n_bytes`` to read before it sees the reset; its answer, if it was that fast, may be lost.
        """
        self._call(self._cut_after(n_bytes))

    def refuse(self) -> None:
        """Close the port; connections that are there stay."""
        self._call(self._refuse())

    def accept(self) -> None:
        """Open the same port again."""
        self._call(self._accept())

    def reset(self) -> None:
        """Reset every connection that is there."""
        self._call(self._reset())

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        try:
            self.accept()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._call(self._close())
        self._leave()

    def _leave(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(CALL_SECONDS)

    async def _cut_after(self, n_bytes: int) -> None:
        self._left = n_bytes

    async def _accept(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, HOST, self.port)

    async def _refuse(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _reset(self) -> None:
        for link in self._links:
            _reset(*link)

    async def _close(self) -> None:
        await self._refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: of the one that it makes for a coroutine, asyncio logs a cancellation as an error.
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        finally:
            self.connections += 1
        link = writer, far_writer
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._forward(reader, far_writer, of_client=True))
                both.create_task(self._forward(far_reader, writer, of_client=False))
        except* OSError:
            _reset(*link)
        finally:
            self._links.discard(link)
            for end in link:
                end.transport.abort()  # all was sent: see _forward

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, of_client: bool) -> None:
        writer.transport.set_write_buffer_limits(high=0)  # draining is sending everything
        while data := await reader.read(PIECE):
            await asyncio.sleep(self.delay)
            allowed, last = self._allowed(len(data)) if of_client else (len(data), False)
            writer.write(data[:allowed])
            await writer.drain()
            if last:
                await _delivered(writer)
                raise ConnectionResetError("cut as told")
        writer.write_eof()

    def _allowed(self, count: int) -> tuple[int, bool]:
        """Return how much of ``count`` bytes may pass, and whether the cut comes behind them."""
        if self._left is None:
            return count, False
        allowed = min(self._left, count)
        self._left -= allowed
        if self._left > 0:
            return allowed, False
        self._left = None
        return allowed, True


async def _delivered(writer: asyncio.StreamWriter) -> None:
    """Wait until the other end's kernel has everything: what is only in our socket's buffer, a reset would discard."""
    while fcntl.ioctl(writer.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4)) != bytes(4):
        await asyncio.sleep(POLL_SECONDS)


def _reset(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        connection: socket.socket = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # it is closed already
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        writer.transport.abort()
