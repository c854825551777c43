"""Rows -> decoded actions -> a handler call -> an outcome for each row.

A batch processor that may be called again (`isolate`) is: should its handler raise, in halves (see isolation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from actiond.batch.attempt import Attempt, Decided, decode
from actiond.batch.call import Call, Ended, Stop
from actiond.batch.isolation import Isolated, Isolation
from actiond.batch.surroundings import Surroundings
from actiond.contract import lineage
from actiond.contract.action import Action, Scope
from actiond.contract.batch import Batch, Transactions
from actiond.contract.hooks import Enterable
from actiond.contract.processor import Processor
from actiond.words.claimed import ClaimedRow, Settlement


@dataclass(slots=True)
class Outcomes:
    """What one call came to. A row that is in neither was settled inside batch.transaction()."""

    decided: Decided
    dropped: list[ClaimedRow]  # the lease was lost: nothing is written for these
    ended: Ended | None  # None: no payload fit, so there was no call
    isolated: Isolated | None = None  # the handler raised and was called again
    settled: list[Settlement] = field(default_factory=list)  # by the worker process where the handler ran


async def run_rows(
    processor: Processor,
    config: Mapping[str, Any],
    rows: Sequence[ClaimedRow],
    scope: Scope,
    call: Call,
    transactions: Callable[[Scope], Transactions] | None,
    arounds: Sequence[Enterable] = (),
) -> Outcomes:
    """Decode, call, collect."""
    scope.on_error, scope.run_as = processor.on_error, processor.run_as
    actions, broken = decode(processor, rows, scope)
    if not actions:
        return Outcomes(broken, [], None)
    attempt = Attempt(processor, scope, actions)

    def a_batch(attempt: Attempt) -> Batch[Any]:
        database = transactions(attempt.scope) if transactions else None
        return Batch(attempt.actions, attempt.scope, config, database)

    argument: Batch[Any] | Action[Any] = a_batch(attempt) if processor.batch else actions[0]
    surroundings = None
    if arounds:
        surroundings = Surroundings(arounds, argument if isinstance(argument, Batch) else a_batch(attempt))
    if processor.isolate and len(actions) > 1:
        return await _in_isolation(Isolation(attempt, a_batch), call, broken, surroundings)

    def collect(ended: Ended) -> Outcomes:
        """For a runaway it is asked before the call has ended."""
        open_actions = attempt.close()
        if ended.stopped is Stop.CUT_OFF:
            return Outcomes(broken, [action.row for action in open_actions], ended)
        return Outcomes(broken + attempt.outcomes(open_actions, ended), [], ended)

    call.collect = collect
    first = actions[0]
    with lineage.running(None) if processor.batch else lineage.running(first.id, first.trace):
        if surroundings is None:
            ended = await call.run(argument)
        else:
            ended = await call.drive(partial(surroundings.run, partial(call.called, argument)))
    return collect(ended)


async def _in_isolation(search: Isolation, call: Call, broken: Decided, around: Surroundings | None) -> Outcomes:
    def collect(ended: Ended) -> Outcomes:
        decided, isolated = search.collect(ended)
        if ended.stopped is Stop.CUT_OFF:
            return Outcomes(broken, [row for row, _ in decided], ended)
        return Outcomes(broken + decided, [], ended, isolated)

    call.collect = collect
    with lineage.running(None):
        ended = await call.drive(partial(around.run, partial(search.run, call)) if around else search.run)
    return collect(ended)
