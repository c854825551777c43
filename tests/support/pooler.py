"""A pooler in transaction mode: a client has a connection of the server only while it is in a transaction.

Just enough of the protocol to be one: each client logs in on a connection of its own, which then belongs to all;
whoever asks next gets the one that rested longest. What the server says to nobody is lost, as notifications are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from support.proxy import running_proxy

_IDLE = b"Z\0\0\0\x05I"
_CHUNK = 65536

Server = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Pooler:
    """Use `running_pooler`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._resting: deque[Server] = deque()
        self._all: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, to its end."""
        server: Server | None = await self._connect()
        with suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                if server is None:
                    server = self._resting.popleft()
                    await _drop_what_was_said_to_nobody(server[0])
                server[1].write(chunk)
                server = await self._answers(server, reader, writer)
        writer.close()

    async def _answers(
        self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Server | None:
        """Pass on what the server says until it waits for more; None once the transaction is over."""
        said = b""
        while True:
            try:
                chunk = await asyncio.wait_for(server[0].read(_CHUNK), 0.05)
            except TimeoutError:
                return server  # in the middle of something: the client goes on
            writer.write(chunk)
            await writer.drain()
            said = (said + chunk)[-len(_IDLE) :]
            if said == _IDLE:
                self._resting.append(server)
                return None
            if not chunk:
                raise ConnectionResetError

    async def _connect(self) -> Server:
        server = await asyncio.open_connection("127.0.0.1", self._port)
        self._all.append(server[1])
        return server

    def close(self) -> None:
        for writer in self._all:
            writer.transport.abort()


async def _drop_what_was_said_to_nobody(reader: asyncio.StreamReader) -> None:
    with suppress(TimeoutError):
        while True:
            await asyncio.wait_for(reader.read(_CHUNK), 0.02)


@asynccontextmanager
async def running_pooler(dsn: str) -> AsyncIterator[str]:
    """The DSN of the same database through a pooler in transaction mode."""
    async with running_proxy(dsn) as proxy:
        port = int(proxy.dsn.partition("127.0.0.1:")[2].partition("/")[0])
        pooler = Pooler(port)
        listener = await asyncio.start_server(pooler.serve, "127.0.0.1", 0)
        own = listener.sockets[0].getsockname()[1]
        try:
            yield proxy.dsn.replace(f":{port}/", f":{own}/")
        finally:
            listener.close()
            pooler.close()
