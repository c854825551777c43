"""What a batch handler holds: the actions of one processor that were claimed together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Protocol, TypeVar, overload

from actiond.contract.action import Action, Scope
from actiond.words.errors import NotInThisBatch, NoTransaction, RowsDoNotFit
from actiond.words.outcome import Duration, RetryBehavior

T = TypeVar("T")

#: An action, and the arguments of its statement.
Argued = tuple[Action[Any], tuple[Any, ...]]


class Transactions(Protocol):
    """Opens a transaction in which writes and marks commit together."""

    def __call__(self, batch: Batch[Any], actions: Sequence[Action[Any]]) -> AbstractAsyncContextManager[Any]: ...

    async def execute_each(self, batch: Batch[Any], sql: str, rows: Sequence[Argued]) -> list[Action[Any]]:
        """What is accepted commits with its completion; what the database refuses fails alone."""

    async def publish(self, event: str, data: Any, related: str | None, *, immediately: bool) -> int:
        """In the transaction that is open here, or at once in one of its own."""


class Batch(Sequence[Action[T]], Generic[T]):
    """The actions of one call. Mark each; what is left unmarked has failed: "processor returned no outcome"."""

    def __init__(
        self,
        actions: Sequence[Action[T]],
        scope: Scope,
        config: Mapping[str, Any],
        transactions: Transactions | None = None,
    ) -> None:
        self._actions = list(actions)
        self._scope = scope
        self._transactions = transactions
        #: The processor's own settings: policy knob `config`.
        self.config = config

    @property
    def run_id(self) -> int:
        """Of the run that this call is."""
        return self._scope.run_id

    @property
    def processor(self) -> str:
        """Whose actions these are."""
        return self._scope.processor

    def __len__(self) -> int:
        return len(self._actions)

    def __iter__(self) -> Iterator[Action[T]]:
        return iter(self._actions)

    @overload
    def __getitem__(self, index: int) -> Action[T]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Action[T]]: ...
    def __getitem__(self, index: int | slice) -> Action[T] | Sequence[Action[T]]:
        return self._actions[index]

    def complete(self, actions: Iterable[Action[T]] | None = None) -> None:
        """Mark these (default: all) completed."""
        for action in self._own(actions):
            action.complete()

    def fail(
        self,
        actions: Iterable[Action[T]] | None,
        error: Any,
        behavior: RetryBehavior | None = None,
        *,
        after: Duration | None = None,
    ) -> None:
        """Mark these (None: all) failed. NotInThisBatch for an action of another batch."""
        for action in self._own(actions):
            action.fail(error, behavior, after=after)

    def transaction(self, actions: Iterable[Action[T]] | None = None) -> AbstractAsyncContextManager[Any]:
        """`async with batch.transaction() as conn`: writes and marks made inside commit together.

        At entry the rows (default: all of the batch) that are still ours are locked and the others leave the
        batch. An exception rolls back both, writes and marks. `conn` is an asyncpg connection.
        """
        if self._transactions is None:
            raise NoTransaction("this batch has no database behind it (run_batch runs without one)")
        return self._transactions(self, list(self._own(actions)))

    async def execute_each(
        self,
        sql: str,
        rows: Iterable[Sequence[Any]] | Callable[[Action[T]], Sequence[Any]],
        actions: Iterable[Action[T]] | None = None,
    ) -> list[Action[T]]:
        """Run `sql` once for each action (default: all of the batch); gives those whose row was accepted.

        `rows` has a tuple of arguments for each action, in the order of the batch, or is a function that makes it
        of an action. All run in one transaction, and in one round trip. If the database refuses a value, halves of
        them run in transactions of their own until the bad one is alone: it has failed with what the database
        said, every other is completed, each together with what it wrote. An action whose tuple cannot be made
        fails alone, too. RowsDoNotFit if there is not one tuple for each; errors of the statement itself are
        raised, and those of the connection after some tries. An action is decided by this for good.
        """
        if self._transactions is None:
            raise NoTransaction("this batch has no database behind it (run_batch runs without one)")
        chosen = list(self._own(actions))
        argued: list[Argued] = []
        if callable(rows):
            for action in chosen:
                try:
                    argued.append((action, _arguments(rows(action))))
                except Exception as wrong:  # user code, for this action
                    action.fail(wrong)
        else:
            given = [_arguments(row) for row in rows]
            if len(given) != len(chosen):
                raise RowsDoNotFit(f"{len(given)} tuples for {len(chosen)} actions")
            argued = list(zip(chosen, given, strict=True))
        return await self._transactions.execute_each(self, sql, argued)

    async def publish(
        self, event: str, data: Any = None, *, related: str | None = None, immediately: bool = False
    ) -> int:
        """An event: one action for each processor that subscribed to it; gives how many.

        Inside `async with batch.transaction()`: it commits with the writes and the marks made there, or not at all.
        NoTransaction elsewhere. `immediately`: at once, on a connection and in a transaction of its own, with the
        rights of the daemon; it stays whatever becomes of this call and its transactions, and a call that is
        repeated publishes again.
        """
        if self._transactions is None:
            raise NoTransaction("this batch has no database behind it (run_batch runs without one)")
        return await self._transactions.publish(event, data, related, immediately=immediately)

    def drop(self, gone: Iterable[Action[T]]) -> None:
        """Take actions that are no longer ours out of the batch (used by `transaction`)."""
        left = {id(action) for action in gone}
        self._actions = [action for action in self._actions if id(action) not in left]

    def _own(self, actions: Iterable[Action[T]] | None) -> Iterable[Action[T]]:
        if actions is None:
            return list(self._actions)
        chosen = list(actions)
        mine = {id(action) for action in self._actions}
        for action in chosen:
            if id(action) not in mine:
                raise NotInThisBatch(f"action {action.id}")
        return chosen


def _arguments(row: Sequence[Any]) -> tuple[Any, ...]:
    if isinstance(row, str | bytes | Mapping) or not isinstance(row, Iterable):
        raise RowsDoNotFit(f"not {row!r}")
    return tuple(row)
