"""One action, as a handler holds it: payload, marks, keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import structlog

from actiond.rules.error_policy import PLAIN, ErrorPolicy
from actiond.words import duration, json_text
from actiond.words.claimed import ClaimedRow
from actiond.words.errors import BatchClosed
from actiond.words.outcome import (
    Canceled,
    Completed,
    Deferred,
    Duration,
    Failed,
    Outcome,
    RetryBehavior,
    Waiting,
)

T = TypeVar("T")
M = TypeVar("M", Completed, Failed, Deferred, Waiting, Canceled)

_DONE = Completed()  # by far the most frequent mark


@dataclass(slots=True)
class Scope:
    """One handler call, seen from its actions: is it still open, and what was taken away meanwhile."""

    run_id: int
    processor: str
    closed: bool = False
    withdrawn: set[int] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)  # inside batch.transaction(): decided for good
    entered: set[int] = field(default_factory=set)  # inside one that is open: what is marked there does not count yet
    on_error: ErrorPolicy = PLAIN  # of the processor
    run_as: str | None = None  # likewise: the role of its transactions


class Action(Generic[T]):
    """One piece of work. `data` is the payload, decoded and, with `Action[Model]`, validated."""

    __slots__ = ("_scope", "data", "outcome", "row")

    def __init__(self, row: ClaimedRow, data: T, scope: Scope) -> None:
        #: As claimed, undecoded.
        self.row = row
        self._scope = scope
        self.data = data
        #: The mark so far; None = none. Set it through the methods below.
        self.outcome: Outcome | None = None

    @property
    def id(self) -> int:
        """Of the row."""
        return self.row.id

    @property
    def related(self) -> str | None:
        """The key of the record that this action is about, as the producer gave it."""
        return self.row.related

    @property
    def attempt(self) -> int:
        """Which attempt this is; the first is 1."""
        return self.row.attempts

    @property
    def run_id(self) -> int:
        """Which run this is: another number at every attempt."""
        return self._scope.run_id

    @property
    def idempotency_key(self) -> str:
        """The same at every attempt: give it to outside systems, so that a repeated call changes nothing."""
        return f"actiond-{self.row.id}"

    @property
    def created_by(self) -> str:
        """The database role that asked for it; who inserts cannot choose it."""
        return self.row.created_by

    @property
    def repeats(self) -> bool:
        """Will it run again after it completes? (It has a `repeat_every`.)"""
        return self.row.repeats

    @property
    def state(self) -> Any:
        """What the last `defer` or `wait_for_children` kept, decoded; None at first."""
        return json_text.loads_or_none(self.row.state)

    @property
    def trace(self) -> str | None:
        """The producer's span as a W3C traceparent, if the row has one. What its handler enqueues gets it, too."""
        return self.row.trace

    @property
    def withdrawn(self) -> bool:
        """True once a person canceled or held this action, or its claim was lost: its outcome will not count."""
        return self.row.id in self._scope.withdrawn

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A logger that names this action."""
        logger: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            processor=self._scope.processor, run_id=self._scope.run_id, action_id=self.row.id
        )
        return logger

    def complete(self, result: Any = None, *, final: bool = False) -> Completed:
        """Done. `result` is kept with the row as JSON; `final` ends a recurring action. BatchClosed after the end."""
        return self._mark(_DONE if result is None and not final else Completed(result, final))

    def fail(self, error: Any, behavior: RetryBehavior | None = None, *, after: Duration | None = None) -> Failed:
        """Not done; `behavior` says what it costs, `after` when again (default: the processor's interval).

        Without a behavior an exception costs what the processor says of its class (dead_on, retry_on), anything
        else a retry.
        """
        if behavior is None:
            behavior = self._scope.on_error.behavior(error)
        if after is not None:
            duration.seconds(after)  # a wrong duration is the author's error here, not a failure later
        return self._mark(Failed(error, RetryBehavior(behavior), after))

    def defer(self, after: Duration, *, state: Any = None) -> Deferred:
        """Not now, and nothing is wrong: again after `after`, with `state` as `action.state`. Never charged."""
        duration.seconds(after)
        return self._mark(Deferred(after, state))

    def wait_for_children(self, *, state: Any = None) -> Waiting:
        """Again once none of its children is open, with `state` as `action.state`; never charged.

        Its children are the actions enqueued with it as their parent. They may have ended before this counts, and
        there may be none: then it runs again at once.
        """
        return self._mark(Waiting(state))

    def cancel(self, reason: str = "") -> Canceled:
        """Not needed any more."""
        return self._mark(Canceled(reason))

    def _mark(self, outcome: M) -> M:
        if self._scope.closed or self.row.id in self._scope.settled:
            raise BatchClosed(f"action {self.id}")
        self.outcome = outcome
        return outcome

    def __repr__(self) -> str:
        return f"<Action {self.id} of {self._scope.processor}, attempt {self.attempt}>"
