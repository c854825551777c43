"""For tests of processors: run one batch without a database, with real decoding and real settlement.

ended = await run_batch(welcome, [{"to": "a@example.org"}, {"to": 7}])
assert ended[0].kind == "completed"
assert ended[1].kind == "failed" and "to" in ended[1].error
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from actiond.batch.batch_run import run_rows
from actiond.batch.call import Call
from actiond.contract.action import Scope
from actiond.contract.processor import Processor
from actiond.contract.says import Executor
from actiond.rules.settlement import settle
from actiond.words import json_text
from actiond.words.claimed import ClaimedRow, Settlement
from actiond.words.outcome import Outcome

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
) -> list[EndedAction]:
    """Call `processor` with these payloads; one EndedAction for each, in order.

    A batch processor gets all in one call, others get one after the other. Payloads take the way of a row:
    to JSON and back, then through the model of the handler.
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
        )
        for place, payload in enumerate(payloads)
    ]
    settled: dict[int, EndedAction] = {}
    for share in [rows] if processor.batch else [[row] for row in rows]:
        settled |= await _one_call(processor, share, config)
    return [settled[row.id] for row in rows]


async def _one_call(
    processor: Processor, rows: list[ClaimedRow], config: dict[str, Any] | None
) -> dict[int, EndedAction]:
    policy = processor.policy
    processor = processor.in_this_process()
    in_loop = processor.executor is Executor.LOOP
    call = Call(processor.handler, in_loop, policy.timeout, lambda _: None, is_async=processor.is_async)
    scope = Scope(_RUN, processor.name)
    used = policy.config if config is None else config
    decided: list[tuple[ClaimedRow, Outcome]] = []

    async def run() -> None:
        decided.extend((await run_rows(processor, used, rows, scope, call, None)).decided)

    # A task of its own, as in the daemon: a deadline around this concerns us and is no doing of the handler.
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
    settlements = [settle(row, _RUN, outcome, policy.rules, jitter=0.0) for row, outcome in decided]
    return {each.id: _ended(each) for each in settlements}


def _ended(settlement: Settlement) -> EndedAction:
    return EndedAction(
        kind=settlement.kind,
        result=None if settlement.result is None else json_text.loads(settlement.result),
        error=settlement.error,
        retry_in_s=settlement.delay_s,
        retries_left=settlement.retries_left,
        state=None if settlement.state is None else json_text.loads(settlement.state),
        settlement=settlement,
    )
