"""A proxy in front of Postgres that breaks connections on demand, at the worst of moments.

It understands just enough of the protocol to know which statement a client is about to execute, so that a test
can lose the answer of exactly one, before or after the server did it. Clients connect without TLS to 127.0.0.1;
the server may be on a unix socket or on TCP.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

_CHUNK = 65536
_READY = b"Z\0\0\0\x05"
_STARTUP, _SSL_REQUEST, _GSS_REQUEST = 196608, 80877103, 80877104


class Cut(Exception):
    """This connection ends here."""


@dataclass(slots=True, eq=False)
class Link:
    """One connection of a client, and the one behind it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    unread: bytes = b""  # of the client, up to the next whole message
    greeted: bool = False
    texts: dict[bytes, str] = field(default_factory=dict)  # prepared statements of this connection
    deaf: bool = False  # the server's answer is lost, and then the connection
    name: str = ""  # application_name

    def cut(self) -> None:
        """Reset both sides at once."""
        for writer in (self.client, self.server):
            writer.transport.abort()
        for task in self.tasks:
            if task is not asyncio.current_task():
                task.cancel()


class Proxy:
    """Use `running_proxy`. Switches take effect at once, also on connections that are there."""

    def __init__(self, dsn: str) -> None:
        self._target = dsn
        self._links: list[Link] = []
        self._marker: tuple[str, bool, int] | None = None
        self._bytes_left: int | None = None
        self._hole_to_server = self._hole_to_client = False
        self._ends_arrive = asyncio.Event()
        self._ends_arrive.set()
        self.refusing = False
        self.cuts = 0
        self.executed: Counter[str] = Counter()  # by the text of the statement
        self.round_trips: Counter[str] = Counter()  # by application_name: how often a client asks for an answer
        self.serving: set[asyncio.Task[None] | None] = set()
        self.dsn = ""

    # switches

    def drop_all(self) -> int:
        """Reset every connection; gives how many."""
        links, self._links = self._links, []
        for link in links:
            link.cut()
        self.cuts += len(links)
        return len(links)

    def cut_at(self, statement: str, *, after: bool, times: int = 1) -> None:
        """Cut the next connections that execute a statement with this text: before the server sees it, or after
        the server did it, so that only the answer is lost."""
        self._marker = (statement, after, times)

    def cut_in_bytes(self, count: int) -> None:
        """Cut the connection over which this many bytes from now on, of all connections, have gone to the server."""
        self._bytes_left = count

    def hole(self, *, to_server: bool = True, to_client: bool = True, ends: bool = False) -> None:
        """Swallow what is sent, in silence, for connections old and new; with `ends` also that one side has ended."""
        self._hole_to_server, self._hole_to_client = to_server, to_client
        if ends:
            self._ends_arrive.clear()

    def heal(self) -> None:
        """New connections work again; those that lost bytes in the hole stay silent."""
        for link in self._links:
            link.name += " (silent)"
        self._hole_to_server = self._hole_to_client = False
        self._ends_arrive.set()

    @property
    def armed(self) -> bool:
        """Is a cut still to come?"""
        return self._marker is not None or self._bytes_left is not None

    # the way of the bytes

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, server_writer)
        if self.refusing:  # since a moment ago: drop_all has not seen this one
            link.cut()
            return
        self._links.append(link)
        self.serving.add(task := asyncio.current_task())
        task.add_done_callback(self.serving.discard)
        link.tasks = [
            asyncio.ensure_future(self._to_server(link, reader)),
            asyncio.ensure_future(self._to_client(link, server_reader)),
        ]
        await asyncio.wait(link.tasks, return_when=asyncio.FIRST_COMPLETED)
        await self._ends_arrive.wait()
        link.cut()
        await asyncio.gather(*link.tasks, return_exceptions=True)
        if link in self._links:
            self._links.remove(link)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self._target)
        folder = parse_qs(parts.query).get("host", [""])[0]
        if folder.startswith("/"):
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{parts.port or 5432}")
        return await asyncio.open_connection(parts.hostname or "127.0.0.1", parts.port or 5432)

    async def _to_server(self, link: Link, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError, Cut):
            while chunk := await reader.read(_CHUNK):
                if self._hole_to_server or link.name.endswith("(silent)"):
                    continue
                if self._bytes_left is not None:
                    chunk, ending = chunk[: self._bytes_left], len(chunk) >= self._bytes_left
                    self._bytes_left = None if ending else self._bytes_left - len(chunk)
                    if ending:
                        self.cuts += 1
                        link.server.write(chunk)
                        await link.server.drain()
                        link.server.close()
                        raise Cut
                for message in self._messages(link, chunk):
                    link.server.write(message)
                await link.server.drain()

    def _messages(self, link: Link, chunk: bytes) -> list[bytes]:
        """Whole messages of the client; Cut if the next one is not to arrive."""
        link.unread += chunk
        whole: list[bytes] = []
        while (size := self._size(link)) is not None and len(link.unread) >= size:
            message, link.unread = link.unread[:size], link.unread[size:]
            if not link.greeted:
                self._greeted(link, message)
            elif message[:1] == b"S":
                self.round_trips[link.name] += 1
            elif message[:1] == b"P":
                name, text = message[5:].split(b"\0")[:2]
                link.texts[name] = text.decode()
            elif message[:1] == b"B":
                self._executes(link, link.texts.get(message[5:].split(b"\0")[1], ""))
            elif message[:1] == b"Q":
                self.round_trips[link.name] += 1
                self._executes(link, message[5:-1].decode())
            whole.append(message)
        return whole

    def _executes(self, link: Link, text: str) -> None:
        self.executed[text] += 1
        if self._marker is None or self._marker[0] not in text:
            return
        text, after, times = self._marker
        self._marker = (text, after, times - 1) if times > 1 else None
        self.cuts += 1
        if not after:
            raise Cut
        link.deaf = True

    def _size(self, link: Link) -> int | None:
        start = 1 if link.greeted else 0
        if len(link.unread) < start + 4:
            return None
        return start + int.from_bytes(link.unread[start : start + 4], "big")

    def _greeted(self, link: Link, message: bytes) -> None:
        code = int.from_bytes(message[4:8], "big")
        link.greeted = code not in (_SSL_REQUEST, _GSS_REQUEST)
        if code == _STARTUP and (found := re.search(rb"application_name\0([^\0]*)\0", message)):
            link.name = found.group(1).decode()

    async def _to_client(self, link: Link, reader: asyncio.StreamReader) -> None:
        end = b""
        with suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                if link.deaf:
                    end = (end + chunk)[-6:]
                    if end[:5] == _READY:  # it has committed
                        return
                    continue
                if self._hole_to_client or link.name.endswith("(silent)"):
                    continue
                link.client.write(chunk)
                await link.client.drain()


@asynccontextmanager
async def running_proxy(dsn: str) -> AsyncIterator[Proxy]:
    """A proxy before the server of this DSN; `proxy.dsn` is the same database through it."""
    proxy = Proxy(dsn)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    parts = urlsplit(dsn)
    port = listener.sockets[0].getsockname()[1]
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    login = f"{user or 'postgres'}:{password}" if password else user or "postgres"
    proxy.dsn = f"postgresql://{login}@127.0.0.1:{port}{parts.path}?sslmode=disable"
    try:
        yield proxy
    finally:
        listener.close()
        proxy.heal()
        proxy.drop_all()
        await asyncio.gather(*proxy.serving, return_exceptions=True)
