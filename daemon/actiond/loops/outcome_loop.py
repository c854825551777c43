"""Rings for those who read the feed of outcomes, if the setting `notify_outcomes` says so.

It is beside the route of outcomes, not on it: NOTIFY takes a lock of the whole cluster at commit, so it never travels
in the transaction of an outcome. What lands while one is sent, and shortly after, shares the next one. While nobody
wants them, outcomes are not even looked at. One that is lost costs a reader a second, see postgres/feed.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from actiond.host.log import get_logger
from actiond.loops.bell import Bell
from actiond.loops.world import World
from actiond.postgres.connection import in_words
from actiond.postgres.feed_store import FeedStore
from actiond.words.claimed import Settlement
from actiond.words.log_lines import LogLine

GATHER_S = 0.1  # between two notifications
AGAIN_S = 1.0  # when one did not get through

log = get_logger()


class OutcomeLoop:
    """One for a daemon."""

    def __init__(self, store: FeedStore, world: World) -> None:
        self.bell = Bell()
        self.steps = 0
        self._store = store
        self._world = world

    def landed(self, settlements: Sequence[Settlement]) -> None:
        """These outcomes are committed; those that are kept in history are in the feed."""
        if self._world.notify_outcomes and any(each.noted for each in settlements):
            self.bell.ring()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.bell.wait()
            await anyio.sleep(await self.step())

    async def step(self) -> float:
        """Ring once; how long until it may again."""
        self.steps += 1
        try:
            await self._store.tell()
        except Exception as error:  # the boundary of a connection
            self.bell.ring()
            log.warning(LogLine.CONNECTION_LOST, connection="feed", error=in_words(error), retry_in_s=AGAIN_S)
            return AGAIN_S
        return GATHER_S
