"""Rows -> decoded actions -> one handler call -> an outcome for each row.

Payloads are decoded one by one: one that does not fit fails alone, at once and for good, and the handler never
sees it. Every other row gets exactly one outcome here, whatever the handler does.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actiond.batch.call import Call, Ended, Stop
from actiond.contract import lineage
from actiond.contract.action import Action, Scope
from actiond.contract.batch import Batch, Transactions
from actiond.contract.processor import Processor
from actiond.rules.settlement import NO_OUTCOME
from actiond.words import duration
from actiond.words.claimed import ClaimedRow
from actiond.words.errors import PayloadInvalid
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


@dataclass(slots=True)
class Outcomes:
    """What one call came to. A row that is in neither was settled inside batch.transaction()."""

    decided: list[tuple[ClaimedRow, Outcome]]
    dropped: list[ClaimedRow]  # the lease was lost: nothing is written for these
    ended: Ended | None  # None: no payload fit, so there was no call


def decode(
    processor: Processor, rows: Sequence[ClaimedRow], scope: Scope
) -> tuple[list[Action[Any]], list[tuple[ClaimedRow, Outcome]]]:
    """The actions, and the rows whose payload does not fit with their failure."""
    actions: list[Action[Any]] = []
    broken: list[tuple[ClaimedRow, Outcome]] = []
    for row in rows:
        try:
            actions.append(Action(row, processor.decode(row.data), scope))
        except PayloadInvalid as wrong:
            broken.append((row, Failed(str(wrong), SUDDEN_DEATH)))
        except BaseException as wrong:  # a validator of the author: user code, which waits for nothing of ours
            broken.append((row, Failed(wrong, SUDDEN_DEATH)))
    return actions, broken


async def run_rows(
    processor: Processor,
    config: Mapping[str, Any],
    rows: Sequence[ClaimedRow],
    scope: Scope,
    call: Call,
    transactions: Transactions | None,
) -> Outcomes:
    """Decode, call, collect."""
    actions, broken = decode(processor, rows, scope)
    if not actions:
        return Outcomes(broken, [], None)
    argument = Batch(actions, scope, config, transactions) if processor.batch else actions[0]
    call.collect = functools.partial(_collect, processor, scope, actions, broken)
    with lineage.running(None if processor.batch else actions[0].id):
        ended = await call.run(argument)
    outcomes: Outcomes = call.collect(ended)
    return outcomes


def _collect(
    processor: Processor,
    scope: Scope,
    actions: list[Action[Any]],
    broken: list[tuple[ClaimedRow, Outcome]],
    ended: Ended,
) -> Outcomes:
    """What the call came to. For a runaway it is asked before the call has ended."""
    scope.closed = True
    open_actions = [action for action in actions if action.id not in scope.settled]
    for action in open_actions:
        if action.id in scope.entered:  # a runaway inside a transaction that never committed
            action.outcome = None
    if ended.stopped is Stop.CUT_OFF:
        return Outcomes(broken, [action.row for action in open_actions], ended)
    decided = [(action.row, outcome(action, ended, processor)) for action in open_actions]
    return Outcomes(broken + decided, [], ended)


def outcome(action: Action[Any], ended: Ended, processor: Processor) -> Outcome:
    """What became of one action of a call that ended.

    A mark stands, also when the handler raised or was stopped after it. Without one: the handler was stopped,
    or raised (the rows it did not mark fail with that), or returned - which completes one action, but says
    nothing of a batch. A completion in a call that forgot an await is not believed.
    """
    said = action.outcome or _unmarked(ended, processor)
    if isinstance(said, Completed) and ended.never_awaited:
        return Failed(f"coroutine {ended.never_awaited[0]!r} was never awaited: its work was not done")
    return said


def _unmarked(ended: Ended, processor: Processor) -> Outcome:
    if ended.stopped is Stop.TIMEOUT:
        ignored = ", and ignored that it was stopped" if ended.runaway else ""
        return Failed(f"timed out after {duration.in_words(ended.took_s)}{ignored}")
    if ended.stopped is not None:
        return Failed(str(ended.stopped), KEEP_ALIVE, after="0 s")
    if isinstance(ended.error, Failure):
        return ended.error.failed
    if ended.error is not None:
        return Failed(ended.error)
    if processor.batch:
        return NO_OUTCOME
    if isinstance(ended.value, Completed | Failed | Deferred | Waiting | Canceled):
        return ended.value
    return Completed(ended.value)
