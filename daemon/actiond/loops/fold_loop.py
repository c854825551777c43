"""Twice a minute the runs that ended are added to their hours, so that figures cost little to read.

Any daemon may do it; several at once do no harm. Nobody waits for it: without it figures are right all the same,
and only slower to read.
"""

from __future__ import annotations

import random

import anyio

from actiond.host.log import get_logger
from actiond.postgres.connection import in_words
from actiond.postgres.run_store import RunStore
from actiond.words.log_lines import LogLine

FOLD_S = 30.0
_BREATH_S = 0.2  # between two pieces of much: claims go before figures

log = get_logger()


class FoldLoop:
    """One task."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await anyio.sleep(await self.step())

    async def step(self) -> float:
        """One piece; how long until the next."""
        try:
            more = await self._store.fold()
        except Exception as error:  # the boundary of a connection
            log.warning(LogLine.CONNECTION_LOST, connection="fold", error=in_words(error), retry_in_s=FOLD_S)
            return FOLD_S
        # Not in step with other daemons.
        return _BREATH_S if more else FOLD_S * random.uniform(0.9, 1.1)  # noqa: S311
