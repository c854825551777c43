"""One daemon: what the supervisor puts together, on a pool and a presence session that lead to the imagined server.

Its two threads, the main loop and presence, are two parts of the one virtual loop, so that each can be held by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import Any

import anyio
import anyio.lowlevel

from actiond.batch.crew import Crew
from actiond.batch.lifespans import Lifespans
from actiond.batch.shared import Shared
from actiond.batch.suspects import Suspects
from actiond.batch.write_back import WriteBack
from actiond.contract.processor import Processor
from actiond.host.systemd import Notifier
from actiond.loops.bell import Bell
from actiond.loops.policy_loop import PolicyLoop
from actiond.loops.presence_thread import PresenceThread
from actiond.loops.processor_loop import ProcessorLoop
from actiond.loops.processor_loop import World as Switches
from actiond.loops.rescue_loop import RescueLoop
from actiond.postgres.action_store import ActionStore
from actiond.postgres.daemon_store import DaemonStore
from actiond.postgres.presence import Identity
from actiond.postgres.processor_store import ProcessorStore
from actiond.service.drain import drain
from actiond.service.hearing import Hearing
from actiond.service.start import registered
from simulation.clients import Pool, Session
from simulation.loop import Part, VirtualLoop
from simulation.server import Names, Server

LEASE_S = 6.0
DRAIN_S = 2.0
UNWIND_S = 30.0  # from a cancellation of the whole daemon to its end


class Side:
    """The loop as another thread sees it: what is sent there runs there."""

    def __init__(self, loop: VirtualLoop, part: Part) -> None:
        self._loop, self._part = loop, part

    def call_soon_threadsafe(self, do: Callable[..., Any], *arguments: Any, context: Any = None) -> Any:
        return self._loop.call_soon(do, *arguments, context=self._part.context)

    def create_task(self, work: Any, **more: Any) -> asyncio.Task[Any]:
        return self._loop.create_task(work, **{**more, "context": self._part.context})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class PresencePart(PresenceThread):
    """Presence as it is, its thread a part of the one loop."""

    def __init__(self, process: Process, hearing: Hearing) -> None:
        async def connect(*_: Any, **__: Any) -> Session:
            context = copy_context()
            return await process.server.ask(lambda: Session(process.server, context), 5.0, lambda: True)

        identity = Identity(process.name, 1, "0", [], LEASE_S)
        blocked = lambda what: process.note("blocked", for_s=round(what.for_s, 1))  # noqa: E731
        super().__init__("", identity, hearing.callbacks, Names(), blocked=blocked, connect=connect)
        self._process = process
        self._side = Side(process.loop, process.aside)

    async def start(self) -> None:
        self._main = Side(self._process.loop, self._process.main)  # type: ignore[assignment]
        self._main_id = 0
        self._task = self._side.create_task(self._live())
        while not self._ready.is_set():
            await anyio.lowlevel.checkpoint()
        self._loop = self._side  # type: ignore[assignment]

    async def stop(self) -> None:
        try:
            await self._request(self._presence.end())
        except Exception as error:
            self._process.note("presence not ended", error=repr(error))
        self._stopping.set()
        await asyncio.wait([self._task], timeout=5)


class Process:
    """Start it; then stop, hold, or kill it."""

    def __init__(
        self, name: str, server: Server, poll_s: float, processors: Callable[[Process], Iterable[Processor]]
    ) -> None:
        self.name = name
        self.server = server
        self.loop = server.loop
        self.main, self.aside = Part(name), Part(f"{name} presence")
        self.on(Pool(server))
        self.loops: dict[str, ProcessorLoop] = {}
        self.switches = Switches()
        self.suspects = Suspects()
        self.stopping = anyio.Event()
        self.dead = False
        self.clean: bool | None = None  # how it stopped
        self._poll_s = poll_s
        self._processors = processors
        self._held_s = 0.0
        self._held_since_s: float | None = None

    @property
    def held_s(self) -> float:
        """How long its main loop stood still, all in all."""
        since_s = self._held_since_s
        return self._held_s + (self.loop.now_s - since_s if since_s is not None else 0.0)

    def note(self, what: str, **more: Any) -> None:
        self.server.note(self.name, what, **more)

    def on(self, pool: Pool) -> None:
        """What it claims and writes with; before the start."""
        self.pool = pool
        self.store = ActionStore(pool, Names())  # type: ignore[arg-type]

    def start(self) -> None:
        self.task = self.loop.create_task(self._live(), context=self.main.context)

    def hold(self, *parts: Part) -> None:
        """Its process is stopped; or one of its threads, by a handler that does not let go."""
        for part in parts or (self.main, self.aside):
            self.loop.hold(part)
        if self._held_since_s is None:
            self._held_since_s = self.loop.now_s

    def release(self) -> None:
        self._held_s, self._held_since_s = self.held_s, None
        for part in (self.main, self.aside):
            self.loop.release(part)

    def waiting(self) -> bool:
        """For its session, or for the answer to a claim: until then it is asleep, or peers count on it in vain."""
        return not self.switches.listening or any(loop.claiming for loop in self.loops.values())

    def in_hand(self) -> list[str]:
        """What it has not let go of, in words."""
        found = []
        for name, loop in self.loops.items():
            crew, writer = loop.crew, loop.writer
            left = {"in hand": crew.in_hand, "runs": crew.runs, "unsaved": writer.unsaved + writer.waiting}
            left |= {"claiming": loop.claiming, "cut off": self.switches.cut_off}
            found += [f"{self.name} has {left} of {name}"] if any(left.values()) else []
        turn = self.suspects._run is not None or self.suspects._others
        return found + ([f"{self.name} has a suspect's turn"] if turn else [])

    def kill(self) -> None:
        """Nothing of it runs any more; the server is told."""
        self.dead = True
        self.hold()
        for session in [each for each in self.server.sessions if each.owner is self.aside]:
            self.server.later(self.server.latency_s(), self.server.drop, session)

    async def bury(self) -> None:
        """At the end of a world: unwind what the dead have left behind."""
        self.dead = self.pool.gone = True
        self.release()
        self.note("buried")
        self.task.cancel()
        _, left = await asyncio.wait(self.main.tasks, timeout=UNWIND_S)
        assert not left, f"{self.name} was cancelled, and these go on: {left}"
        for task in self.aside.tasks:  # a thread that nobody waits for
            task.cancel()
        await asyncio.gather(*self.aside.tasks, return_exceptions=True)

    async def _live(self) -> None:
        async with anyio.create_task_group() as calls, anyio.create_task_group() as tasks:
            names, switches = Names(), self.switches
            daemons, processors = DaemonStore(self.pool, names), ProcessorStore(self.pool, names)  # type: ignore[arg-type]
            hearing = Hearing(self.store, self.loops, switches, self.name, True, LEASE_S)
            presence = PresencePart(self, hearing)
            policy = PolicyLoop(processors, self.store, self.loops, switches, self._poll_s, _no_built_ins)
            hearing.policy, hearing.rescue = policy, RescueLoop(daemons, hearing.look_again, switches.counts)
            async with registered(presence, hearing.known, self.stopping):
                if not self.stopping.is_set():
                    shared = self._shared(calls)
                    for processor in self._processors(self):
                        self._serve(processor, presence, shared, tasks)
                    await policy.step()
                    tasks.start_soon(policy.run)
                    tasks.start_soon(hearing.rescue.run)
                await self.stopping.wait()
                self.clean = await drain(self.loops, switches, Notifier({}), DRAIN_S, anyio.Event())
            if self.clean:
                await self._ended(daemons)
            tasks.cancel_scope.cancel()
            calls.cancel_scope.cancel()
        self.note("gone", clean=self.clean)

    def _shared(self, calls: Any) -> Shared:
        threads, lifespans = anyio.CapacityLimiter(1), Lifespans(calls)
        none: Any = None  # no workers, no transactions of handlers
        runaway = lambda: self.note("runaway")  # noqa: E731
        return Shared(calls, None, threads, none, self.suspects, none, runaway, [], lambda *_: None, lifespans)

    def _serve(self, processor: Processor, presence: PresencePart, shared: Shared, tasks: Any) -> None:
        bell = Bell()
        writer = WriteBack(self.store, processor.name, shared.landed)
        crew = Crew(processor, processor.policy, self.store, writer, shared, bell.ring)
        loop = ProcessorLoop(crew, writer, self.store, presence, self.switches, bell)
        self.loops[processor.name] = loop
        tasks.start_soon(loop.run)

    async def _ended(self, daemons: DaemonStore) -> None:
        with anyio.move_on_after(2):
            try:
                await daemons.end(self.store.daemon, "stopped")
            except Exception as error:
                self.note("end not written", error=repr(error))


async def _no_built_ins(name: str, standing: Any) -> None:
    """There are none."""
