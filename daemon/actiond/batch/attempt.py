"""One call of a handler, seen from its rows: what they were decoded to, and what became of each.

Payloads are decoded one by one: one that does not fit fails alone, at once and for good, one of a version that is not
known yet, or without its key, comes back, and the handler sees neither. Every other row gets exactly one outcome here,
whatever the handler does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actiond.batch.call import Ended, Stop
from actiond.contract.action import Action, Scope
from actiond.contract.processor import Processor
from actiond.rules.settlement import NO_OUTCOME
from actiond.words import duration
from actiond.words.claimed import ClaimedRow
from actiond.words.errors import PayloadInvalid, PayloadLocked, PayloadNewer
from actiond.words.outcome import (
    KEEP_ALIVE,
    SUDDEN_DEATH,
    Canceled,
    Completed,
    Deferred,
    Failed,
    Failure,
    Outcome,
    Waiting,
)

Decided = list[tuple[ClaimedRow, Outcome]]


def decode(processor: Processor, rows: Sequence[ClaimedRow], scope: Scope) -> tuple[list[Action[Any]], Decided]:
    """The actions, and the rows whose payload does not fit with their failure."""
    actions: list[Action[Any]] = []
    broken: Decided = []
    for row in rows:
        try:
            actions.append(Action(row, processor.decode(row.data), scope))
        except (PayloadNewer, PayloadLocked) as wrong:  # another daemon knows it, or this one will: nothing is charged
            broken.append((row, Failed(str(wrong), KEEP_ALIVE)))
        except PayloadInvalid as wrong:
            broken.append((row, Failed(str(wrong), SUDDEN_DEATH)))
        except BaseException as wrong:  # a validator of the author: user code, which waits for nothing of ours
            broken.append((row, Failed(wrong, SUDDEN_DEATH)))
    return actions, broken


@dataclass(slots=True)
class Attempt:
    """The actions of one call."""

    processor: Processor
    scope: Scope
    actions: list[Action[Any]]

    def close(self) -> list[Action[Any]]:
        """No mark counts any more; gives the actions that batch.transaction() has not decided for good."""
        self.scope.closed = True
        open_actions = [action for action in self.actions if action.id not in self.scope.settled]
        for action in open_actions:
            if action.id in self.scope.entered:  # a runaway inside a transaction that never committed
                action.outcome = None
        return open_actions

    def outcomes(self, actions: Sequence[Action[Any]], ended: Ended) -> Decided:
        """What became of these, given how the call ended."""
        return [(action.row, outcome(action, ended, self.processor)) for action in actions]


def outcome(action: Action[Any], ended: Ended, processor: Processor) -> Outcome:
    """What became of one action of a call that ended.

    A mark stands, also when the handler raised or was stopped after it. Without one: the handler was stopped,
    or raised (the rows it did not mark fail with that), or returned - which completes one action, but says
    nothing of a batch. A completion in a call that forgot an await is not believed.
    """
    said = action.outcome or unmarked(ended, processor)
    if isinstance(said, Completed) and ended.never_awaited:
        return Failed(f"coroutine {ended.never_awaited[0]!r} was never awaited: its work was not done")
    return said


def unmarked(ended: Ended, processor: Processor) -> Outcome:
    """What becomes of an action that its handler said nothing of."""
    if ended.stopped is Stop.TIMEOUT:
        ignored = ", and ignored that it was stopped" if ended.runaway else ""
        return Failed(f"timed out after {duration.in_words(ended.took_s)}{ignored}")
    if ended.stopped is not None:
        return Failed(str(ended.stopped), KEEP_ALIVE, after="0 s")
    if isinstance(ended.error, Failure):
        return ended.error.failed
    if ended.error is not None:
        return Failed(ended.error, processor.on_error.behavior(ended.error))
    if processor.batch:
        return NO_OUTCOME
    if isinstance(ended.value, Completed | Failed | Deferred | Waiting | Canceled):
        return ended.value
    return Completed(ended.value)
