"""What is older than the retention of its processor goes, a page at a time: see sql/functions/140_retention.sql.

Any daemon may do it, one at a time does. Nobody waits for it, so there are breaths between the pages.
"""

from __future__ import annotations

import random

import anyio

from actiond.host.log import get_logger
from actiond.postgres.connection import in_words
from actiond.postgres.retention_store import RetentionStore
from actiond.words.log_lines import LogLine

LOOK_S = 60.0  # is it time for a walk?
_BREATH_S = 0.2  # between two pages: claims go before this

log = get_logger()


class RetentionLoop:
    """One task."""

    def __init__(self, store: RetentionStore) -> None:
        self._store = store

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await anyio.sleep(await self.step())

    async def step(self) -> float:
        """One page; how long until the next, in seconds."""
        try:
            page = await self._store.purge()
        except Exception as error:  # the boundary of a connection
            log.warning(LogLine.CONNECTION_LOST, connection="retention", error=in_words(error), retry_in_s=LOOK_S)
            return LOOK_S
        if page is not None and page.walk_goes_on:
            return _BREATH_S
        if page is not None and page.deleted_by_walk:
            log.info(LogLine.OLD_ROWS_DELETED, actions=page.deleted_by_walk)
        return LOOK_S * random.uniform(0.9, 1.1)  # noqa: S311 - not in step with other daemons
