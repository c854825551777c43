"""What a look from outside asks the database: how much waits, and can this daemon work with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from actiond.postgres import migrate
from actiond.postgres.connection import Pool
from actiond.postgres.statements import Statements

COUNT_AT_MOST = 10_000
TIMEOUT_S = 1.5  # of one statement: whoever looks does not wait longer


class Backlog(NamedTuple):
    """Of one processor; counts of COUNT_AT_MOST mean "at least"."""

    waiting: int
    oldest_s: float  # 0 = none is due
    scheduled: int
    failed: int


class BacklogStore:
    """Reads only, on the connections that the daemon works with: if they answer, it can work."""

    def __init__(self, pool: Pool, statements: Statements) -> None:
        self._pool = pool
        self._sql = statements

    async def count(self, processors: Sequence[str]) -> dict[str, Backlog]:
        """By name. Bounded; see sql/backlog.sql."""
        rows = await self._pool.fetch(self._sql["backlog"], processors, COUNT_AT_MOST, timeout=TIMEOUT_S)
        return {row["processor"]: Backlog._make(tuple(row)[1:]) for row in rows}

    async def check_schema(self) -> None:
        """SchemaMissing, SchemaOutdated or SchemaNewer if it does not fit (any more)."""
        async with self._pool.acquire(timeout=TIMEOUT_S) as connection:
            await migrate.check(connection)
