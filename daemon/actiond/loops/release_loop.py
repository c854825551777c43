"""Actions that wait for others go on: a parent when none of its children is open, a successor when its turn comes.

Fed by the outcomes that this daemon wrote, once they are committed (sql/release.sql says why then). A sweep finds
what nobody fed: outcomes of a daemon that died in between, of one that knew of nobody waiting, and what people
changed by hand. As long as nobody waits, outcomes are not even looked at.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from actiond.host.log import get_logger
from actiond.loops.bell import Bell
from actiond.postgres.connection import in_words
from actiond.postgres.family_store import PAGE, FamilyStore
from actiond.words.claimed import Settlement
from actiond.words.log_lines import LogLine

SWEEP_S = 5.0  # between looks for anybody who waits
BUSY_S = 1.0  # the same, while somebody does: a page at a time, so that many who wait for days cost little
_AT_ONCE = 5_000  # ended actions in one statement
_FINAL = frozenset(("completed", "failed", "canceled"))

log = get_logger()


class ReleaseLoop:
    """One for a daemon."""

    def __init__(self, store: FamilyStore) -> None:
        self.bell = Bell()
        self.steps = 0
        self._store = store
        self._ended: list[int] = []
        self._waiting: list[int] = []
        self._somebody_waits = False
        self._after = 0  # how far the sweep is
        self._next_sweep_s = 0.0

    def landed(self, settlements: Sequence[Settlement]) -> None:
        """These outcomes are committed."""
        waiting = [each.id for each in settlements if each.kind == "waiting"]
        if waiting:
            self._somebody_waits = True
            self._waiting += waiting  # its children may have ended before
        if self._somebody_waits:
            ended = [each.id for each in settlements if each.kind in _FINAL]
            self._ended += ended
            if ended or waiting:
                self.bell.ring()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.bell.wait(await self.step())

    async def step(self) -> float:
        """Release who may go on; how long until the next sweep."""
        self.steps += 1
        ended, self._ended = self._ended[:_AT_ONCE], self._ended[_AT_ONCE:]
        waiting, self._waiting = self._waiting, []
        try:
            if time.monotonic() >= self._next_sweep_s:
                waiting += await self._sweep()
            if ended or waiting:
                released = await self._store.release(ended, waiting)
                if released:
                    log.info(LogLine.ACTIONS_RELEASED, rows=len(released), actions=sorted(released)[:20])
        except Exception as error:  # the boundary of a connection: nothing is lost, the sweep finds them
            self._ended, self._waiting = [*ended, *self._ended], [*waiting, *self._waiting]
            log.warning(LogLine.CONNECTION_LOST, connection="release", error=in_words(error), retry_in_s=BUSY_S)
            return BUSY_S
        return 0.0 if self._ended else max(0.0, self._next_sweep_s - time.monotonic())

    async def _sweep(self) -> list[int]:
        page = await self._store.waiting(self._after)
        self._somebody_waits = bool(page) or self._after > 0  # then there were some on the pages before
        self._after = page[-1] if len(page) == PAGE else 0
        self._next_sweep_s = time.monotonic() + (BUSY_S if self._somebody_waits else SWEEP_S)
        return page
