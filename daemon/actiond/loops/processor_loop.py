"""One processor on this daemon: gate, pace, claim, start; and going to sleep without missing a row.

step() works and never sleeps; it returns how long there is nothing to do. run() sleeps and never works.

Going to sleep (why it cannot lose a wake-up: sql/functions/030_ring.sql):

    claim is empty -> try to take the doorbell
        another daemon has it      it will ring when it wakes up or goes; sleep
        inserters are under way    claim again a little later, and try again
        taken                      claim once more: whatever committed before is visible now; empty -> sleep

The bell stays taken through empty looks. Rows found while it is held: let go and ring once, because peers that
sleep counted on this daemon, and it is busy now.
"""

from __future__ import annotations

import random
import time
from datetime import datetime
from typing import Protocol

import anyio
import anyio.lowlevel

from actiond.batch.crew import Crew
from actiond.batch.run import Run
from actiond.batch.write_back import WriteBack
from actiond.host.log import get_logger
from actiond.loops.arming import Arming
from actiond.loops.bell import Bell
from actiond.loops.brakes import Brakes
from actiond.loops.opening import Opening
from actiond.loops.world import World
from actiond.postgres.action_store import ActionStore, Answer, Claim
from actiond.postgres.connection import Trouble, in_words, trouble
from actiond.rules import flags, gate, pace
from actiond.rules.watermark import Watermark
from actiond.words.errors import AnswerLost
from actiond.words.log_lines import LogLine

ERROR_PAUSE_S = {
    Trouble.LOST: (0.05, 1.0),  # a server that is back is found within a second
    Trouble.BUSY: (0.005, 0.5),
    Trouble.FULL: (0.5, 5.0),
    Trouble.MISFIT: (1.0, 10.0),
}
FULL_S = 0.25  # until the next look when the limit over all daemons is reached: no bell rings for a free place
_PUTS_BACK = {gate.Shut.FLAG_OFF, gate.Shut.WINDOW_CLOSED}  # what was claimed and has not begun

log = get_logger()


class Doorbell(Protocol):
    """What the loop needs of presence."""

    async def take(self, processor: str) -> tuple[bool, bool]: ...
    def leave(self, processor: str) -> None: ...
    def holds(self, processor: str) -> bool: ...


class ProcessorLoop:
    """Claims for one crew."""

    def __init__(
        self, crew: Crew, writer: WriteBack, store: ActionStore, doorbell: Doorbell, world: World, bell: Bell
    ) -> None:
        self.name = crew.processor.name
        self.crew = crew
        self.writer = writer
        self.bell = bell
        self.woken_at: datetime | None = None  # the stored wake, for run_on_insert = false
        self.policy_known = False  # overrides were read: before that nothing may be claimed
        self.brakes = Brakes()
        self.opening = Opening(world.clock)
        self.watermark = Watermark()
        self.steps = 0  # proof of progress
        self.trouble: str | None = None
        self._store = store
        self._doorbell = doorbell
        self._world = world
        self._suspects_left = False  # where the last claim looked, maybe
        self._asking = False  # a claim is under way
        self._lost_run = 0  # a claim whose answer was lost
        self.troubles = 0  # in a row
        self._told_s: float | None = None  # since when it is known to be lost
        self._arming = Arming()
        self._idle = True
        self._not_before_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            wait_s = await self.step()
            if wait_s == 0:
                self.bell.clear()  # the next claim is sent before what a full one brought begins to run
            else:
                await self.bell.wait(wait_s)

    async def step(self) -> float | None:
        """Look once; how long to sleep unless rung (None: until rung)."""
        self.steps += 1
        try:
            wait_s = await self._look()
        except Exception as error:  # the boundary of a connection
            return self._in_trouble(error)
        if self.trouble is not None:
            if self._told_s is not None:
                down_s = round(time.monotonic() - self._told_s, 2)
                log.info(LogLine.CONNECTION_RESTORED, connection=self.name, down_s=down_s)
            self.trouble, self.troubles, self._told_s = None, 0, None
        closes_in_s = self.opening.closes_in_s(self.crew.policy.hours) if self.crew.in_hand else None
        return min((s for s in (wait_s, closes_in_s) if s is not None), default=None)

    @property
    def claiming(self) -> bool:
        """Rows may be ours that nobody here has seen yet."""
        return self._asking or self._lost_run != 0

    def breaker_stands(self, left_s: float | None) -> None:
        """What the database says of the breaker: what is left of its pause, None = closed."""
        if self.brakes.told(None if self.crew.policy.bounds.breaker is None else left_s):
            self._breaker_turned()

    def suspect_breaker(self) -> None:
        """Its latest outcomes here are so bad: begin no more calls until they are reported."""
        self.brakes.suspect()
        self._breaker_turned()

    def _breaker_turned(self) -> None:
        if self.brakes.open:
            self.crew.put_back()
        self.bell.ring()

    def shut(self) -> list[gate.Shut]:
        """Why this processor may not claim; empty = it may."""
        world, policy = self._world, self.crew.policy
        return gate.shut(
            gate.Circumstances(
                stopping=world.stopping,
                cut_off=world.cut_off,
                paused=world.paused,
                enabled=policy.enabled,
                flag_on=flags.on(policy.flag, world.flags),
                window_left_s=self.opening.opens_in_s(policy.hours),
                woken=policy.run_on_insert or self.woken_at is not None,
                unsaved=self.writer.unsaved,
                unsaved_max=world.unsaved_max,
                breaker_left_s=self.brakes.breaker_left_s,
                rate_left_s=self.brakes.rate_left_s,
            )
        )

    async def _look(self) -> float | None:
        if self._lost_run and not self._world.cut_off:
            await self._recover()
        await self.crew.give_back_unwelcome()
        held_s = self._held_s()  # before the gate: what is over by then does not shut it
        shut = self.shut()
        if gate.Shut.UNSAVED in shut:
            log.error(LogLine.UNSAVED_OUTCOMES_FULL, unsaved=self.writer.unsaved, unsaved_max=self._world.unsaved_max)
        if not _PUTS_BACK.isdisjoint(shut):
            self.crew.put_back()
            await self.crew.give_back_unwelcome()
        if shut:
            self._doorbell.leave(self.name)
        wanted = 0 if shut or not self.policy_known else self._wanted()
        if wanted and (delay_s := self._start_delay_s()) > 0:
            return delay_s
        if wanted:
            return await self._claim(wanted)
        wait_s = self._flush_in_s()
        if wait_s == 0 or (wait_s is not None and shut and not held_s):
            await self.writer.send(None)
            return 0.0
        return min((s for s in (wait_s, held_s) if s is not None), default=None)

    def _held_s(self) -> float | None:
        """Until breaker, rate and window allow a claim; None = they do."""
        return max(self.brakes.left_s or 0.0, self.opening.opens_in_s(self.crew.policy.hours)) or None

    def _wanted(self) -> int:
        """Rows to ask for."""
        crew, policy = self.crew, self.crew.policy
        ahead = not policy.bounds.at_each_claim and not self.brakes.open
        if crew.processor.batch:
            return self._batch_size if pace.wanted_batches(policy.concurrency, crew.in_hand, crew.speed, ahead) else 0
        return pace.wanted_rows(policy.concurrency, self._batch_size, crew.in_hand, crew.speed, ahead)

    @property
    def _batch_size(self) -> int:
        return self.crew.sizing.of(self.crew.policy.batch_size)

    def _start_delay_s(self) -> float:
        """After a pause the first rows wait, so that a burst is claimed together."""
        delay_s = self.crew.policy.start_delay
        if not delay_s or not self._idle:
            return 0.0
        if not self._not_before_s:
            self._not_before_s = time.monotonic() + delay_s
        return self._not_before_s - time.monotonic()

    async def _claim(self, wanted: int) -> float | None:
        policy = self.crew.policy
        held = self._doorbell.holds(self.name)  # before the claim: only then is an empty claim the last word
        asked_s = time.monotonic()
        due_at, outcomes = None if policy.run_on_insert else self.woken_at, self.writer.waiting
        with self.crew.asking() as suspects:
            if suspects and self._suspects_left:
                self.watermark.forget(at_once=True)
            times, ids, whole = self.watermark.begin(asked_s)
            claim = Claim(self.name, wanted, pace.LEVELS, times, ids, due_at, suspects)
            answer = await self._send(claim)
            if self._world.cut_off or answer.daemon != self._store.daemon:
                return 0.0  # claimed under an id that was given up meanwhile: the next sweep returns what it holds
            self.brakes.claimed(answer, asked_s)
            if answer.rows:
                self._doorbell.leave(self.name)
                self._idle = False
                self._arming.over()
                self.crew.add(answer.run_id, answer.rows, answer.probe)
                if answer.probe:
                    log.info(LogLine.BREAKER_PROBES, processor=self.name, run_id=answer.run_id)
                elif self.brakes.open:  # since the claim was sent
                    self.crew.put_back()
        self._suspects_left = not suspects or any(row.crashes for row in answer.rows)
        short = len(answer.rows) < (wanted if answer.allowed is None else answer.allowed)
        self.watermark.claimed(answer.rows, time.monotonic(), short=short, outcomes=outcomes)
        self._not_before_s = 0.0
        if short and answer.rows:
            await anyio.lowlevel.checkpoint()  # no more wait there: what came begins before the next look
        if short and not whole:
            self.watermark.forget()
            if self.watermark.owed_in_s(time.monotonic()) == 0:
                return 0.0
            self._world.poll_soon()
        if self.brakes.left_s is not None:
            return 0.0  # the next look finds the gate shut, and how long
        if answer.rows:
            return 0.0 if self._wanted() else self._flush_in_s()
        if answer.full:
            return FULL_S
        self._idle = True
        return await self._sleep_s(held)

    def _flush_in_s(self) -> float | None:
        return pace.flush_in_s(self.writer.waiting, self.writer.oldest_s, self.crew.running, self._batch_size)

    async def _send(self, claim: Claim) -> Answer:
        bounds = self.crew.policy.bounds
        self._asking = True
        try:
            ask = bounds.at_each_claim or self.brakes.open
            return await self.writer.send(claim, bounds if ask else None, self.crew.processor.batch)
        except AnswerLost as lost:
            self._lost_run = int(str(lost.args[0]))
            raise
        finally:
            self._asking = False

    async def _sleep_s(self, held: bool) -> float | None:
        """Nothing was due. Take the bell, or find out that it is taken; then sleep until the next row is due."""
        if self.crew.policy.run_on_insert and self._world.listening and not held:
            sentinel, bell = await self._doorbell.take(self.name)
            if bell:
                log.debug(LogLine.DOORBELL_ARMED, processor=self.name)
                self.watermark.forget()
                return 0.0  # one more claim, now that the bell is held
            if sentinel:
                return self._arming.again_s()
        self._arming.over()
        due_s = await self._store.next_due_s(self.name) if self.crew.policy.run_on_insert else None
        times_s = (due_s, self.watermark.owed_in_s(time.monotonic()), self._flush_in_s(), self.writer.again_s)
        return min((s for s in times_s if s is not None), default=None)

    async def _recover(self) -> None:
        """A claim's answer was lost: find out what it holds, and run that."""
        with anyio.fail_after(10):
            rows = await self._store.recover(self._lost_run)
        log.info(LogLine.ANSWER_RECOVERED, processor=self.name, run_id=self._lost_run, rows=len(rows))
        run_id, self._lost_run = self._lost_run, 0
        if rows:
            self.crew.add(run_id, rows, probe=self.brakes.open and len(rows) == 1)
        else:  # it was voided; or a person took all of its rows away meanwhile, and nobody else would end it
            self.writer.add([], Run.of(run_id, self.name, rows))

    def _in_trouble(self, error: Exception) -> float:
        kind = Trouble.LOST if isinstance(error, AnswerLost) else trouble(error)
        cause = error.__cause__ if isinstance(error, AnswerLost) and error.__cause__ else error
        first_s, longest_s = ERROR_PAUSE_S.get(kind, ERROR_PAUSE_S[Trouble.MISFIT])
        pause_s: float = min(longest_s, first_s * 2 ** min(self.troubles, 12)) * random.uniform(0.75, 1.0)  # noqa: S311
        self.troubles += 1
        self._world.counts.troubles["claim"] += 1
        self.trouble = in_words(cause)
        if kind is not Trouble.BUSY or self.troubles > 5:
            self._told_s = self._told_s or time.monotonic()
            log.warning(LogLine.CONNECTION_LOST, connection=self.name, error=self.trouble, retry_in_s=round(pause_s, 2))
        return pause_s
