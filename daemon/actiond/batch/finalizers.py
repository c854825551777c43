"""The finalizer of a processor: called once for each run that is over, when everything of it is saved.

    claimed -> calls end -> outcomes are confirmed, or commit inside batch.transaction() -> the run's end is confirmed
                                                                                             -> finalize(result)

What a handler raised is no reason not to call it; a daemon that died is. A run that is being finalized counts as work
in hand: so nothing piles up when a finalizer is slow, and a daemon that stops waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from actiond.batch import told
from actiond.batch.call import Call, Ended, Stop
from actiond.batch.run import Run
from actiond.batch.shared import Shared
from actiond.contract.hooks import Finalize, RunAction, RunResult
from actiond.contract.payload import is_async
from actiond.contract.resource import offer
from actiond.host.log import set_about
from actiond.postgres.action_store import EndedRun
from actiond.words.claimed import Settlement


@dataclass(slots=True)
class _Record:
    """One run, until it is over."""

    processor: str
    began_s: float
    actions: dict[int, RunAction] = field(default_factory=dict)
    error: str | None = None
    called: bool = False  # else all of it was given back


class Finalizers:
    """Of one processor on this daemon."""

    def __init__(self, shared: Shared, timeout_s: Callable[[], float], ended: Callable[[], None]) -> None:
        self.finalize: Finalize | None = None
        self._shared = shared
        self._timeout_s = timeout_s
        self._ended = ended
        self._records: dict[int, _Record] = {}
        self.calls: set[Call] = set()  # those that run
        self._waiting = 0

    @property
    def in_hand(self) -> int:
        """Running, or about to."""
        return self._waiting

    def claimed(self, run: Run) -> None:
        """A run begins."""
        if self.finalize is not None:
            self._records[run.id] = _Record(run.processor, run.began_s)

    def call_ended(self, run_id: int, how: Ended | None) -> None:
        """One call of it; the first error is kept."""
        if (record := self._records.get(run_id)) is not None:
            record.called = True
            record.error = record.error or told.in_short(how)

    def saved(self, settlements: Iterable[Settlement], ended: Sequence[EndedRun] = ()) -> None:
        """These outcomes are in the database, and so is the end of these runs."""
        if not self._records:
            return
        for each in settlements:
            if (record := self._records.get(each.run_id)) is not None:
                record.actions[each.id] = of(each)
        for run in ended:
            over = self._records.pop(run.id, None)
            if over is not None and over.called:
                self._waiting += 1
                self._shared.tasks.start_soon(self._finalize, run.id, over)

    def forget(self) -> None:
        """The claims were lost: what becomes of these runs others decide."""
        self._records.clear()

    def stop(self, why: Stop) -> int:
        """Cancel what runs; gives how many calls that were."""
        for call in list(self.calls):
            call.stop(why)
        return len(self.calls)

    async def _finalize(self, run_id: int, record: _Record) -> None:
        finalize = self.finalize
        try:
            if finalize is not None:
                took_s = round(time.monotonic() - record.began_s, 3)
                result = RunResult(run_id, record.processor, tuple(record.actions.values()), record.error, took_s)
                await self._call(finalize, result)
        finally:
            self._waiting -= 1
            self._ended()

    async def _call(self, finalize: Finalize, result: RunResult) -> None:
        set_about({"processor": result.processor, "run_id": result.run_id})
        offer(self._shared.lifespans.values)
        call = Call(finalize, is_async(finalize), self._timeout_s(), self._out_of_grace, self._shared.threads)
        self.calls.add(call)
        try:
            ended = await call.run(result)
        finally:
            self.calls.discard(call)
        if call.left_a_thread:
            self._shared.left.append(call)
        told.finalized(result.processor, result.run_id, ended)

    def _out_of_grace(self, call: Call) -> None:
        """Nothing can end it: it is left to the end of the process, like any other runaway."""
        self.calls.discard(call)
        self._shared.runaway()


def of(settlement: Settlement) -> RunAction:
    """As people know it: what waits for its children is deferred, what repeats has ended one way or the other."""
    outcome = "deferred" if settlement.kind == "waiting" else settlement.kind
    if outcome == "repeated":
        outcome = "failed" if settlement.error is not None else "completed"
    return RunAction(settlement.id, outcome, settlement.error)
