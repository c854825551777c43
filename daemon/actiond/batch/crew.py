"""The hands of one processor: claimed work that is ready, and the calls that run.

Workers are tasks that take one piece of work after the other and end when there is none, so an idle processor
has none. The loop fills, the writer empties; the crew only rings when one of the two is worth a look.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from typing import Any

import anyio.lowlevel

from actiond.batch import told
from actiond.batch.batch_run import Outcomes
from actiond.batch.call import Call, Stop
from actiond.batch.calling import Calling, place, thread_left
from actiond.batch.execute_each import HandlerDatabase
from actiond.batch.finalizers import Finalizers
from actiond.batch.going_back import GoingBack
from actiond.batch.process_call import Lent
from actiond.batch.run import Run, Work
from actiond.batch.shared import Shared
from actiond.batch.write_back import WriteBack
from actiond.contract import home
from actiond.contract.policy import Policy
from actiond.contract.processor import Processor
from actiond.contract.resource import offer
from actiond.host.log import set_about
from actiond.postgres.action_store import ActionStore
from actiond.rules import redaction
from actiond.rules.pace import Speed
from actiond.rules.settlement import settle
from actiond.rules.sizing import Sizing
from actiond.words.claimed import ClaimedRow, Settlement

#: Handlers that never wait would keep the loop from claiming ahead while they run.
AT_A_STRETCH_S = 0.002


class Crew:
    """Runs work of one processor, `policy.concurrency` calls at once."""

    def __init__(
        self,
        processor: Processor,
        policy: Policy,
        store: ActionStore,
        writer: WriteBack,
        shared: Shared,
        ring: Callable[[], None],
    ) -> None:
        self.policy = policy
        self.speed, self.sizing = Speed(), Sizing()
        self._store = store
        self._writer = writer
        self._tally = writer.tally
        self._shared = shared
        self._ring = ring
        shared.suspects.rings.append(ring)
        self.finalizers = Finalizers(shared, lambda: self.policy.timeout, ring)
        writer.saved = self.finalizers.saved
        self.take(processor)
        self._ready: deque[Work] = deque()
        self._placing: set[Work] = set()  # taken by a worker that waits for a place on the daemon
        self._calls: dict[Call, Work] = {}
        self._workers = 0
        self._runs: dict[int, Run] = {}
        self._apart: dict[int, list[Work]] = {}  # the run of suspects whose turn it is, until it is alone
        self._going = GoingBack(self._return, shared.suspects)

    def take(self, processor: Processor) -> None:
        """From the next call on."""
        self.processor = processor
        self._arounds = home.arounds(processor, self._shared.arounds)
        self.finalizers.finalize = processor.finalize

    @property
    def in_hand(self) -> int:
        """Calls running and waiting to start, and runs that are being finalized."""
        apart = sum(map(len, self._apart.values())) + self._going.in_hand
        return len(self._ready) + len(self._placing) + len(self._calls) + apart + self.finalizers.in_hand

    @property
    def running(self) -> int:
        """Calls that run."""
        return len(self._calls)

    @property
    def calls(self) -> set[Call]:
        """Of handlers and of finalizers, those that run."""
        return {*self._calls, *self.finalizers.calls}

    def holding(self, task: asyncio.Task[Any]) -> dict[str, str | int] | None:
        """What the call that this task runs is about; None: it runs none of ours. From any thread."""
        for call, work in list(self._calls.items()):
            if call.task is task:
                return told.about(work)
        return None

    def asking(self) -> AbstractContextManager[bool]:
        """Around a claim and `add`: may it bring rows that daemons died on?"""
        return self._shared.suspects.asking()

    @property
    def runs(self) -> list[int]:
        """Ids of runs that have rows here."""
        return list(self._runs)

    def add(self, run_id: int, rows: Sequence[ClaimedRow], probe: bool = False) -> None:
        """The rows of one claim."""
        run = Run.of(run_id, self.processor.name, rows, probe)
        self._runs[run_id] = run
        self._tally.brought(rows, run.waits)
        self.finalizers.claimed(run)
        told.claimed(run)
        works = [Work(run, list(rows))] if self.processor.batch else [Work(run, [row]) for row in rows]
        self._apart[run_id] = works
        if not works[0].suspect:
            self._begin(run_id)
        elif not self._shared.suspects.take(run_id, lambda: self._begin(run_id)):
            self._going.put(run_id, self._apart.pop(run_id), out_of_turn=True)
            self._ring()

    def withdraw(self, run_id: int, action_id: int) -> None:
        """A person canceled or held this action, or its claim was lost: let the handler see it."""
        if run_id in self._runs:
            self._runs[run_id].withdrawn.add(action_id)
        for call, work in self._calls.items():
            if work.run.id == run_id:
                call.withdraw(action_id)

    def stop_calls(self, why: Stop) -> int:
        """Cancel what runs; gives how many calls that were."""
        for call in list(self._calls):
            call.stop(why)
        return len(self._calls) + (self.finalizers.stop(why) if why is Stop.DRAIN else 0)

    async def give_back(self) -> int:
        """What never started goes back, uncharged. What cannot be given back just now stays in hand."""
        for work in [*self._placing, *self._ready, *chain.from_iterable(self._apart.values())]:
            self._going.put(work.run.id, [work])
        self._empty()
        return await self._going.give_back()

    def put_back(self) -> None:
        """What waits to start goes back at the next look. Not suspects: they have their turn."""
        for work in [each for each in self._ready if not each.suspect]:
            self._ready.remove(work)
            self._going.put(work.run.id, [work])

    async def give_back_unwelcome(self) -> int:
        """Suspects that came while others have their turn, and what was put back."""
        return await self._going.give_back()

    async def _return(self, run_id: int, works: Sequence[Work]) -> int:
        ids = [row.id for work in works for row in work.rows]
        returned = await self._store.give_back(run_id, ids)
        if (run := self._runs.get(run_id)) is not None:  # else the claims were lost meanwhile
            run.open -= len(ids)
            if run.open == 0:
                self._close(run)
                self._writer.add([], run)
        return returned

    def forget(self) -> None:
        """The claims were lost: whatever is here is no longer ours."""
        self._empty()
        self._going.forget()
        self.finalizers.forget()
        for run in list(self._runs.values()):
            self._close(run)
        self.stop_calls(Stop.CUT_OFF)

    def _empty(self) -> None:
        for waiting in (self._placing, self._ready, self._apart):
            waiting.clear()

    def _close(self, run: Run) -> None:
        """Nothing of it is here any more."""
        told.run_over(run)
        self._runs.pop(run.id, None)
        self._shared.suspects.over(run.id)

    def _begin(self, run_id: int) -> None:
        self._ready.extend(self._apart.pop(run_id, ()))
        self._hire()

    def _hire(self) -> None:
        for _ in range(min(len(self._ready), self.policy.concurrency - self._workers)):
            self._workers += 1
            self._shared.tasks.start_soon(self._work)

    async def _work(self) -> None:
        """One worker: until there is no more work, or too many workers."""
        abandoned, rested_s = False, time.monotonic()
        offer(self._shared.lifespans.values)
        try:
            while self._ready and self._workers <= self.policy.concurrency and not abandoned:
                if time.monotonic() - rested_s > AT_A_STRETCH_S:
                    await anyio.lowlevel.checkpoint()
                    rested_s = time.monotonic()
                    continue
                work = self._ready.popleft()
                self._placing.add(work)
                async with place(self.processor, self._shared) as lent:
                    if work in self._placing:  # else its claim was lost or given back while it waited
                        self._placing.remove(work)
                        abandoned = await self._one(work, lent)
        finally:
            if not abandoned:  # a runaway's place was written off when it was found out
                self._workers -= 1
                self._ring()

    async def _one(self, work: Work, lent: Lent | None) -> bool:
        """One call and its settlements; True if it was abandoned meanwhile."""
        processor, policy, scope = self.processor, self.policy, work.run.scope()
        rules, shared = work.run.rules(policy.rules), self._shared
        calling = Calling.of(processor, policy.timeout, lent, self._runaway, shared)
        call = calling.call
        self._calls[call] = work
        set_about(told.about(work))  # also for what libraries log inside
        landed = partial(self._landed, work)
        redaction.hide(processor.redact, lambda: map(processor.to_hide, work.payloads()))
        database = partial(HandlerDatabase, shared.handler_pool, self._store, rules, landed)
        work.spans = shared.tracing.call(work, processor.batch) if shared.tracing else None
        try:
            with work.spans or nullcontext():
                outcomes = await calling.run(policy.config, rules, work.rows, scope, database, self._arounds)
        finally:
            self._calls.pop(call, None)
        if call.left_a_thread:
            thread_left(call, shared, partial(told.runaway, self._tally, call, work))
        if not call.abandoned:
            self._settle(work, outcomes)
        return call.abandoned

    def _settle(self, work: Work, outcomes: Outcomes) -> None:
        ended, rules = outcomes.ended, work.run.rules(self.policy.rules)
        took_s = ended.took_s if ended else 0.0
        self.finalizers.call_ended(work.run.id, ended)
        if ended is not None:
            self.speed.ended(took_s)
            told.ended(self._tally, work, ended, self.policy.timeout, outcomes.isolated)
        settlements = outcomes.settled + [
            settle(row, work.run.id, outcome, rules, random.random())  # noqa: S311 - jitter
            for row, outcome in outcomes.decided
        ]
        told.failed(self.processor.name, settlements)
        told.sized(self.sizing, self.policy, work, settlements, took_s)
        if self.policy.bounds.breaker is not None:
            self._shared.settled(self.processor.name, settlements)
        if work.spans is not None:
            work.spans.settled(settlements)
            work.spans.ended(told.in_short(ended))
        work.run.ended(len(work.rows), took_s)
        if work.run.open == 0:
            self._close(work.run)
        if outcomes.dropped:
            return
        quiet = self._writer.waiting > 0 and len(self._ready) > 0
        self._writer.add(settlements, work.run)
        if not quiet:
            self._ring()

    def _landed(self, work: Work, settlements: Sequence[Settlement]) -> None:
        """Committed by the handler itself."""
        self._tally.landed(settlements)
        self._shared.landed(self.processor.name, settlements)
        self.finalizers.saved(settlements)
        if work.spans is not None:
            work.spans.settled(settlements)

    def _runaway(self, call: Call) -> None:
        """Out of grace: settle without it, and let another worker take its place."""
        work = self._calls.pop(call)
        told.runaway(self._tally, call, work)
        self._settle(work, call.collect(call.runaway()))
        self._workers -= 1
        self._shared.runaway()
        self._hire()
        self._ring()
