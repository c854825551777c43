"""For tests of processors: run one batch without a database, with real decoding and real settlement.

ended = await run_batch(welcome, [{"to": "a@example.org"}, {"to": 7}])
assert ended[0].kind == "completed"
assert ended[1].kind == "failed" and "to" in ended[1].error
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from actiond.batch import finalizers, told
from actiond.batch.batch_run import run_rows
from actiond.batch.call import Call
from actiond.batch.lifespans import lifespans
from actiond.contract import home
from actiond.contract.action import Scope
from actiond.contract.hooks import RunResult
from actiond.contract.payload import is_async
from actiond.contract.processor import Processor
from actiond.contract.resource import Resource, offered
from actiond.contract.says import Executor
from actiond.rules import redaction
from actiond.rules.settlement import settle
from actiond.words import json_text
from actiond.words.claimed import ClaimedRow, Settlement

_RUN = 1


@dataclass(frozen=True, slots=True)
class EndedAction:
    """What would be written for one action."""

    kind: str  # completed, failed, retried, deferred, canceled
    result: Any
    error: str | None
    retry_in_s: float | None
    retries_left: int | None
    state: Any
    settlement: Settlement


async def run_batch(
    processor: Processor,
    payloads: Iterable[Any],
    *,
    related: Sequence[str | None] | None = None,
    states: Sequence[Any] | None = None,
    attempt: int = 1,
    retries_left: int | None = None,
    config: dict[str, Any] | None = None,
    resources: Mapping[Resource[Any], Any] | None = None,
    created_by: str = "",
) -> list[EndedAction]:
    """Call `processor` with these payloads; one EndedAction for each, in order.

    A batch processor gets all in one call, others get one after the other. Payloads take the way of a row:
    to JSON and back, then through the model of the handler. What is around its calls is, and its finalizer is called
    at the end. The resources of its module are open meanwhile, but for those in `resources`: {bank: something else}.
    """
    rows = [
        ClaimedRow(
            id=place + 1,
            related=related[place] if related else None,
            data=json_text.dumps(payload),
            state=json_text.dumps(states[place]) if states and states[place] is not None else None,
            retries_left=retries_left,
            attempts=attempt,
            crashes=0,
            priority=2,
            due_s=0.0,
            waited_s=0.0,
            created_by=created_by,
        )
        for place, payload in enumerate(payloads)
    ]
    calls = _Calls(processor, processor.policy.config if config is None else config)
    try:
        async with anyio.create_task_group() as tasks, lifespans(tasks, given=resources) as living:
            await living.open(home.resources([processor]))
            with offered(living.values):
                for share in [rows] if processor.batch else [[row] for row in rows]:
                    await calls.run(share)
                await calls.finalize()
    except ExceptionGroup as group:
        raise alone(group) from None
    return [calls.ended[row.id] for row in rows]


def alone(group: ExceptionGroup[Exception]) -> Exception:
    """What came out of task groups, without the groups where it is one error alone."""
    error: Exception = group
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class _Calls:
    """One after the other, each in a task of its own, as in the daemon: a deadline around a test concerns the test and
    is no doing of the handler."""

    def __init__(self, processor: Processor, config: Mapping[str, Any]) -> None:
        self.ended: dict[int, EndedAction] = {}
        self._processor = processor.in_this_process()
        self._config = config
        self._arounds = home.arounds(processor)
        self._error: str | None = None

    async def run(self, rows: list[ClaimedRow]) -> None:
        """The handler, and what becomes of its actions."""
        processor, rules = self._processor, self._processor.policy.rules
        call, scope = self._call(processor.handler, processor.executor is Executor.LOOP), Scope(_RUN, processor.name)

        async def run() -> None:
            redaction.hide(processor.redact, lambda: [processor.to_hide(row.data) for row in rows])
            outcomes = await run_rows(processor, self._config, rows, scope, call, None, self._arounds)
            for row, outcome in outcomes.decided:
                self.ended[row.id] = _ended(settle(row, _RUN, outcome, rules, jitter=0.0))
            self._error = self._error or told.in_short(outcomes.ended)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)

    async def finalize(self) -> None:
        """If there is anything to finalize, and anybody who does."""
        processor, finalize = self._processor, self._processor.finalize
        if finalize is None or not self.ended:
            return
        actions = tuple(finalizers.of(each.settlement) for each in self.ended.values())
        call, result = (
            self._call(finalize, is_async(finalize)),
            RunResult(_RUN, processor.name, actions, self._error, 0.0),
        )

        async def run() -> None:
            told.finalized(processor.name, _RUN, await call.run(result))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)

    def _call(self, handler: Callable[[Any], Any], in_loop: bool) -> Call:
        timeout_s = self._processor.policy.timeout
        return Call(handler, in_loop, timeout_s, lambda _: None, is_async=is_async(handler))


def _ended(settlement: Settlement) -> EndedAction:
    return EndedAction(
        kind=settlement.kind,
        result=json_text.loads_or_none(settlement.result),
        error=settlement.error,
        retry_in_s=settlement.delay_s,
        retries_left=settlement.retries_left,
        state=json_text.loads_or_none(settlement.state),
        settlement=settlement,
    )
