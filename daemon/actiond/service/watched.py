"""What can be seen of a daemon from outside: is it alive, is it ready, how much waits.

Lives in the main loop. Whoever looks often gets what was seen a moment ago: the database is asked at most every
LOOK_S, and a look that took long is repeated so much later that it costs at most a twentieth of the time; never later
than LOOK_AGAIN_S.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio

from actiond.host.log import get_logger
from actiond.loops.processor_loop import ProcessorLoop
from actiond.loops.world import World
from actiond.postgres.backlog_store import Backlog, BacklogStore
from actiond.postgres.connection import in_words
from actiond.rules.gate import Shut
from actiond.service.proof_of_life import ProofOfLife
from actiond.words.errors import OperatorError
from actiond.words.log_lines import LogLine

LOOK_S = 2.0
LOOK_SHARE = 20
LOOK_AGAIN_S = 15.0
TROUBLES = 3  # claims that failed one after the other: a hiccup is no reason to send anybody elsewhere
SCHEMA_S = 10.0  # between looks at the schema: it changes when somebody migrates

log = get_logger()


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw."""

    unready: tuple[str, ...]  # why it cannot claim and write; empty = it can
    backlog: Mapping[str, Backlog] | None = None  # None: the database did not say
    seen_s: float = field(default_factory=time.monotonic)


class Watched:
    """One daemon. `store` and `proof` come when there are a database and loops."""

    def __init__(self, loops: dict[str, ProcessorLoop], world: World, version: str) -> None:
        self.loops = loops
        self.world = world
        self.version = version
        self.store: BacklogStore | None = None
        self.proof: ProofOfLife | None = None
        self.known = False  # registered, its loops started
        self._last: Look | None = None
        self._next_s = self._next_schema_s = 0.0
        self._misfit = ""
        self._looking = anyio.Lock()

    def stalled(self) -> str:
        """Why this process should be started anew; "" = it makes progress. From any thread.

        A database that is away is no reason: the daemon waits for it.
        """
        silent_s = self.proof.silent_s() if self.proof is not None else None
        return f"no loop has made a step for {silent_s:.0f} s" if silent_s is not None else ""

    async def look(self) -> Look:
        """Now, or what was seen a moment ago; what the daemon itself knows is always of now."""
        async with self._looking:
            if self._last is None or time.monotonic() >= self._next_s:
                began_s = time.monotonic()
                self._last = await self._look()
                took_s = time.monotonic() - began_s
                pause_s = max(LOOK_S, LOOK_SHARE * took_s if self._last.backlog else 0.0)
                self._next_s = time.monotonic() + min(pause_s, LOOK_AGAIN_S)
        return Look((*self._unready(), *self._last.unready), self._last.backlog, self._last.seen_s)

    async def _look(self) -> Look:
        if self.store is None:
            return Look(())
        try:
            backlog = await self.store.count(list(self.loops))
            if time.monotonic() >= self._next_schema_s:
                self._misfit = await self._schema()
                self._next_schema_s = time.monotonic() + SCHEMA_S
        except Exception as error:  # the boundary of a connection
            log.warning(LogLine.BACKLOG_UNKNOWN, error=in_words(error))
            return Look((f"the database does not answer: {in_words(error)}",))
        return Look((self._misfit,) if self._misfit else (), backlog)

    async def _schema(self) -> str:
        assert self.store is not None
        try:
            await self.store.check_schema()
        except OperatorError as misfit:
            return str(misfit)
        return ""

    def _unready(self) -> list[str]:
        world = self.world
        full = [loop.name for loop in list(self.loops.values()) if loop.writer.unsaved >= world.unsaved_max]
        failing = [f"{loop.name}: {loop.trouble}" for loop in list(self.loops.values()) if loop.troubles >= TROUBLES]
        reasons = {
            "it is starting": not self.known,
            str(Shut.STOPPING): world.stopping,
            str(Shut.CUT_OFF): world.cut_off,
            f"{Shut.UNSAVED} ({', '.join(full)})": bool(full),
            f"claims fail ({', '.join(failing[:1])})": bool(failing),
        }
        return [reason for reason, holds in reasons.items() if holds]
