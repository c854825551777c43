"""What ended runs came to, added to their hours: see sql/fold_runs.sql."""

from __future__ import annotations

from actiond.postgres.connection import Pool
from actiond.postgres.statements import Statements

RUNS = 5_000  # of each processor in one statement: a few tenths of a second


class RunStore:
    """Runs that have ended."""

    def __init__(self, pool: Pool, statements: Statements, runs: int = RUNS) -> None:
        self._pool = pool
        self._sql = statements
        self._runs = runs

    async def fold(self) -> bool:
        """One piece. True: there is more; False: nothing is left for now, or another daemon is at it."""
        # Two statements, on purpose: the second must see what had committed when the first looked.
        upto = await self._pool.fetchval(self._sql["fold_until"])
        row = await self._pool.fetchrow(self._sql["fold_runs"], upto, self._runs)
        return row is not None and bool(row["upto"] < upto)
