"""What a handler can say of an action.

Five marks and one exception. A failure has an error text and may be charged; a deferral has none and is
never charged. What a mark comes to (retried or failed, and when again) is decided in rules/settlement.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any


class RetryBehavior(StrEnum):
    """What a failure costs.

    ALLOW_RETRY   one retry; with none left the action has failed
    KEEP_ALIVE    nothing: it comes back later, for as long as it takes
    SUDDEN_DEATH  the action has failed; its retries are kept
    """

    ALLOW_RETRY = "ALLOW_RETRY"
    KEEP_ALIVE = "KEEP_ALIVE"
    SUDDEN_DEATH = "SUDDEN_DEATH"


ALLOW_RETRY = RetryBehavior.ALLOW_RETRY
KEEP_ALIVE = RetryBehavior.KEEP_ALIVE
SUDDEN_DEATH = RetryBehavior.SUDDEN_DEATH

#: A distance in time: a timedelta, or text as "5 min", "1 h 30 min", "0.5 s".
Duration = timedelta | str


@dataclass(frozen=True, slots=True)
class Completed:
    """Done; `result` is kept with the row as JSON. `final` ends a recurring action, too."""

    result: Any = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """Not done; `after` replaces the processor's retry interval."""

    error: Any
    behavior: RetryBehavior = ALLOW_RETRY
    after: Duration | None = None


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not now, and nothing is wrong: again after `after`, with `state` as `action.state`."""

    after: Duration = timedelta(0)
    state: Any = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Again once none of its children is open, with `state` as `action.state`."""

    state: Any = None


@dataclass(frozen=True, slots=True)
class Canceled:
    """Not needed any more."""

    reason: str = ""


Outcome = Completed | Failed | Deferred | Waiting | Canceled


class Failure(Exception):
    """Raised by a handler: this action failed, and this is what it costs. The arguments are those of `fail`."""

    def __init__(self, error: Any, behavior: RetryBehavior = ALLOW_RETRY, *, after: Duration | None = None) -> None:
        super().__init__(error)
        self.failed = Failed(error, RetryBehavior(behavior), after)
