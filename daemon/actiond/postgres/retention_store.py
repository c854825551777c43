"""Old rows out: see sql/functions/140_retention.sql."""

from __future__ import annotations

from typing import NamedTuple

from actiond.postgres.connection import Pool
from actiond.postgres.statements import Statements

ROWS = 2_000  # that one page looks at: some milliseconds, and ten thousand a second at most


class Page(NamedTuple):
    """Of a walk through all actions."""

    deleted: int
    deleted_by_walk: int | None  # None: this was not its last page

    @property
    def walk_goes_on(self) -> bool:
        return self.deleted_by_walk is None


class RetentionStore:
    """Actions that have outlived the retention of their processor."""

    def __init__(self, pool: Pool, statements: Statements, rows: int = ROWS) -> None:
        self._pool = pool
        self._sql = statements
        self._rows = rows

    async def purge(self) -> Page | None:
        """One page. None: another daemon is at it, or it is not time for a walk."""
        row = await self._pool.fetchrow(self._sql["purge"], self._rows)
        return None if row is None else Page(row["deleted"], row["walked"])
