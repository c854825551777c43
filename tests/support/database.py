"""Databases for tests: fresh, named actiond_test_*, dropped afterwards; and how to wait for something.

It promises to create and drop no database of another name, so that ACTIOND_DSN may point at a server where
other things live. A test run that is killed leaves its databases on such a server, and nothing on its own one.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import anyio
import asyncpg

from actiond.host.private_postgres import PrivatePostgres, binaries_in
from actiond.testing.databases import memory

T = TypeVar("T")
PREFIX = "actiond_test_"
#: How long a test waits for a state, unless it says otherwise. Long: a slow machine is no failure. Those who expect to
#: wait in vain (the mutants) say less.
PATIENCE_S = float(os.environ.get("ACTIOND_TEST_PATIENCE_S", "90"))


@dataclass(frozen=True, slots=True)
class Database:
    dsn: str
    name: str

    async def connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.dsn)


@dataclass(frozen=True, slots=True)
class Server:
    """A running Postgres on which this test run makes its own databases."""

    admin_dsn: str
    private: PrivatePostgres | None = None
    _numbers: Iterator[int] = field(default_factory=count)

    def named(self, name: str) -> Database:
        database = rf"\g<1>/{quote(name)}"
        return Database(re.sub(r"^(\w+://[^/?]*)(/[^?]*)?", database, self.admin_dsn), name)

    async def create(self, template: str | None = None) -> Database:
        name = f"{PREFIX}{os.getpid()}_{next(self._numbers)}"
        await self._run(f'create database "{name}" template {template or "template0"}')
        return self.named(name)

    async def drop(self, database: Database) -> None:
        assert database.name.startswith(PREFIX)
        await self._run(f'drop database if exists "{database.name}" with (force)')

    @asynccontextmanager
    async def fresh(self, template: str | None = None) -> AsyncIterator[Database]:
        database = await self.create(template)
        try:
            yield database
        finally:
            await self.drop(database)

    @contextmanager
    def kept(self, template: str) -> Iterator[Database]:
        """One database for all tests of a file."""
        database = asyncio.run(self.create(template))
        yield database
        asyncio.run(self.drop(database))

    async def _run(self, command: str) -> None:
        connection = await asyncpg.connect(self.admin_dsn)
        try:
            await connection.execute(command)
        finally:
            await connection.close()


@contextmanager
def running_server() -> Iterator[Server]:
    """The server of ACTIOND_DSN, else a private one from the folder ACTIOND_TEST_PG, else from the first found."""
    if existing := os.environ.get("ACTIOND_DSN"):
        yield Server(existing)
        return
    folder = os.environ.get("ACTIOND_TEST_PG")
    with PrivatePostgres(
        temporary_in=memory(),
        binaries=binaries_in(Path(folder), "ACTIOND_TEST_PG") if folder else None,
        settings={"max_wal_size": "256MB"},
    ) as private:
        yield Server(private.dsn("postgres"), private)


async def eventually(probe: Callable[[], T | Awaitable[T]], *, within_s: float = PATIENCE_S) -> T:
    """Wait until the probe gives something true, and return that. For what announces itself in no other way."""
    value: T | None = None
    with anyio.move_on_after(within_s):
        while True:
            given = probe()
            value = await given if inspect.isawaitable(given) else given
            if value:
                return value
            await anyio.sleep(0.01)
    raise AssertionError(f"still {value!r} after {within_s:g} s")
