"""Is the system healthy? Everything here reads only, and every statement is bounded in time.

A check that the database refuses, or that takes too long, is a finding of its own; a lost connection ends all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from actiond.postgres import doctor_listen, doctor_schema, migrate, read
from actiond.postgres.connection import (
    Connection,
    Trouble,
    close_pool,
    first_connect,
    handler_pool,
    in_words,
    realtime_s,
    trouble,
    work_pool,
)
from actiond.postgres.statements import Statements
from actiond.rules import diagnosis
from actiond.rules.diagnosis import Limits
from actiond.words.errors import MigrationEdited, SchemaMissing, SchemaNewer, SchemaOutdated
from actiond.words.findings import Finding

CAREFUL = {"default_transaction_read_only": "on", "statement_timeout": "3s", "lock_timeout": "1s"}
ANSWER_S = 4.0  # where a session has no statement_timeout of ours

_SCHEMA = {
    SchemaMissing: ("schema_missing", "`actiond migrate`"),
    SchemaOutdated: ("schema_outdated", "`actiond migrate`, then restart the daemons"),
    SchemaNewer: ("schema_newer", "install the newer actiond"),
    MigrationEdited: ("migration_edited", "put the file back as it was, and write a new migration"),
}


@dataclass(frozen=True, slots=True)
class Practice:
    """Where to look, and what the daemons of this installation may open."""

    dsn: str
    listen_dsn: str
    listen: bool  # do the daemons listen
    connections: int  # of one daemon, at most
    limits: Limits = field(default_factory=Limits)


async def examine(practice: Practice, sql: Statements | None = None) -> list[Finding]:
    """Every finding, the worst first. Raises OperatorError when the database does not answer."""
    connection = await first_connect(practice.dsn, "actiond doctor", CAREFUL)
    try:
        try:
            await migrate.check(connection)
        except (SchemaMissing, SchemaOutdated, SchemaNewer, MigrationEdited) as unfit:
            name, remedy = _SCHEMA[type(unfit)]
            return [Finding(name, str(unfit), remedy)]
        found = await _Examination(practice, connection, sql or Statements()).findings()
    finally:
        connection.terminate()
    limited = diagnosis.bounded(iter(found), practice.limits)
    return sorted(limited, key=lambda each: -each.severity)


class _Examination:
    """One look at everything, on one connection and some that are opened as daemons open theirs."""

    def __init__(self, practice: Practice, connection: Connection, sql: Statements) -> None:
        self._practice = practice
        self._limits = practice.limits
        self._connection = connection
        self._sql = sql

    async def findings(self) -> list[Finding]:
        checks: dict[str, Callable[[], Awaitable[Iterator[Finding] | list[Finding]]]] = {
            "settings of the server": self._server,
            "tables and indexes": lambda: doctor_schema.catalog(self._connection, self._sql),
            "functions": lambda: doctor_schema.functions(self._connection, self._sql),
            "plan of the claim": self._plan,
            "transactions": self._transactions,
            "locks": self._blocked,
            "dead rows": self._tables,
            "LISTEN": self._listen,
            "open runs": self._runs,
            "daemons and rows": self._work,
        }
        found: list[Finding] = []
        for what, check in checks.items():
            try:
                found += await check()
            except asyncpg.PostgresError as refused:
                if trouble(refused) is Trouble.LOST:
                    raise
                remedy = "see whether the server is overloaded, or ask again with the rights of the daemon"
                found.append(Finding("not_checked", f"{what}: {in_words(refused)}", remedy))
        return found

    async def _rows(self, name: str, *arguments: object) -> list[dict[str, Any]]:
        return [dict(row) for row in await self._connection.fetch(self._sql[name], *arguments)]

    async def _server(self) -> list[Finding]:
        async with _as_handlers(self._practice.dsn) as connection:
            before_s = realtime_s()
            (row,) = await connection.fetch(self._sql["doctor_server"], timeout=ANSWER_S)
            here_at = (before_s + realtime_s()) / 2
        now, daemons = dict(row), await self._rows("doctor_daemons")
        living = sum(row["lives"] for row in daemons)
        return [
            *diagnosis.server(now, here_at, self._limits),
            *diagnosis.connections(now, living, self._practice.connections),
        ]

    async def _plan(self) -> list[Finding]:
        pool = await work_pool(self._practice.dsn, 1, writes=False)
        try:
            async with pool.acquire() as connection:
                return await doctor_schema.plan(connection, self._sql)
        finally:
            await close_pool(pool)

    async def _transactions(self) -> Iterator[Finding]:
        return diagnosis.transactions(await self._rows("doctor_transactions", self._limits.transaction_s))

    async def _blocked(self) -> Iterator[Finding]:
        return diagnosis.blocked(await self._rows("doctor_blocked", self._limits.blocked_s))

    async def _tables(self) -> Iterator[Finding]:
        return diagnosis.tables(await self._rows("doctor_tables"), self._limits)

    async def _listen(self) -> list[Finding]:
        if not self._practice.listen:
            return [Finding("listen_off", "ACTIOND_LISTEN is off", "leave it on where the server can LISTEN")]
        return await doctor_listen.hears(self._connection, self._practice.listen_dsn, CAREFUL, self._sql)

    async def _runs(self) -> Iterator[Finding]:
        return diagnosis.runs(await self._rows("doctor_runs"), self._limits)

    async def _work(self) -> list[Finding]:
        daemons = await self._rows("doctor_daemons")
        now = await read.status(self._connection)
        living = [row for row in daemons if row["lives"]]
        return [
            *diagnosis.daemons(daemons, self._limits),
            *diagnosis.work(now.processors, now.settings, living),
            *diagnosis.flags(await self._rows("list_flags")),
        ]


@asynccontextmanager
async def _as_handlers(dsn: str) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy[asyncpg.Record]]:
    """A session without settings of ours: as the role and the database are set."""
    pool = await handler_pool(dsn, 1, writes=False)
    try:
        async with pool.acquire() as connection:
            yield connection
    finally:
        await close_pool(pool)
