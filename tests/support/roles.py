"""A database with the roles of deploy/roles.sql, and a login for each of them.

Roles belong to the whole server, so this is only for servers that a test run has for itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import asyncpg
import pytest

from actiond.postgres.migrate import migrate
from support.database import Database, Server

#: Each is a login test_X in the role actiond_X; a stranger is in none.
ROLES = ("owner", "daemon", "producer", "operator", "reader")
PEOPLE = (*ROLES, "stranger")


@dataclass(frozen=True, slots=True)
class Peopled:
    """The database as each of them reaches it."""

    database: Database

    def dsn(self, who: str) -> str:
        """As `owner`, ..., `stranger`; `postgres` is the superuser."""
        user = who if who == "postgres" else f"test_{who}"
        return re.sub(r"^(\w+://)([^@/]*@)?", rf"\g<1>{user}@", self.database.dsn)

    @asynccontextmanager
    async def connected(self, who: str) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.dsn(who))
        try:
            yield connection
        finally:
            await connection.close()


@contextmanager
def peopled_database(server: Server, template: str) -> Iterator[Peopled]:
    """A fresh one."""
    if server.private is None:
        pytest.skip("makes roles, which belong to the whole server: only on a server of our own")
    database = asyncio.run(server.create(template))
    try:
        asyncio.run(_people(database))
        yield Peopled(database)
    finally:
        asyncio.run(server.drop(database))


async def _people(database: Database) -> None:
    await migrate(database.dsn, roles=True)
    connection = await database.connect()
    try:
        for who in PEOPLE:
            if await connection.fetchval("select to_regrole($1) is null", f"test_{who}"):
                await connection.execute(f"create role test_{who} login")
        for who in ROLES:
            await connection.execute(f"grant actiond_{who} to test_{who}")
    finally:
        await connection.close()
