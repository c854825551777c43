"""The schedules as a daemon uses them: what is due, and moving one on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from actiond.postgres.connection import Pool
from actiond.postgres.statements import Statements

_ERROR_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Item:
    """One row of actiond.schedule whose slot is due or not computed yet."""

    name: str
    processor: str
    edition: int
    cron: str | None
    every: timedelta | None
    timezone: str
    starts_at: datetime
    since: datetime
    next_at: datetime | None
    data: str | None  # JSON; None = a wake
    related: str | None
    missed: str
    grace: timedelta | None
    error: str | None
    here: bool  # this is one of its environments


@dataclass(frozen=True, slots=True)
class Page:
    """What one look found."""

    now: datetime
    next_in_s: float | None  # until the next slot that is not due yet; None = there is none
    items: list[Item]


@dataclass(frozen=True, slots=True)
class Move:
    """What a slot does: where the schedule goes on, and what fires on the way."""

    next_at: datetime | None
    fires: datetime | None = None  # the slot
    data: str | None = None
    related: str | None = None
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Fired:
    """What came of it."""

    fired: bool
    action_id: int | None  # None = a wake
    open: int | None  # the last action, because of which nothing fired
    late_s: float | None


class ScheduleStore:
    """Reads and moves rows of actiond.schedule."""

    def __init__(self, pool: Pool, statements: Statements) -> None:
        self._pool = pool
        self._sql = statements

    async def due(self, daemon: int, limit: int) -> Page:
        """Look; and note that this daemon did."""
        rows = await self._pool.fetch(self._sql["due_schedules"], daemon, limit)
        items = [
            Item(**{name: row[name] for name in Item.__dataclass_fields__}) for row in rows if row["name"] is not None
        ]
        return Page(rows[0]["now"], rows[0]["next_in_s"], items)

    async def fire(self, item: Item, move: Move) -> Fired | None:
        """Move it on, in one statement with what fires. None: somebody else did, edited it, or holds the row."""
        row = await self._pool.fetchrow(
            self._sql["fire_schedule"],
            item.name,
            item.processor,
            item.edition,
            item.next_at,
            move.next_at,
            move.fires,
            move.data,
            move.related,
            move.missed,
            False,
        )
        return None if row is None else Fired(row["fired"], row["action_id"], row["open"], row["late_s"])

    async def note_error(self, item: Item, error: str | None) -> None:
        """For whoever looks at the row."""
        text = None if error is None else error[:_ERROR_CHARACTERS]
        await self._pool.execute(self._sql["note_schedule_error"], item.name, item.processor, item.edition, text)
