"""One seed: some daemons, a storm, the calm after it, and what must be true then.

    storm    inserts, verbs and faults as the seed draws them
    calm     no more faults; everything must end. A row that is due and that nobody does is a row slept over
    probes   a row now and then, beside wakes that find nothing: each must be done at once, without the safety poll
    stop     every daemon drains; nothing may be left in its hands, or claimed

In half of the worlds there is no safety poll to speak of, so that whatever only the poll would find is found out. There
nothing happens that the poll is meant for: notifications that get lost on a session that lives, a session that is dead
and does not know it, a daemon that leaves while others sleep.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog

from actiond.batch.call import GRACE_S
from actiond.service.drain import FINALIZE_S, SAVE_S
from simulation.handlers import DEEDS, TIMEOUT_S, processors
from simulation.ledger import Ledger, Red
from simulation.loop import VirtualLoop, virtual
from simulation.process import DRAIN_S, LEASE_S, Process
from simulation.server import Server, Weather

POLL_S, NO_POLL_S = 5.0, 100_000.0
CALM_S = 90.0  # longer than any pause, lease, retry, or outcome set aside
PROBE_S = 1.0
STOP_S = DRAIN_S + SAVE_S + FINALIZE_S + 2 * (GRACE_S + 1) + 10.0  # the deadlines of a drain, and presence
#: When, who, what, more.
Trace = list[tuple[float, str, str, dict[str, Any]]]
AGAIN = "pytest tests/simulation/test_simulation.py --seed"
VERBS = ("cancel", "hold", "release", "retry", "run_now")


class World:
    """`trace` says what happened, line by line."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.chance = random.Random(f"world {seed}")
        self.loop = loop
        self.trace: Trace = []
        self.server = Server(loop, random.Random(f"server {seed}"), self.note)
        self.ledger = Ledger(self.server, TIMEOUT_S, lambda process: self._kill(process, "poison"))
        self.poll_s = self.chance.choice([POLL_S, NO_POLL_S])
        self.size = self.chance.choice([1, 1, 2, 3])  # daemons at once: what one alone sleeps over, others may hear
        self.processes: list[Process] = []
        self._stops: list[asyncio.Task[None]] = []

    def note(self, who: str, what: str, /, **more: Any) -> None:
        self.trace.append((self.loop.now_s, who, what, more))

    @property
    def living(self) -> list[Process]:
        return [process for process in self.processes if not process.dead and not process.stopping.is_set()]

    async def run(self) -> None:
        """Raises Red, or what the loop raises."""
        for _ in range(self.size):
            self.spawn()
        await self._storm()
        await self._calm()
        for _ in range(self.chance.randint(8, 16)):
            await self._probe()
        await self._nothing_in_hand()
        await self._stop_all()
        self.ledger.add_up()
        for error in self.loop.errors:
            self.ledger.red(f"nobody was told of {error.get('message')}: {error.get('exception')!r}")
        if self.ledger.broken:
            raise Red("; ".join(self.ledger.broken))

    async def bury(self) -> None:
        """Whatever is left unwinds, and counts no more."""
        for process in self.processes:
            if not all(task.done() for task in (*process.main.tasks, *process.aside.tasks)):
                await process.bury()

    def spawn(self, start: bool = True) -> Process:
        process = Process(
            f"d{len(self.processes) + 1}", self.server, self.poll_s, lambda self_: processors(self_, self.ledger)
        )
        self.processes.append(process)
        self.note("world", "starts", who=process.name)
        if start:
            process.start()
        return process

    # the storm

    async def _storm(self) -> None:
        chance, weather = self.chance, self.server.weather
        weather.lost, weather.busy = (chance.choice([0, 0, 0.02, 0.1]) for _ in range(2))
        weather.slow, weather.late = (chance.choice([0, 0, 0.01, 0.03]) for _ in range(2))
        usual: list[Callable[[], None]] = (
            [self._insert] * 10 + [self._verb] * 4 + [self._crash, self._freeze, self._block]
        )
        usual += [self._drop, self._restart, self._change]
        if self.poll_s == POLL_S:
            weather.deaf = chance.choice([0, 0.1, 0.5])
            usual += [self._stop, self._hole]
        for _ in range(chance.randint(8, 28)):
            await self.loop.pass_time(chance.choice([0.0, 0.001, 0.01, 0.1, 0.3, 1.0]) * chance.random())
            chance.choice(usual)()

    def _insert(self) -> None:
        chance = self.chance
        rows = [self.row(chance.choice(DEEDS)) for _ in range(chance.choice([1, 1, 2, 4, 8]))]
        if chance.random() < 0.1:
            rows[0][1]["data"] = self._payload("poison")
        if chance.random() < 0.2:
            rows[-1][1]["due"] = self.server.store.now() + round(chance.uniform(0, 3e6))
        self.server.insert(rows, chance.choice([0.0, 0.003, 0.03, 1.0]) * chance.random())

    def row(self, deed: str) -> tuple[str, dict[str, Any]]:
        columns = {"data": self._payload(deed), "priority": self.chance.choice([1, 2, 2, 2])}
        return self.chance.choice(["each", "batch"]), columns

    def _payload(self, deed: str) -> str:
        return f'{{"do": "{deed}", "s": {self.chance.random() * (2.0 if deed == "slow" else 0.03):.4f}}}'

    def _verb(self) -> None:
        ids = list(self.server.store.rows)
        some = self.chance.sample(ids, min(len(ids), self.chance.randint(1, 4)))
        verb = self.chance.choice(VERBS)
        self.note("operator", verb, ids=some)
        self.server.act(verb, some)

    def _one(self) -> Process | None:
        return self.chance.choice(self.living) if self.living else None

    def _crash(self) -> None:
        if (process := self._one()) is not None:
            self._kill(process, "crash")

    def _kill(self, process: Process, why: str) -> None:
        if process.dead:
            return
        self.note("world", "kills", who=process.name, why=why)
        process.kill()
        self.server.later(self.chance.uniform(0.05, 1.5), self._replace)

    def _replace(self) -> None:
        if len(self.living) < self.size:
            self.spawn()

    def _freeze(self) -> None:
        self._hold(self.chance.choice([0.1, 1.5, 4.0, LEASE_S + 2, LEASE_S + 6]), both=True)

    def _block(self) -> None:
        self._hold(self.chance.choice([0.2, 1.2, 4.0]), both=False)

    def _hold(self, for_s: float, both: bool) -> None:
        if (process := self._one()) is not None and not process.main.held:
            for_s *= self.chance.uniform(0.5, 1.0)
            self.note("world", "freezes" if both else "blocks", who=process.name, for_s=round(for_s, 2))
            process.hold(*(() if both else (process.main,)))
            self.server.later(for_s, lambda: process.dead or process.release())

    def _drop(self) -> None:
        if self.server.sessions:
            session = self.chance.choice(self.server.sessions)
            self.note("world", "drops a session", of=session.owner and session.owner.name)
            self.server.drop(session)

    def _hole(self) -> None:
        if self.server.sessions:
            session = self.chance.choice(self.server.sessions)
            self.note("world", "black hole", of=session.owner and session.owner.name)
            session.hole = True

    def _restart(self) -> None:
        away_s = self.chance.choice([0.0, 0.5, 4.0]) * self.chance.random()
        self.note("world", "restarts the server", away_s=round(away_s, 2))
        self.server.restart(away_s)

    def _change(self) -> None:
        self.server.weather.lost = self.chance.choice([0, 0.02, 0.3])

    def _stop(self) -> None:
        if (process := self._one()) is not None:
            self._stops.append(self.loop.create_task(self.stopped(process)))
            self.server.later(self.chance.uniform(0.0, 1.0), self._replace)

    async def stopped(self, process: Process) -> None:
        """Told to stop: it does so within its deadlines, and holds nothing then."""
        self.note("world", "stops", who=process.name)
        began_s, held_s = self.loop.now_s, process.held_s
        process.stopping.set()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([process.task], timeout=STOP_S + 60.0)
        took_s = self.loop.now_s - began_s - (process.held_s - held_s)
        if process.dead:
            return
        if took_s > STOP_S or not process.task.done():
            self.ledger.red(f"{process.name} did not stop within its deadlines: {took_s:.1f} s")
        elif process.task.exception() is not None:
            self.ledger.red(f"{process.name} ended with {process.task.exception()!r}")
        elif process.clean and not process.switches.cut_off:  # else they are no longer its own
            me = process.store.daemon or -1
            if any(row.claimed_by == me for row in self.server.store.rows.values()):
                self.ledger.red(f"{process.name}, daemon {me}, has stopped and still holds actions")
        process.dead = True

    # the calm

    async def _calm(self) -> None:
        server = self.server
        server.weather = Weather()
        self.note("world", "calm")
        for process in self.living:
            process.release()
        for session in [each for each in server.sessions if each.hole]:
            server.drop(session)
        self._replace()
        quiet_s = self.loop.now_s + CALM_S
        await self.loop.pass_time(2.0)
        while not self.ledger.settled():
            if self.loop.now_s > quiet_s or self.loop.errors:
                left = [row for row in server.store.rows.values() if row.status == "pending"]
                raise Red(f"{self.loop.errors or 'slept over'}: {left}")
            await self.loop.pass_time(0.25)
        await asyncio.gather(*self._stops)
        while any(not run.finished for run in server.store.runs.values()) and self.loop.now_s < quiet_s:
            await self.loop.pass_time(0.25)
        while waiting := [process.name for process in self.living if process.waiting()]:
            if self.loop.now_s > quiet_s:
                raise Red(f"{waiting} still wait for what the storm has swallowed")
            await self.loop.pass_time(0.25)

    async def _probe(self) -> None:
        """A look that finds nothing, and beside it a row."""
        await self.loop.pass_time(self.chance.choice([0.01, 0.1, 0.3]) * self.chance.random())
        self.server.ring(None, self.chance.choice([["each"], ["batch"], ["each", "batch"]]))
        await self.loop.pass_time(self.chance.uniform(0.0, 0.008))
        before = len(self.server.store.rows)
        self.server.insert([self.row("ok") for _ in range(self.chance.randint(1, 3))], self.chance.uniform(0.0, 0.002))
        until_s = self.loop.now_s + PROBE_S
        await self.loop.pass_time(0.01)
        while late := [row for row in list(self.server.store.rows.values())[before:] if row.status != "completed"]:
            if self.loop.now_s > until_s:
                raise Red(f"slept over, in the calm, for {PROBE_S:g} s: {late}")
            await self.loop.pass_time(0.02)

    async def _nothing_in_hand(self) -> None:
        """Within the time that a pause or a slow answer from the storm may still last."""
        until_s = self.loop.now_s + CALM_S
        while left := [said for process in self.living for said in process.in_hand()]:
            if self.loop.now_s > until_s:
                raise Red(f"there is nothing to do, but {'; '.join(left)}")
            await self.loop.pass_time(0.25)

    async def _stop_all(self) -> None:
        for process in self.living:
            await self.stopped(process)
            if not process.clean:
                self.ledger.red(f"{process.name} did not stop cleanly, in the calm")


@contextmanager
def world_of(seed: int) -> Iterator[World]:
    """A world and its loop, world.loop, in place of the clock; lines of the log go into its trace."""
    configured = structlog.get_config()
    with virtual(seed) as loop:
        world = World(seed, loop)
        structlog.configure(processors=[lambda *line: _kept(world, *line)])
        try:
            yield world
        finally:
            structlog.configure(**configured)


def run_seed(seed: int) -> World:
    """The world of this seed, after it ended well; Red, with its trace, if it did not."""
    with world_of(seed) as world:
        try:
            try:
                world.loop.run_until_complete(world.run())
            finally:
                seen = list(world.trace)
                world.loop.run_until_complete(world.bury())
        except Exception as error:
            raise Red(told(seed, seen, error.__context__ or error)) from error
    return world


def _kept(world: World, _logger: Any, method: str, event: Any) -> Any:
    """A line of the log goes into the trace."""
    if method != "debug":
        world.note("log", event.pop("event"), **event)
    raise structlog.DropEvent


def told(seed: int, trace: Trace, error: BaseException) -> str:
    """The seed, what went wrong, how to see it again, and all that happened."""
    lines = [
        f"{at:9.4f}  {who:12} {what} {' '.join(f'{k}={v}' for k, v in more.items())}" for at, who, what, more in trace
    ]
    return "\n".join([f"seed {seed} is red: {type(error).__name__}: {error}", f"again: {AGAIN} {seed}", "", *lines])
