"""Rows of dead daemons come back. Any daemon may do it; several at once do no harm.

The dead are named by the beat (see sql/beat.sql). Rescue puts rows back and counts crashes; it decides nothing
else about processors it may not have.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from actiond.batch.tally import Counts
from actiond.host.log import get_logger
from actiond.loops.bell import Bell
from actiond.postgres.connection import in_words
from actiond.postgres.daemon_store import DaemonStore, OpenRun
from actiond.words.log_lines import LogLine

SWEEP_S = 30.0  # between looks for runs that nobody alive holds
SOON_S = 1.0  # the same, after this daemon lost its id: a claim that was under way may have landed after the rescue

log = get_logger()


class RescueLoop:
    """Works through the dead that it was told of."""

    def __init__(self, store: DaemonStore, look_again: Callable[[], None], counts: Counts | None = None) -> None:
        self.bell = Bell()
        self.steps = 0
        self._store = store
        self._look_again = look_again  # every local loop, from the beginning
        self._counts = counts or Counts()
        self._dead: set[int] = set()
        self._next_sweep_s = 0.0

    def found_dead(self, daemons: list[int]) -> None:
        """These do not live any more."""
        if daemons:
            self._dead.update(daemons)
            self.bell.ring()

    def sweep_soon(self) -> None:
        """This daemon has a new id: what it claims under the old one nobody holds."""
        self._next_sweep_s = time.monotonic() + SOON_S
        self.bell.ring()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.bell.wait(await self.step())

    async def step(self) -> float:
        """Rescue what one of the dead held; how long until there is more to do, unless rung."""
        self.steps += 1
        try:
            if time.monotonic() >= self._next_sweep_s:
                self._dead.update(await self._store.left_behind())
                self._next_sweep_s = time.monotonic() + SWEEP_S
            if not self._dead:
                return self._next_sweep_s - time.monotonic()
            daemon = min(self._dead)
            await self._rescue(daemon)
        except Exception as error:  # the boundary of a connection
            self._counts.troubles["rescue"] += 1
            log.warning(LogLine.CONNECTION_LOST, connection="rescue", error=in_words(error), retry_in_s=1.0)
            return 1.0
        self._dead.discard(daemon)
        return 0.0

    async def _rescue(self, daemon: int) -> None:
        began_s, returned, quarantined = time.monotonic(), 0, 0
        names: set[str] = set()
        suspects = False
        seen: set[int] = set()
        while runs := [run for run in await self._store.open_runs(daemon) if run.id not in seen]:
            # Their rows come last; as long as the daemon held one, they are the only ones to blame.
            suspects = suspects or any(run.suspects for run in runs)
            for run in runs:
                seen.add(run.id)
                names.add(run.processor)
                back, failed = await self._one(daemon, run, suspects)
                returned, quarantined = returned + back, quarantined + failed
        if await self._store.end(daemon, "died"):
            log.warning(LogLine.PEER_DIED, peer_id=daemon)
        if names:
            log.warning(
                LogLine.ROWS_RESCUED,
                peer_id=daemon,
                rows=returned,
                quarantined=quarantined,
                took_s=round(time.monotonic() - began_s, 3),
            )
            await self._store.ring(sorted(names))
        self._look_again()

    async def _one(self, daemon: int, run: OpenRun, suspects: bool) -> tuple[int, int]:
        rescued = await self._store.rescue(daemon, run.id, suspects)
        self._counts.rescued += len(rescued.returned) + len(rescued.quarantined)
        self._counts.quarantined += len(rescued.quarantined)
        for action in rescued.quarantined:
            log.error(LogLine.ROW_QUARANTINED, processor=run.processor, action_id=action)
        return len(rescued.returned), len(rescued.quarantined)
