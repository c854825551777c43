"""Schedules: sleep until the next slot of any of them, then move on those that are due and fire.

Every daemon runs this loop. Which of them fires a slot is decided by the statement that moves the row on (see
sql/fire_schedule.sql); the others find that it has moved. A schedule that cannot be read is told of, in the log and in
its row, and holds up no other.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from actiond.host.log import get_logger
from actiond.loops.bell import Bell
from actiond.postgres.connection import Trouble, in_words, trouble
from actiond.postgres.schedule_store import Fired, Item, Move, Page, ScheduleStore
from actiond.rules import cron, slots
from actiond.words import json_text
from actiond.words.log_lines import LogLine

PAGE = 100  # schedules a look
OVERTAKEN_S = (0.05, 0.2)  # until the next look, after somebody else was faster or holds a row

log = get_logger()


class ScheduleLoop:
    """Fires what is due."""

    def __init__(self, store: ScheduleStore, daemon: Callable[[], int], interval_s: float) -> None:
        self.bell = Bell()
        self.steps = 0
        self._store = store
        self._daemon = daemon  # the id of this one, which may change
        self._interval_s = interval_s

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.bell.wait(await self.step())

    async def step(self) -> float:
        """One look; how long until the next, unless rung."""
        self.steps += 1
        try:
            page = await self._store.due(self._daemon(), PAGE)
            moved = [await self._move(item, page) for item in page.items]
        except Exception as error:  # the boundary of a connection
            log.warning(LogLine.CONNECTION_LOST, connection="schedules", error=in_words(error), retry_in_s=1.0)
            return min(1.0, self._interval_s)
        if True in moved:
            return 0.0  # the next slot may be due as well, or another page
        sleep_s = self._interval_s if page.next_in_s is None else min(page.next_in_s, self._interval_s)
        if False in moved:
            sleep_s = min(sleep_s, random.uniform(*OVERTAKEN_S))  # noqa: S311 - so that daemons do not look in step
        return sleep_s

    async def _move(self, item: Item, page: Page) -> bool | None:
        """True: moved on; False: somebody else was faster; None: it cannot move."""
        try:
            move = _planned(item, page)
        except ValueError as wrong:
            await self._broken(item, str(wrong))
            return None
        try:
            fired = await self._store.fire(item, move)
        except Exception as error:  # the boundary of a connection
            if trouble(error) is not Trouble.REFUSED:
                raise
            await self._broken(item, in_words(error))
            return None
        if fired is not None and item.next_at is not None:
            _tell(item, move, fired)
        return fired is not None

    async def _broken(self, item: Item, error: str) -> None:
        log.error(LogLine.SCHEDULE_BROKEN, schedule=item.name, processor=item.processor, error=error)
        await self._store.note_error(item, error)


def _planned(item: Item, page: Page) -> Move:
    """What is to be done with it now. ValueError says why it cannot be done."""
    rule = cron.rule(item.cron, item.every, item.timezone, item.starts_at)
    if item.next_at is None or not item.here:  # slots of another environment are nobody's
        since = item.since if item.next_at is None else page.now
        return Move(_some(cron.first_after(rule, since, item.starts_at)))
    found = slots.due(rule, item.next_at, page.now, slots.Missed(item.missed), item.grace)
    next_at = _some(found.next_at)
    if found.fires is None:
        return Move(next_at, missed=found.missed)
    zone = cron.zone(item.timezone)
    slot, fire_at = found.fires.astimezone(zone), page.now.astimezone(zone)
    filled = None if item.data is None else slots.filled(json_text.loads(item.data), slot, fire_at)
    data = None if item.data is None else json_text.dumps(filled)
    return Move(next_at, found.fires, data, slots.filled(item.related, slot, fire_at), found.missed)


def _some(next_at: Any) -> Any:
    if next_at is None:
        raise ValueError("it has no slot within fifty years")
    return next_at


def _tell(item: Item, move: Move, fired: Fired) -> None:
    about: dict[str, Any] = {"schedule": item.name, "processor": item.processor}
    if move.missed:
        log.warning(LogLine.SCHEDULE_SKIPPED, **about, slots=move.missed, reason="missed", first_slot=str(item.next_at))
    if fired.open is not None:
        slot = str(move.fires)
        log.warning(LogLine.SCHEDULE_SKIPPED, **about, slots=1, reason="overlap", first_slot=slot, action_id=fired.open)
    if fired.fired:
        late_s = round(fired.late_s or 0.0, 3)
        log.info(LogLine.SCHEDULE_FIRED, **about, slot=str(move.fires), late_s=late_s, action_id=fired.action_id)
