"""Tells the breakers of processors what became of their actions, once that is committed.

It is beside the route of outcomes, not on it: a claim does not wait for it, and what comes while a report is under way
goes with the next one. Processors without a breaker are not even listed.

Where handlers fail at once, many calls fit between an outcome and its report. So what this daemon alone has seen shuts
its gate before: no call begins any more until all outcomes there are have been reported. If the breaker is closed then,
because others succeed, everything goes on.

A daemon that stops says no more: calls that it cancels come back as failures, and the other side is not to blame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio

from actiond.host.log import get_logger
from actiond.loops.bell import Bell
from actiond.loops.processor_loop import ProcessorLoop
from actiond.loops.world import World
from actiond.postgres.brake_store import BrakeStore
from actiond.postgres.connection import in_words
from actiond.rules.breaker import Breaker, Verdict, verdict
from actiond.words.claimed import Settlement
from actiond.words.log_lines import LogLine

GATHER_S = 0.05  # between reports
AGAIN_S = 1.0  # when a report did not get through
_KEPT = 10_000  # verdicts, of one processor, that wait for a report

log = get_logger()


class BreakerLoop:
    """One for a daemon."""

    def __init__(self, store: BrakeStore, loops: Mapping[str, ProcessorLoop], world: World) -> None:
        self.bell = Bell()
        self.steps = 0
        self._store = store
        self._loops = loops
        self._world = world
        self._heard: dict[str, list[Verdict]] = {}
        self._seen: dict[str, Breaker] = {}  # as it would stand if there were no other daemons

    def settled(self, processor: str, settlements: Sequence[Settlement]) -> None:
        """These outcomes will be committed soon: shut the gate if they are too bad."""
        loop = self._loops.get(processor)
        policy = loop.crew.policy.bounds.breaker if loop is not None else None
        if loop is None or policy is None or loop.brakes.open:
            return
        seen = self._seen.get(processor, Breaker()).heard(policy, list(map(verdict, settlements)))
        self._seen[processor] = seen if seen.left_s is None else Breaker()
        if seen.left_s is not None:
            loop.suspect_breaker()

    def landed(self, processor: str, settlements: Sequence[Settlement]) -> None:
        """These outcomes are committed."""
        loop = self._loops.get(processor)
        if loop is not None and loop.crew.policy.bounds.breaker is not None and not self._world.stopping:
            heard = self._heard.setdefault(processor, [])
            heard += map(verdict, settlements)
            del heard[:-_KEPT]
            self.bell.ring()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            wait_s = await self.step()
            await anyio.sleep(GATHER_S)
            await self.bell.wait(wait_s)

    async def step(self) -> float | None:
        """Report what was heard; how long until the next try, None: until there is more."""
        self.steps += 1
        heard, self._heard = self._heard, {}
        while heard:
            processor, verdicts = heard.popitem()
            try:
                await self._report(processor, verdicts)
            except Exception as error:  # the boundary of a connection: what is not reported is reported later
                for name, said in (*heard.items(), (processor, verdicts)):
                    self._heard[name] = [*said, *self._heard.get(name, ())]
                log.warning(LogLine.CONNECTION_LOST, connection="breaker", error=in_words(error), retry_in_s=AGAIN_S)
                return AGAIN_S
        return None

    async def _report(self, processor: str, verdicts: Sequence[Verdict]) -> None:
        loop = self._loops[processor]
        policy = loop.crew.policy.bounds.breaker
        if policy is None:
            return
        before, after = await self._store.heard(processor, policy, verdicts)
        _tell(processor, before, after)
        all_said = not loop.writer.unsaved and processor not in self._heard
        if after.left_s is not None or not loop.brakes.suspected or all_said:
            loop.breaker_stands(after.left_s)


def _tell(processor: str, before: Breaker, after: Breaker) -> None:
    if after.left_s is None:
        if before.left_s is not None:
            log.info(LogLine.BREAKER_CLOSED, processor=processor, failed_probes=before.failed_probes)
    elif before.left_s is None:
        log.warning(
            LogLine.BREAKER_OPENED,
            processor=processor,
            failed=after.failed,
            outcomes=len(after.recent),
            pause_s=after.left_s,
        )
    elif after.failed_probes > before.failed_probes:
        log.warning(LogLine.PROBE_FAILED, processor=processor, failed_probes=after.failed_probes, pause_s=after.left_s)
