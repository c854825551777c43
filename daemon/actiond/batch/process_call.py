"""One call in a worker process: a row goes there, its settlement comes back; a worker that dies fails its row.

The call in this process only waits for the worker, inside the deadline and the cancellation of every call. When it is
stopped the worker is killed: so here a timeout ends the work, whatever that is doing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

from actiond.batch.attempt import unmarked
from actiond.batch.batch_run import Outcomes
from actiond.batch.call import Call, Ended, Stop
from actiond.contract.action import Scope
from actiond.contract.processor import Processor
from actiond.host.frames import Message
from actiond.host.worker_process import WorkerProcess
from actiond.rules.settlement import Rules
from actiond.words.claimed import ClaimedRow, Settlement
from actiond.words.errors import WorkerDied, WorkerUnavailable
from actiond.words.outcome import KEEP_ALIVE, Failed

AGAIN = "10 s"  # until a row is tried again for which no worker could be started
_KINDS = {"completed", "failed", "retried", "deferred", "waiting", "repeated", "canceled"}

#: Who runs a call: a worker, or the reason why there is none.
Lent = WorkerProcess | WorkerUnavailable


class NotBegun(WorkerUnavailable):
    """The worker process had died before this action began."""


class Asking:
    """What the call of such an action calls in place of its handler."""

    def __init__(self, worker: Lent) -> None:
        self._worker = worker

    async def __call__(self, request: Message) -> Message:
        """The worker's answer. WorkerDied, or WorkerUnavailable if the handler was not called."""
        worker = self._worker
        if isinstance(worker, WorkerUnavailable):
            raise worker
        try:
            worker.send(request)
            try:
                await worker.answer()
            except WorkerDied as died:
                raise NotBegun(*died.args) from None
            answer = await worker.answer()
            if not _fits(answer, request):
                raise WorkerDied("it sent what is no outcome")
        except BaseException:  # also when the call is stopped: nothing else ends what it is doing
            worker.kill()
            raise
        worker.spent = bool(answer.get("spent"))
        return answer

    def withdraw(self, action_id: int) -> None:
        """Let the handler see it."""
        if isinstance(self._worker, WorkerProcess):
            self._worker.send({"withdrawn": action_id})


async def run_in_worker(
    asking: Asking,
    processor: Processor,
    config: Mapping[str, Any],
    rules: Rules,
    row: ClaimedRow,
    scope: Scope,
    call: Call,
) -> Outcomes:
    """Send, wait, collect; `call` is one of `asking`."""

    def collect(ended: Ended) -> Outcomes:
        if ended.stopped is Stop.CUT_OFF:
            return Outcomes([], [row], ended)
        if ended.value is not None:
            ended.never_awaited = [str(name) for name in ended.value["never_awaited"]]
            return Outcomes([], [], ended, settled=[Settlement(*ended.value["settled"])])
        if isinstance(ended.error, WorkerUnavailable) and ended.stopped is None:
            after = "0 s" if isinstance(ended.error, NotBegun) else AGAIN
            return Outcomes([(row, Failed(str(ended.error), KEEP_ALIVE, after))], [], ended)
        if isinstance(ended.error, WorkerDied):
            ended.error.__traceback__ = None  # it would show how we waited, and nothing of the handler
        return Outcomes([(row, unmarked(ended, processor))], [], ended)

    call.collect, call.withdraw = collect, asking.withdraw
    return collect(await call.run(_request(row, scope, config, rules)))


def _request(row: ClaimedRow, scope: Scope, config: Mapping[str, Any], rules: Rules) -> Message:
    return {
        "row": row,
        "run_id": scope.run_id,
        "config": dict(config),
        "retry": astuple(rules.retry),
        "history": rules.history,
        "charged": rules.charged,
    }


def _fits(answer: Message, request: Message) -> bool:
    """Is it the settlement of this row in this run? A worker may be the worse for what its handlers did."""
    settled, names = answer.get("settled"), answer.get("never_awaited")
    return (
        isinstance(settled, list)
        and len(settled) == len(Settlement._fields)
        and settled[:2] == [request["row"].id, request["run_id"]]
        and settled[2] in _KINDS
        and isinstance(names, list)
    )
