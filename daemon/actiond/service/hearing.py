"""What presence tells the daemon, and what that means for its loops. Runs in the main loop."""

from __future__ import annotations

import time

import anyio

from actiond.batch.call import Stop
from actiond.host.log import get_logger
from actiond.loops.muffler import Muffler
from actiond.loops.policy_loop import PolicyLoop
from actiond.loops.processor_loop import ProcessorLoop
from actiond.loops.rescue_loop import RescueLoop
from actiond.loops.schedule_loop import ScheduleLoop
from actiond.loops.world import World
from actiond.postgres.action_store import ActionStore
from actiond.postgres.presence import POLICY, WAKE, WITHDRAWN, Callbacks
from actiond.words.log_lines import LogLine

log = get_logger()


class Hearing:
    """Turns news into rings and switches."""

    def __init__(
        self, store: ActionStore, loops: dict[str, ProcessorLoop], world: World, host: str, listen: bool, lease_s: float
    ) -> None:
        self.policy: PolicyLoop | None = None
        self.rescue: RescueLoop | None = None
        self.schedule: ScheduleLoop | None = None
        self._store = store
        self._loops = loops
        self._world = world
        self._host = host
        self._listen = listen
        self._lease_s = lease_s
        self._down_since_s: float | None = None
        self._down_why = ""  # as it was told last
        self.known = anyio.Event()  # set once this daemon has an id
        self._mufflers: dict[str, Muffler] = {}  # by processor
        self._polls, self._edits = Muffler(self._poll), Muffler(self._read_edits)

    @property
    def callbacks(self) -> Callbacks:
        """For presence."""
        return Callbacks(self.heard, self.registered, self.beaten, self.declared_dead, self.session)

    def look_again(self) -> None:
        """Every processor, from the beginning."""
        for loop in self._loops.values():
            loop.watermark.forget(at_once=True)
            loop.bell.ring()

    def heard(self, channel: str, payload: str) -> None:
        """A notification. Anybody may send anything: what makes no sense is ignored."""
        if channel == POLICY:
            self._edits.ring()
        elif channel == WAKE:
            self._wake({name.strip() for name in payload.split(",") if name.strip()})
        elif channel == WITHDRAWN:
            self._withdraw(payload.split())

    def _poll(self) -> None:
        if self.policy is not None:
            self.policy.bell.ring()

    def _read_edits(self) -> None:
        """Policies, settings or schedules."""
        for loop in (self.policy, self.schedule):
            if loop is not None:
                loop.bell.ring()

    def _wake(self, names: set[str]) -> None:
        ours = [name for name in self._loops if not names or name in names]
        rung = [name for name in ours if self._muffler(name).ring()]
        if rung:
            log.debug(LogLine.WAKE_RECEIVED, processors=sorted(rung))
        asleep = [name for name in ours if not self._loops[name].crew.policy.run_on_insert]
        if asleep and self.policy is not None:
            self.policy.woken(asleep)
            self._polls.ring()

    def _muffler(self, name: str) -> Muffler:
        if name not in self._mufflers:  # the loop of a name may be another one after a reload
            self._mufflers[name] = Muffler(
                lambda: self._loops[name].bell.ring(), lambda: self._loops[name].writer.tally.claims
            )
        return self._mufflers[name]

    def _withdraw(self, numbers: list[str]) -> None:
        if not numbers:  # more than fit
            self._polls.ring()
        if len(numbers) != 3 or not all(n.isascii() and n.isdigit() and len(n) < 19 for n in numbers):
            return
        daemon, run_id, _ = map(int, numbers)
        if daemon == self._store.daemon and any(run_id in loop.crew.runs for loop in self._loops.values()):
            # Anybody who may connect can send this, so the rows are asked whether it is true.
            self._polls.ring()

    def registered(self, daemon: int) -> None:
        """A new id: at the start, or after this daemon was declared dead."""
        self._store.daemon = daemon
        self._world.cut_off = False
        if self.known.is_set() and self.rescue is not None:
            self.rescue.sweep_soon()
        self.known.set()
        log.info(LogLine.DAEMON_REGISTERED, daemon_id=daemon, host=self._host, lease_s=self._lease_s)
        self.look_again()

    def beaten(self, dead: list[int]) -> None:
        """Renewed; and these peers do not live."""
        if dead and self.rescue is not None:
            self.rescue.found_dead(dead)
            self.look_again()

    def declared_dead(self, daemon: int) -> None:
        """Others may have our rows by now: stop what runs, believe nothing of it."""
        if self._world.cut_off:
            return
        self._world.cut_off = True
        self._world.counts.leases_lost += 1
        actions = sum(loop.writer.drop() for loop in self._loops.values())
        batches = 0
        for loop in self._loops.values():
            batches += loop.crew.running
            loop.crew.forget()
        log.error(LogLine.LEASE_LOST, daemon_id=daemon or self._store.daemon, batches=batches, actions=actions)

    def session(self, up: bool, why: str) -> None:
        """The session of presence came or went. Notifications in between were missed."""
        self._world.listening = up and self._listen
        if not up:
            if self._down_since_s is None:
                self._down_since_s = time.monotonic()
            self._world.counts.troubles["presence"] += 1
            if why != self._down_why:  # while it goes on nothing is new, and `connection_lost` counts the tries
                log.warning(LogLine.LISTENER_LOST, error=why)
            self._down_why = why
            return
        self._down_why = ""
        if self._down_since_s is not None:
            log.info(LogLine.LISTENER_RESTORED, down_s=round(time.monotonic() - self._down_since_s, 2))
            self._down_since_s = None
        self.look_again()
        self._read_edits()


def cancel_running(loops: dict[str, ProcessorLoop], why: Stop) -> int:
    """Stop every call; gives how many."""
    return sum(loop.crew.stop_calls(why) for loop in loops.values())
