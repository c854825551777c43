"""Presences in the test's own loop, and what each of them told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from actiond.postgres.presence import Callbacks, Identity, Presence
from actiond.postgres.statements import Statements
from support.database import Database, eventually
from support.work import LEASE_S


class Told:
    """A presence that runs, and its news: (what, about what), in order."""

    def __init__(self, db: Database, sql: Statements, heard: Any = None) -> None:
        self.news: list[tuple[Any, ...]] = []
        self.dead: list[int] = []
        callbacks = Callbacks(
            heard=heard or (lambda channel, payload: self.news.append((channel, payload))),
            registered=lambda daemon: self.news.append(("registered", daemon)),
            beaten=self.dead.extend,
            declared_dead=lambda daemon: self.news.append(("declared dead", daemon)),
            session=lambda up, why: self.news.append(("up",) if up else ("down",)),
        )
        self.presence = Presence(db.dsn, Identity("here", 1, "0", ["p"], LEASE_S), callbacks, sql)
        self._task = asyncio.create_task(self.presence.run())

    @property
    def daemon(self) -> int:
        """The id it has now."""
        return [about[0] for what, *about in self.news if what == "registered"][-1]

    def times(self, *news: Any) -> int:
        """How often it told this."""
        return self.news.count(news)

    async def tells(self, *news: Any, times: int = 1) -> None:
        """Wait for that."""
        await eventually(lambda: self.times(*news) >= times)

    async def stop(self) -> None:
        """At once, as a process that was killed."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def presences(db: Database) -> AsyncIterator[Any]:
    """A function that starts presences; each is up when it returns, and killed at the end."""
    started: list[Told] = []

    async def start(sql: Statements | None = None, heard: Any = None) -> Told:
        started.append(Told(db, sql or Statements(), heard))
        await started[-1].tells("up")
        return started[-1]

    try:
        yield start
    finally:
        for each in started:
            await each.stop()
