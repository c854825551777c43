"""The loops that live of outcomes: each hears of those of this daemon, once they are committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actiond.loops.breaker_loop import BreakerLoop
from actiond.loops.outcome_loop import OutcomeLoop
from actiond.loops.processor_loop import ProcessorLoop
from actiond.loops.release_loop import ReleaseLoop
from actiond.loops.world import World
from actiond.postgres.brake_store import BrakeStore
from actiond.postgres.connection import Pool
from actiond.postgres.family_store import FamilyStore
from actiond.postgres.feed_store import FeedStore
from actiond.postgres.statements import Statements
from actiond.words.claimed import Settlement


class Fed:
    """Who waits for others goes on, breakers hear how it goes, readers of the feed are told."""

    def __init__(self, pool: Pool, sql: Statements, loops: Mapping[str, ProcessorLoop], world: World) -> None:
        self._release = ReleaseLoop(FamilyStore(pool, sql))
        self._breakers = BreakerLoop(BrakeStore(pool, sql), loops, world)
        self._outcomes = OutcomeLoop(FeedStore(pool, sql), world)
        self.loops = (self._release, self._breakers, self._outcomes)
        #: Hears of outcomes that will be committed soon.
        self.settled = self._breakers.settled

    def landed(self, processor: str, settlements: Sequence[Settlement]) -> None:
        """These outcomes of a processor are committed."""
        self._release.landed(settlements)
        self._breakers.landed(processor, settlements)
        self._outcomes.landed(settlements)
