"""The daemons: who died, what it held, and giving that back."""

from __future__ import annotations

from dataclasses import dataclass

from actiond.postgres.connection import Pool
from actiond.postgres.statements import Statements

CRASHES_ALLOWED = 3
_RUNS = 100  # a page of open runs


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that a dead daemon left behind."""

    id: int
    processor: str
    suspects: bool  # some row that this daemon held saw a daemon die before


@dataclass(frozen=True, slots=True)
class Rescued:
    """What became of its rows."""

    returned: list[int]
    quarantined: list[int]


class DaemonStore:
    """Rescue, and the end of a daemon's row."""

    def __init__(self, pool: Pool, statements: Statements) -> None:
        self._pool = pool
        self._sql = statements

    async def left_behind(self) -> list[int]:
        """Daemons that have ended and hold an open run all the same: they claimed it when they were declared dead."""
        return [row["daemon"] for row in await self._pool.fetch(self._sql["left_behind"])]

    async def open_runs(self, daemon: int) -> list[OpenRun]:
        """A page of them; those with suspects last."""
        rows = await self._pool.fetch(self._sql["open_runs"], daemon, _RUNS)
        return [OpenRun(row["run_id"], row["processor"], row["suspects"]) for row in rows]

    async def rescue(self, daemon: int, run_id: int, blame_suspects: bool) -> Rescued:
        """Return the rows of one run; `blame_suspects`: only rows that saw a crash before are charged."""
        rows = await self._pool.fetch(self._sql["rescue"], daemon, run_id, blame_suspects, CRASHES_ALLOWED)
        failed = [row["id"] for row in rows if row["status"] == "failed"]
        return Rescued([row["id"] for row in rows if row["status"] == "pending"], failed)

    async def end(self, daemon: int, how: str) -> bool:
        """Close the daemon's row; False while it still holds an open run."""
        return await self._pool.fetchval(self._sql["end_daemon"], daemon, how) is not None

    async def ring(self, processors: list[str]) -> None:
        """Every daemon, look again at these."""
        await self._pool.execute(self._sql["ring"], processors)
