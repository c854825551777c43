"""batch.execute_each(): one statement for many rows, where one bad row fails alone.

A try is one transaction (see transaction): the rows that are still ours are locked, the statement runs for all of
them in one round trip, their completions are written, all of it commits. What the database refuses, the statement or
a deferred constraint at the commit, is looked for in halves: k bad of n rows cost at most k (2 log2(n/k) + 2) + 1
tries. A savepoint for each row would cost every good row two more round trips, and the server a subtransaction.

Lost connections, deadlocks and their like say nothing about a row: the same rows are tried again, a few times.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import anyio

from actiond.batch.transaction import HandlerTransactions
from actiond.contract.action import Action
from actiond.contract.batch import Argued, Batch
from actiond.postgres.connection import Pooled, Trouble, passes, trouble
from actiond.rules.bisect import Bisection

TRIES = 5  # of the same rows, while connections break, deadlocks are found, ...
_FIRST_PAUSE_S = 0.05


class HandlerDatabase(HandlerTransactions):
    """All that a batch can ask of the database."""

    async def execute_each(self, batch: Batch[Any], sql: str, rows: Sequence[Argued]) -> list[Action[Any]]:
        """The actions whose row was accepted. Those of refused rows have failed; others left the batch."""
        search = Bisection([row for row in rows if row[0].id not in self._scope.settled])
        accepted, tries = list[Action[Any]](), 0
        while search.next() is not None:
            try:
                async with self._pool.acquire() as connection:
                    while (part := search.next()) is not None:
                        accepted += await self._try(connection, batch, sql, part, search)
                        tries = 0
            except Exception as error:  # the boundary of a connection
                tries += 1
                if tries == TRIES or not passes(error):
                    raise
                await anyio.sleep(_FIRST_PAUSE_S * 2**tries * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        return accepted

    async def _try(
        self, connection: Pooled, batch: Batch[Any], sql: str, part: list[Argued], search: Bisection[Argued]
    ) -> list[Action[Any]]:
        """One transaction, and what it says to the search."""
        try:
            async with self._on(connection, batch, [action for action, _ in part]) as ours:
                entered = self._scope.entered
                await _execute(connection, sql, [arguments for action, arguments in part if action.id in entered])
                for action in ours:
                    action.complete()
        except Exception as error:  # the boundary of a connection
            if trouble(error) is not Trouble.REFUSED:
                raise
            if len(part) == 1:
                part[0][0].fail(error.with_traceback(None))  # what the database said; the frames are ours
            search.refused()
            return []
        search.accepted()
        return [action for action, _ in part if action.id in self._scope.settled]


async def _execute(connection: Pooled, sql: str, rows: list[tuple[Any, ...]]) -> None:
    if len(rows) == 1:  # an error of executemany would count elements
        await connection.fetch(sql, *rows[0])
    elif rows:
        await connection.executemany(sql, rows)
