"""The two ways from a daemon to the imagined server: the pool that it works with, and the session of its presence."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import Any

import asyncpg

from actiond.postgres.connection import COMMAND_S
from simulation.loop import PART
from simulation.rows import Record
from simulation.server import STALE_S, Server, lost


class Pool:
    """Connections of one process: each question may have another."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.gone = False  # its process has died: nothing more comes from it

    async def fetch(self, name: str, *arguments: Any) -> list[Record]:
        server = self._server
        if self.gone:
            raise lost()
        return await server.ask(lambda: server.run(None, name, arguments), COMMAND_S, lambda: True)

    async def fetchval(self, name: str, *arguments: Any) -> Any:
        rows = await self.fetch(name, *arguments)
        return rows[0][0] if rows else None

    async def execute(self, name: str, *arguments: Any) -> None:
        await self.fetch(name, *arguments)


class Session:
    """The one connection of a presence. What it hears it hears in the thread that opened it."""

    def __init__(self, server: Server, context: Context) -> None:
        self.listeners: dict[str, Callable[..., None]] = {}
        self.heard_s = 0.0
        self.hole = False  # nothing arrives any more, and nobody says so
        self.open = True
        self._server = server
        self._context = context
        self.owner = context.get(PART)
        self._ends: list[Callable[..., None]] = []
        self._pid = server.chance.randrange(1 << 20)
        server.sessions.append(self)

    def get_server_pid(self) -> int:
        return self._pid

    def add_termination_listener(self, listener: Callable[..., None]) -> None:
        self._ends.append(listener)

    async def add_listener(self, channel: str, listener: Callable[..., None]) -> None:
        await self.fetchrow("serve")
        self.listeners[channel] = listener

    def hear(self, by: Session | None, channel: str, payload: str) -> None:
        if self.open and not self.hole:
            pid = by.get_server_pid() if by else 0
            self._soon(self.listeners[channel], self, pid, channel, payload)

    async def fetchrow(self, name: str, *arguments: Any, timeout: float = COMMAND_S) -> Record | None:  # noqa: ASYNC109
        if not self.open:
            raise asyncpg.InterfaceError("the connection is closed")
        rows = await self._server.ask(
            lambda: self._server.run(self, name, arguments), timeout, lambda: self.open and not self.hole
        )
        return rows[0] if rows else None

    async def fetchval(self, *asked: Any, **more: Any) -> Any:
        row = await self.fetchrow(*asked, **more)
        return row[0] if row else None

    async def execute(self, *asked: Any) -> None:
        await self.fetchrow(*asked)

    def terminate(self) -> None:
        delay_s = self._server.chance.uniform(0.0, STALE_S) if self.hole else 0.0
        self._server.later(delay_s, self._server.drop, self)
        self.over()

    async def close(self, *, timeout: float) -> None:  # noqa: ASYNC109
        self.terminate()

    def over(self) -> None:
        if self.open:
            self.open = False
            for listener in self._ends:
                self._soon(listener, self)

    def _soon(self, do: Callable[..., None], *arguments: Any) -> None:
        self._server.loop.call_soon(do, *arguments, context=self._context)
