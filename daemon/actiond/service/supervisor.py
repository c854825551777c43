"""The whole daemon: start order, the tasks, reload, stop, exit code.

    schema and roles checked -> resources open -> presence registered -> processors declared -> policies read -> loops
    -> READY

Presence goes last: its heartbeat keeps the claims safe until every outcome is saved; and after it the resources, which
nothing uses any more. If a task of the daemon itself dies of an error nobody expected, the daemon ends and says so:
alive is not working.
"""

from __future__ import annotations

import os
import platform
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
from anyio.abc import TaskGroup

from actiond.batch.lifespans import CLOSE_S, Lifespans, lifespans
from actiond.batch.shared import Shared
from actiond.batch.spans import Tracing
from actiond.batch.suspects import Suspects
from actiond.batch.workers import Workers, cpus
from actiond.contract import home
from actiond.contract.hooks import Enterable
from actiond.contract.processor import Processor
from actiond.host import discovery, extras
from actiond.host.log import flush, get_logger
from actiond.host.settings import Settings
from actiond.host.systemd import Notifier
from actiond.loops.clerks import clerks
from actiond.loops.policy_loop import PolicyLoop
from actiond.loops.presence_thread import PresenceThread
from actiond.loops.processor_loop import ProcessorLoop
from actiond.loops.rescue_loop import RescueLoop
from actiond.loops.schedule_loop import ScheduleLoop
from actiond.loops.world import World
from actiond.postgres import role
from actiond.postgres.action_store import ActionStore
from actiond.postgres.backlog_store import BacklogStore
from actiond.postgres.connection import Pool, close_pool, handler_pool, in_words, passes, work_pool
from actiond.postgres.daemon_store import DaemonStore
from actiond.postgres.presence import Identity
from actiond.postgres.processor_store import ProcessorStore
from actiond.postgres.schedule_store import ScheduleStore
from actiond.postgres.statements import Statements
from actiond.service.blocked_loop import told
from actiond.service.drain import drain
from actiond.service.entrance import Entrance, enter
from actiond.service.fed import Fed
from actiond.service.hearing import Hearing
from actiond.service.http import serving
from actiond.service.proof_of_life import ProofOfLife
from actiond.service.roster import Find, Roster
from actiond.service.start import registered, unless
from actiond.service.watched import Watched
from actiond.words.errors import ActiondError
from actiond.words.log_lines import LogLine

RETRY_START_S = (0.2, 2.0)  # while the server does not answer at the start

log = get_logger()


class Supervisor:
    """One daemon process."""

    def __init__(
        self,
        settings: Settings,
        find: Find,
        version: str,
        statements: Statements | None = None,
    ) -> None:
        self._settings = settings
        self._find = find
        self._version = version
        self._sql = statements or Statements()
        self._roster: Roster | None = None  # and the policy loop: once there is something to reload
        self._policy: PolicyLoop | None = None
        self._loops: dict[str, ProcessorLoop] = {}
        self._world = World(unsaved_max=settings.unsaved_max)
        self._watched = Watched(self._loops, self._world, version)
        self._notifier = Notifier()
        self._entrance = Entrance()
        self._runaways = 0
        self._broken = False  # a resource ended by itself
        self._arounds: tuple[Enterable, ...] = ()
        self._stop = anyio.Event()
        self._hurry = anyio.Event()
        self._reason = ""
        self._others: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def also(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """One more task: from when the daemon is ready until it has stopped, when it is cancelled."""
        self._others.append(task)

    async def run(self) -> int:
        """Until told to stop; the exit code."""
        began_s = time.monotonic()
        log.info(LogLine.DAEMON_STARTING, version=self._version, python=platform.python_version(), pid=os.getpid())
        processors, settings = self._find(), self._settings
        self._arounds = discovery.arounds(settings.around)
        async with serving(settings, self._watched):
            await self._patiently(self._enter)
            pool = await work_pool(settings.work_dsn, settings.connections, self._entrance.pooled)
            handlers = await handler_pool(settings.work_dsn, settings.handler_connections, self._entrance.pooled)
            self._watched.store = BacklogStore(pool, self._sql)
            try:
                clean = await self._serve(processors, pool, handlers, began_s)
            finally:
                self._watched.store = None
                await close_pool(handlers)
                await close_pool(pool)
        code = 75 if self._runaways or not clean else 1 if self._broken else 0
        log.info(
            LogLine.DAEMON_STOPPED, exit_code=code, ran_s=round(time.monotonic() - began_s, 1), reason=self._reason
        )
        return code

    def stop(self, reason: str) -> None:
        """Drain and end; a second time: hurry."""
        if self._stop.is_set():
            self._hurry.set()
        self._reason = self._reason or reason
        self._stop.set()

    async def _enter(self) -> None:
        self._entrance = await enter(self._settings, self._sql)

    async def _patiently(self, start: Callable[[], Awaitable[None]]) -> None:
        """A step of the start. A server that does not answer, or goes away in the middle, is waited for."""
        pause_s = RETRY_START_S[0]
        while not self._stop.is_set():
            try:
                await start()
                break
            except Exception as error:  # the boundary of a connection
                if not passes(error):
                    raise
                log.warning(LogLine.CONNECTION_LOST, connection="start", error=_said(error), retry_in_s=pause_s)
                self._notifier.status(_said(error))
            await anyio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_START_S[1])

    async def _serve(self, found: dict[str, Processor], pool: Pool, handlers: Pool, began_s: float) -> bool:
        async with anyio.create_task_group() as calls, anyio.create_task_group() as tasks:
            tasks.start_soon(self._signals)
            async with lifespans(calls, self._ended_by_itself) as resources:
                await self._patiently(lambda: role.check(handlers, found.values()))
                await unless(self._stop, resources.open(home.resources(found.values())))
                fed = Fed(pool, self._sql, self._loops, self._world)
                shared = self._shared(calls, handlers, fed, resources)
                clean = await self._work(found, pool, shared, fed, tasks, began_s)
                self._notifier.extend_timeout(len(resources.lives) * CLOSE_S)
            tasks.cancel_scope.cancel()
            calls.cancel_scope.cancel()
            left = resources.left or any(call.left_a_thread for call in shared.left)
            if not clean or self._runaways or left:
                self._exit_at_once()
        return clean

    async def _work(
        self,
        found: dict[str, Processor],
        pool: Pool,
        shared: Shared,
        fed: Fed,
        tasks: TaskGroup,
        began_s: float,
    ) -> bool:
        settings, loops = self._settings, self._loops
        store, daemons = ActionStore(pool, self._sql), DaemonStore(pool, self._sql)
        hearing = Hearing(store, loops, self._world, socket.gethostname(), settings.listen, settings.lease_s)
        presence = self._presence(sorted(found), hearing)
        processors = ProcessorStore(pool, self._sql)
        roster = Roster(self._find, loops, self._world, store, processors, presence, shared, tasks, settings.built_ins)
        policy = PolicyLoop(processors, store, loops, self._world, settings.poll_interval_s, roster.built_in)
        hearing.policy, hearing.rescue = policy, RescueLoop(daemons, hearing.look_again, self._world.counts)
        schedules = ScheduleStore(pool, self._sql)
        hearing.schedule = ScheduleLoop(schedules, lambda: store.daemon, settings.poll_interval_s)
        async with registered(presence, hearing.known, self._stop):
            if not self._stop.is_set():
                await self._patiently(lambda: roster.declare(found))
                await policy.step()
                self._roster, self._policy = roster, policy
                proof = ProofOfLife(self._notifier, policy, loops, settings.poll_interval_s)
                self._watched.proof = proof
                ours = (policy, hearing.rescue, hearing.schedule, *fed.loops, proof)
                books = clerks(pool, self._sql)
                for task in (*(each.run for each in ours), *(each.run for each in books), *self._others):
                    tasks.start_soon(task)
                self._ready(store.daemon, time.monotonic() - began_s)
            await self._stop.wait()
            log.info(LogLine.DAEMON_STOPPING, reason=self._reason)
            self._notifier.stopping("finishing what runs")
            clean = await drain(loops, self._world, self._notifier, settings.drain_s, self._hurry)
            await shared.workers.close()
        await self._ended(daemons, store)
        return clean

    def _presence(self, names: list[str], hearing: Hearing) -> PresenceThread:
        settings, entrance = self._settings, self._entrance
        host, pid = socket.gethostname(), os.getpid()
        identity = Identity(host, pid, self._version, names, settings.lease_s, entrance.presence_pooled, entrance.locks)
        return PresenceThread(
            settings.presence_dsn,
            identity,
            hearing.callbacks,
            self._sql,
            blocked=lambda blocked: told(blocked, self._loops, self._world.counts),
            blocked_s=settings.loop_blocked_s,
            listen=settings.listen,
        )

    def _shared(self, calls: TaskGroup, handlers: Pool, fed: Fed, resources: Lifespans) -> Shared:
        settings, otel = self._settings, extras.opentelemetry(self._version)
        if otel is not None:
            log.info(LogLine.TRACING_STARTED, provider=otel.provider)
        return Shared(
            tasks=calls,
            calls=anyio.CapacityLimiter(settings.concurrency) if settings.concurrency else None,
            threads=anyio.CapacityLimiter(settings.threads),
            workers=Workers(settings.workers or cpus(), settings.worker_memory_mb, settings.log_level),
            suspects=Suspects(),
            handler_pool=handlers,
            runaway=self._runaway,
            left=[],
            landed=fed.landed,
            settled=fed.settled,
            lifespans=resources,
            tracing=Tracing(otel) if otel is not None else None,
            arounds=self._arounds,
        )

    def _ready(self, daemon: int, took_s: float) -> None:
        log.info(LogLine.DAEMON_READY, daemon_id=daemon, processors=sorted(self._loops), took_s=round(took_s, 2))
        self._watched.known = True
        self._notifier.ready(f"{len(self._loops)} processors")

    async def reload(self) -> None:
        """Read processors and overrides again."""
        if self._roster is not None and self._policy is not None:
            await self._roster.reload()
            self._policy.bell.ring()

    async def _ended(self, daemons: DaemonStore, store: ActionStore) -> None:
        with anyio.move_on_after(2):
            try:
                await daemons.end(store.daemon, "stopped")
                await daemons.ring(sorted(self._loops))  # what went back, and retries that only this daemon waited for
            except Exception as error:  # the boundary of a connection: others will find this daemon dead
                log.warning(LogLine.CONNECTION_LOST, connection="stop", error=str(error), retry_in_s=0)

    def _exit_at_once(self) -> None:
        """Threads and handlers that nothing can end would keep the process alive."""
        log.info(LogLine.DAEMON_STOPPED, exit_code=75, reason=f"{self._reason}; handlers or outcomes were left behind")
        flush()
        os._exit(75)

    # news

    async def _signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            async for number in received:
                log.info(LogLine.SIGNAL_RECEIVED, signal=number.name)
                if number == signal.SIGHUP:
                    self._notifier.reloading()
                    await self.reload()
                    self._notifier.ready("reloaded")
                else:
                    self.stop(number.name)

    def _ended_by_itself(self, what: str) -> None:
        self._broken = True
        self.stop(what)

    def _runaway(self) -> None:
        self._runaways += 1
        if self._runaways >= self._settings.runaways_max:
            self.stop(f"{self._runaways} handlers ignore their cancellation")


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ActiondError) else in_words(error)
