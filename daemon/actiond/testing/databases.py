"""Databases for tests: fresh, migrated, named actiond_test_*, dropped afterwards; and their one clock.

It promises to create and drop no database of another name, so that ACTIOND_DSN may point at a server where other
things live; and to touch the clock only of a database whose name has `test` in it.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from actiond.contract.processor import Processor
from actiond.contract.resource import Resource
from actiond.host import settings
from actiond.host.private_postgres import PrivatePostgres
from actiond.postgres.connection import Connection, first_connect
from actiond.postgres.enqueue import enqueue
from actiond.postgres.migrate import migrate
from actiond.postgres.statements import Statements
from actiond.rules.redaction import redact
from actiond.testing.once import run_once
from actiond.testing.stored import StoredAction, look
from actiond.words import duration
from actiond.words.errors import OperatorError
from actiond.words.outcome import Duration

PREFIX = "actiond_test_"
EMPTY = "template0"
ROOM_IN_MEMORY = 2 << 30
COPY_S = 60.0  # on a slow disk

_sql = Statements()


@dataclass(frozen=True, slots=True, repr=False)
class Database:
    """A database with the schema of actiond. Each call has a connection of its own, so any event loop may call."""

    dsn: str

    def __repr__(self) -> str:
        return f"Database({redact(self.dsn)!r})"  # a test that fails shows it

    async def enqueue(self, processor: Processor | str, data: Any = None, **options: Any) -> int:
        """One action, as actiond.enqueue has it; gives its id."""
        async with self._connection() as connection:
            return await enqueue(connection, processor, data, **options)

    async def run_once(
        self, *processors: Processor, resources: Mapping[Resource[Any], Any] | None = None
    ) -> list[StoredAction]:
        """See actiond.testing.run_once."""
        return await run_once(self.dsn, *processors, resources=resources)

    async def action(self, id_: int) -> StoredAction:
        """As it stands now. LookupError if there is none."""
        async with self._connection() as connection:
            found = await look(connection, [id_])
        if not found:
            raise LookupError(f"there is no action {id_}")
        return found[0]

    async def now(self) -> datetime:
        """What the one clock of this database says."""
        async with self._connection() as connection:
            return await _now(connection)

    async def freeze(self, at: datetime | None = None) -> datetime:
        """The clock stands still, at `at` or at what it says now; gives that. ValueError for a time without a zone."""
        if at is not None and at.tzinfo is None:
            raise ValueError(f"{at} has no time zone")
        return await self._clock("testing_freeze", at)

    async def move(self, by: Duration) -> datetime:
        """The clock goes forward by so much ("5 min", timedelta): it stands there if it stood, else it runs on."""
        return await self._clock("testing_move", duration.seconds(by))

    async def _clock(self, statement: str, value: Any) -> datetime:
        async with self._connection() as connection:
            command = await connection.fetchval(_sql[statement], value)
            if command is None:
                raise OperatorError("the clock is moved only in a database whose name has `test` in it")
            await connection.execute(command)
            return await _now(connection)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        async with _connected(self.dsn) as connection:
            yield connection


class Server:
    """A running Postgres on which databases for tests are made: copies of one that was migrated."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn  # of a database from where others can be created
        self._template: str | None = None
        self._ours = f"{PREFIX}{secrets.token_hex(4)}"  # others may test on this server
        self._numbers = count(1)

    async def create(self) -> Database:
        """A fresh database with the schema and no rows."""
        if self._template is None:
            template = f"{self._ours}_template"
            await self._create(template, EMPTY)
            await migrate(self._dsn_of(template))
            self._template = template
        name = f"{self._ours}_{next(self._numbers)}"
        await self._create(name, self._template)
        return Database(self._dsn_of(name))

    async def drop(self, database: Database) -> None:
        """With force: whoever is still connected is cut off. ValueError for a database that `create` did not make."""
        await self._drop(database.dsn.partition("?")[0].rpartition("/")[2])

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Database]:
        """Create and, in the end, drop."""
        database = await self.create()
        try:
            yield database
        finally:
            await self.drop(database)

    async def close(self) -> None:
        """Drop what databases were copied from."""
        template, self._template = self._template, None
        if template is not None:
            await self._drop(template)

    def _dsn_of(self, name: str) -> str:
        return re.sub(r"^(\w+://[^/?]*)(/[^?]*)?", rf"\g<1>/{quote(name)}", self.dsn)

    async def _create(self, name: str, template: str) -> None:
        async with _connected(self.dsn) as connection:
            await connection.execute(await connection.fetchval(_sql["testing_create"], name, template), timeout=COPY_S)

    async def _drop(self, name: str) -> None:
        async with _connected(self.dsn) as connection:
            command = await connection.fetchval(_sql["testing_drop"], name)
            if command is None:
                raise ValueError(f"{name} is no database that was made for a test")
            await connection.execute(command, timeout=COPY_S)


@contextmanager
def running_server() -> Iterator[Server]:
    """The server of ACTIOND_DSN (of ACTIOND_LISTEN_DSN behind a pooler), else a private one; blocks while it starts.

    PostgresUnavailable if no Postgres programs are found.
    """
    chosen = settings.read()
    if "dsn" in chosen.model_fields_set:
        yield Server(chosen.presence_dsn)
        return
    with PrivatePostgres(temporary_in=memory(), settings={"max_wal_size": "256MB"}) as private:
        yield Server(private.dsn("postgres"))


def memory() -> Path | None:
    """A file system in memory, if it has room: databases are made ten times faster there than on some disks."""
    shared = Path("/dev/shm")  # noqa: S108 - PrivatePostgres makes a folder of its own there
    return shared if shared.is_dir() and shutil.disk_usage(shared).free >= ROOM_IN_MEMORY else None


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Connection]:
    connection = await first_connect(dsn, "actiond testing", {"statement_timeout": f"{COPY_S:.0f}s"})
    try:
        yield connection
    finally:
        await connection.close(timeout=2)


async def _now(connection: Connection) -> datetime:
    at: datetime = await connection.fetchval(_sql["now"])
    return at
