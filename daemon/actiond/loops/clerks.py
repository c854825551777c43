"""The loops that keep the books: they work in small pieces, nobody waits for them, and any daemon may do their work.

    figures    twice a minute, runs that ended are added to their hours (sql/fold_runs.sql), so that figures cost little
    old rows   what has outlived the retention of its processor goes, a page at a time (sql/functions/140_retention.sql)

Several daemons at once do no harm. Without them figures are right all the same and only slower to read, and old rows
stay longer.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import anyio

from actiond.host.log import get_logger
from actiond.postgres.connection import Pool, in_words
from actiond.postgres.retention_store import RetentionStore
from actiond.postgres.run_store import RunStore
from actiond.postgres.statements import Statements
from actiond.words.log_lines import LogLine

FOLD_S = 30.0
RETENTION_S = 60.0  # is it time for a walk?
_BREATH_S = 0.2  # between two pieces of much: claims go before the books

log = get_logger()


class Clerk:
    """One task. `piece` does one piece of the work, and says whether there is more."""

    def __init__(self, name: str, piece: Callable[[], Awaitable[bool]], rest_s: float) -> None:
        self._name = name
        self._piece = piece
        self._rest_s = rest_s

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await anyio.sleep(await self.step())

    async def step(self) -> float:
        """One piece; how long until the next, in seconds."""
        try:
            more = await self._piece()
        except Exception as error:  # the boundary of a connection
            log.warning(LogLine.CONNECTION_LOST, connection=self._name, error=in_words(error), retry_in_s=self._rest_s)
            return self._rest_s
        # Not in step with other daemons.
        return _BREATH_S if more else self._rest_s * random.uniform(0.9, 1.1)  # noqa: S311


def of_figures(store: RunStore) -> Clerk:
    """Adds up runs."""
    return Clerk("fold", store.fold, FOLD_S)


def of_old_rows(store: RetentionStore) -> Clerk:
    """Deletes them."""

    async def page() -> bool:
        seen = await store.purge()
        if seen is not None and seen.deleted_by_walk:
            log.info(LogLine.OLD_ROWS_DELETED, actions=seen.deleted_by_walk)
        return seen is not None and seen.walk_goes_on

    return Clerk("retention", page, RETENTION_S)


def clerks(pool: Pool, statements: Statements) -> tuple[Clerk, ...]:
    """One of each."""
    return of_figures(RunStore(pool, statements)), of_old_rows(RetentionStore(pool, statements))
