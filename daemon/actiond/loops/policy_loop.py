"""The safety poll, one for all processors: overrides, stored wakes, and who has rows due.

Whatever a notification should have said and did not, this loop finds out within one interval. It also says
which names have rows that nobody here serves.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from actiond.contract.policy import KNOBS, Policy
from actiond.host.log import get_logger
from actiond.loops.bell import Bell
from actiond.loops.processor_loop import ProcessorLoop
from actiond.loops.world import World
from actiond.postgres.action_store import ActionStore
from actiond.postgres.connection import in_words
from actiond.postgres.processor_store import Poll, ProcessorStore, Standing
from actiond.rules import flags
from actiond.words.log_lines import LogLine

SHARE = 10  # a poll that took t is repeated for those who ask after so many t
QUEUE_SHARE = 0.1  # of notifications: `actiond doctor` speaks up here, too

log = get_logger()


class PolicyLoop:
    """Brings the loops up to date."""

    def __init__(
        self,
        store: ProcessorStore,
        actions: ActionStore,
        loops: dict[str, ProcessorLoop],
        world: World,
        interval_s: float,
        built_in: Callable[[str, Standing], Awaitable[None]],
    ) -> None:
        self.bell = Bell()
        self.steps = 0
        self._store = store
        self._actions = actions
        self._loops = loops
        self._world = world
        self._interval_s = interval_s
        self._built_in = built_in  # a processor made of a built-in was added or changed
        self._wakes: set[str] = set()
        self._warned: set[str] = set()
        self._served: tuple[int, list[str]] = (0, [])  # daemon, names: what the row of this daemon says
        self._again_s = 0.0  # the earliest that somebody who asks gets a poll
        self._soon: asyncio.TimerHandle | None = None
        self._polling = self._asked = False
        world.poll_soon = self._poll_soon

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.bell.wait(await self.step())

    def woken(self, names: list[str]) -> None:
        """A wake was heard for processors that run only when woken: the next poll stores it, if nobody did."""
        self._wakes.update(names)

    def _poll_soon(self) -> None:
        """A loop does not look from the beginning just now: so this one does, for a tenth of the time at most."""
        if self._polling:  # it may have looked already
            self._asked = True
        elif self._soon is None:
            wait_s = max(0.0, self._again_s - time.monotonic())
            self._soon = asyncio.get_running_loop().call_later(wait_s, self._poll_now)

    def _poll_now(self) -> None:
        self._soon = None
        self.bell.ring()

    async def step(self) -> float:
        """One poll; how long until the next."""
        self.steps += 1
        self._polling = True
        try:
            return await self._poll()
        finally:
            self._polling = False
            if self._asked:
                self._asked = False
                self._poll_soon()

    async def _poll(self) -> float:
        reached = {name: list(loop.watermark.reached) for name, loop in self._loops.items()}
        wakes, self._wakes = self._wakes, set()
        asked_s = time.monotonic()
        try:
            if wakes:
                await self._store.store_wake(sorted(wakes))
                wakes = set()
            poll = await self._store.poll()
            self._again_s = time.monotonic() + SHARE * (time.monotonic() - asked_s)
            waiting = await self._store.waiting_names()
            await self._look_for_withdrawn()
            for name, standing in poll.processors.items():
                if standing.uses is not None:
                    await self._built_in(name, standing)
            await self._tell_what_is_served()
        except Exception as error:  # the boundary of a connection
            self._wakes |= wakes
            self._world.counts.troubles["poll"] += 1
            log.warning(LogLine.CONNECTION_LOST, connection="poll", error=in_words(error), retry_in_s=1.0)
            return min(1.0, self._interval_s)
        for name, marks in reached.items():
            if name in poll.processors and name in self._loops:
                self._loops[name].watermark.due(poll.processors[name].due, marks)
        self._apply(poll, asked_s)
        self._warn(waiting)
        return self._interval_s * random.uniform(0.9, 1.1)  # noqa: S311 - so that daemons do not poll in step

    async def _tell_what_is_served(self) -> None:
        """Built-ins and reloads bring processors that this daemon did not have when it registered."""
        served = (self._actions.daemon, sorted(self._loops))
        if served != self._served:
            await self._store.serve(*served)
            self._served = served

    async def _look_for_withdrawn(self) -> None:
        """The same that a notification tells at once."""
        held = [(loop, run) for loop in self._loops.values() for run in loop.crew.runs]
        if held:
            gone = await self._actions.withdrawn([run for _, run in held])
            for loop, run in held:
                for run_id, action_id in gone:
                    if run_id == run:
                        loop.crew.withdraw(run_id, action_id)

    def _apply(self, poll: Poll, asked_s: float) -> None:
        world = self._world
        world.notify_outcomes = poll.notify_outcomes
        if world.listening and poll.queue > QUEUE_SHARE:
            log.warning(LogLine.NOTIFICATIONS_PILE_UP, full=round(poll.queue, 2))
        clock_set = poll.now is not None and world.clock.told(poll.now)
        if clock_set or (world.paused, world.flags) != (poll.paused, poll.flags):
            self._tell_of_flags(poll)
            world.paused, world.flags = poll.paused, poll.flags
            for loop in self._loops.values():
                loop.bell.ring()
        for name, loop in self._loops.items():
            self._update(loop, poll.processors.get(name) or Standing({}), asked_s)
        if len(self._loops) != len(self._served[1]):
            self.bell.ring()  # tell it at once

    def _tell_of_flags(self, poll: Poll) -> None:
        asking: dict[str, list[str]] = {}
        for loop in self._loops.values():
            flag = loop.crew.policy.flag
            if flag is not None and loop.policy_known:
                asking.setdefault(flag, []).append(loop.name)
        for flag, names in asking.items():
            if (is_on := flags.on(flag, poll.flags)) is not flags.on(flag, self._world.flags):
                log.info(LogLine.FLAG_SWITCHED, flag=flag, enabled=is_on, processors=sorted(names))

    def _update(self, loop: ProcessorLoop, standing: Standing, asked_s: float) -> None:
        before = loop.crew.policy
        try:
            after = loop.crew.processor.policy.overridden(standing.overrides)
        except ValueError as wrong:  # it goes on as it was; at the start, its rows wait
            log.error(LogLine.PROCESSOR_POLICY_REFUSED, processor=loop.name, error=str(wrong))
            return
        woken = standing.woken_at is not None and standing.woken_at != loop.woken_at
        loop.woken_at = standing.woken_at
        if after != before and loop.policy_known:
            for knob, old, new in _differences(before, after):
                log.info(LogLine.PROCESSOR_POLICY_CHANGED, processor=loop.name, knob=knob, before=old, after=new)
        loop.crew.policy = after
        if after.bounds != before.bounds:
            loop.brakes.new_policy()
        if not loop.brakes.overtaken(asked_s, standing.breaker_left_s):
            loop.breaker_stands(standing.breaker_left_s)
        if after != before or woken or any(standing.due) or not loop.policy_known:
            loop.policy_known = True
            loop.bell.ring()

    def _warn(self, waiting: list[str]) -> None:
        unknown = set(waiting) - set(self._loops)
        for name in sorted(unknown - self._warned)[:20]:
            log.warning(LogLine.PROCESSOR_UNKNOWN, processor=name)
        self._warned = unknown


def _differences(before: Policy, after: Policy) -> list[tuple[str, Any, Any]]:
    return [
        (knob, getattr(before, knob), getattr(after, knob))
        for knob in KNOBS
        if getattr(before, knob) != getattr(after, knob)
    ]
