"""Actions that wait for others: who may go on."""

from __future__ import annotations

from collections.abc import Sequence

from actiond.postgres.connection import Pool
from actiond.postgres.statements import Statements

PAGE = 1_000  # that wait, at one look


class FamilyStore:
    """Release, and the sweep that finds what a release missed."""

    def __init__(self, pool: Pool, statements: Statements) -> None:
        self._pool = pool
        self._sql = statements

    async def release(self, ended: Sequence[int], waiting: Sequence[int]) -> dict[int, str]:
        """Let go who waited for these that have ended, and of these that wait whoever may; gives id -> status."""
        rows = await self._pool.fetch(self._sql["release"], ended, waiting)
        return {row["id"]: row["status"] for row in rows}

    async def waiting(self, after: int) -> list[int]:
        """A page of those that wait, in id order."""
        return [row["id"] for row in await self._pool.fetch(self._sql["waiting"], after, PAGE)]
