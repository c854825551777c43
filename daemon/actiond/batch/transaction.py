"""batch.transaction(): the handler's writes and its marks commit together.

Exactly once, for work in the same database. The rows are locked at entry, so a cancel waits until the commit
and a rescue finds them decided; rows that are not ours any more leave the batch. Begin, commit and rollback are
shielded: a timeout must not leave it open whether they happened.

What the handler writes is written as the role of its processor (`run_as`), if it has one; what is ours is not.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import anyio

from actiond.contract.action import Action, Scope
from actiond.contract.batch import Batch
from actiond.postgres import events, role
from actiond.postgres.action_store import ActionStore, Parcel
from actiond.postgres.connection import Pool, Pooled, Trouble, trouble
from actiond.rules.settlement import Rules, settle
from actiond.words.claimed import Settlement
from actiond.words.errors import LeaseLost, NoTransaction
from actiond.words.outcome import Outcome

_SHIELD_S = 5.0
#: The connection of the transaction that the running code is in.
_inside: ContextVar[Pooled | None] = ContextVar("actiond_transaction", default=None)


class HandlerTransactions:
    """Transactions of one call. Connections come from a pool of their own: handlers may hold them for long."""

    def __init__(
        self,
        pool: Pool,
        store: ActionStore,
        rules: Rules,
        landed: Callable[[Sequence[Settlement]], None],
        scope: Scope,
    ) -> None:
        self._pool = pool
        self._store = store
        self._rules = rules
        self._scope = scope
        self._landed = landed
        #: By id, what was in a commit whose answer was lost. Should it have landed, the rows are no longer ours.
        self._unsure: dict[int, tuple[Outcome | None, Settlement]] = {}

    @asynccontextmanager
    async def __call__(self, batch: Batch[Any], actions: Sequence[Action[Any]]) -> AsyncIterator[Pooled]:
        async with self._pool.acquire() as connection, self._on(connection, batch, actions):
            before = _inside.get()
            _inside.set(connection)
            try:
                yield connection
            finally:
                _inside.set(before)

    async def publish(self, event: str, data: Any, related: str | None, *, immediately: bool) -> int:
        """In the transaction that is open here, or at once in one of its own."""
        if immediately:
            # Not from the pool of handlers: many that each hold one of its connections would wait for each other.
            return await self._store.publish(event, data, related)
        connection = _inside.get()
        if connection is None:
            raise NoTransaction("publish inside `async with batch.transaction()`, or with immediately=True")
        return await events.publish(connection, event, data, related=related)

    @asynccontextmanager
    async def _on(
        self, connection: Pooled, batch: Batch[Any], actions: Sequence[Action[Any]]
    ) -> AsyncIterator[list[Action[Any]]]:
        """One transaction on this connection; gives the actions that are still ours."""
        before = {action.id: action.outcome for action in actions}
        transaction = connection.transaction()
        with anyio.CancelScope(shield=True), anyio.fail_after(_SHIELD_S):
            await transaction.start()
        try:
            ours = await self._enter(connection, batch, actions)
            before_role = await role.take(connection, self._scope.run_as) if self._scope.run_as else None
            yield ours
            if before_role is not None:
                await role.leave(connection, before_role)
            written = await self._write(connection, ours)
        except BaseException:
            self._undo(actions, before)
            with anyio.CancelScope(shield=True), anyio.move_on_after(_SHIELD_S):
                await transaction.rollback()
            raise
        try:
            with anyio.CancelScope(shield=True), anyio.fail_after(_SHIELD_S):
                await transaction.commit()
        except BaseException as error:  # refused by a deferred constraint, or lost
            if trouble(error) is Trouble.LOST:
                marks = {action.id: action.outcome for action in ours}
                self._unsure |= {settlement.id: (marks[settlement.id], settlement) for settlement in written}
            self._undo(actions, before)
            raise
        self._landed(written)
        self._scope.entered.difference_update(before)
        for action in ours:
            if action.outcome is None:
                action.outcome = before[action.id]
            else:
                self._scope.settled.add(action.id)

    def _undo(self, actions: Sequence[Action[Any]], before: dict[int, Outcome | None]) -> None:
        for action in actions:
            if action.id not in self._scope.settled:
                action.outcome = before[action.id]
        self._scope.entered.difference_update(before)

    async def _enter(self, connection: Pooled, batch: Batch[Any], actions: Sequence[Action[Any]]) -> list[Action[Any]]:
        still = await self._store.lock_claimed(connection, self._scope.run_id, [action.id for action in actions])
        for action in actions:
            if action.id in self._unsure and action.id not in still:  # so that commit had landed
                action.outcome, settlement = self._unsure.pop(action.id)
                self._scope.settled.add(action.id)
                self._landed([settlement])
        gone = [action for action in actions if action.id not in still and action.id not in self._scope.settled]
        self._scope.withdrawn.update(action.id for action in gone)
        batch.drop(gone)
        ours = [action for action in actions if action.id in still]
        for action in ours:
            action.outcome = None
        self._scope.entered.update(action.id for action in ours)
        return ours

    async def _write(self, connection: Pooled, ours: Sequence[Action[Any]]) -> list[Settlement]:
        settlements = [
            settle(action.row, self._scope.run_id, action.outcome, self._rules, random.random())  # noqa: S311 - jitter
            for action in ours
            if action.outcome is not None
        ]
        if settlements and await self._store.settle_within(connection, Parcel(settlements)):
            raise LeaseLost("rows locked in a transaction were not ours")
        return settlements
