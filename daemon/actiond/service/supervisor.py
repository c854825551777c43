"""The whole daemon: start order, the tasks, reload, stop, exit code.

    schema checked -> presence registered -> processors declared -> policies read -> loops -> READY

Presence goes last: its heartbeat keeps the claims safe until every outcome is saved. If a task of the daemon
itself dies of an error nobody expected, the daemon ends and says so: alive is not working.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup

from actiond.batch.crew import Crew, Shared
from actiond.batch.write_back import WriteBack
from actiond.contract.processor import Processor
from actiond.host import discovery
from actiond.host.log import get_logger
from actiond.host.settings import Settings
from actiond.host.systemd import Notifier
from actiond.loops.bell import Bell
from actiond.loops.policy_loop import PolicyLoop
from actiond.loops.presence_thread import PresenceThread
from actiond.loops.processor_loop import ProcessorLoop, World
from actiond.loops.rescue_loop import RescueLoop
from actiond.postgres import migrate
from actiond.postgres.action_store import ActionStore
from actiond.postgres.connection import Pool, close_pool, first_connect, make_pool
from actiond.postgres.daemon_store import DaemonStore
from actiond.postgres.presence import Identity
from actiond.postgres.processor_store import ProcessorStore, Standing
from actiond.postgres.statements import Statements
from actiond.service.drain import drain
from actiond.service.hearing import Hearing
from actiond.service.proof_of_life import ProofOfLife
from actiond.words.errors import ActiondError, DatabaseUnreachable
from actiond.words.log_lines import LogLine

RETRY_START_S = (0.2, 5.0)  # while the server does not answer at the start

log = get_logger()

#: Finds the processors again, for reload.
Find = Callable[[], dict[str, Processor]]


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
        self._makers = discovery.built_ins()
        self._built: dict[str, tuple[str, str]] = {}  # built-in processors: name -> (uses, config)
        self._loops: dict[str, ProcessorLoop] = {}
        self._world = World(unsaved_max=settings.unsaved_max)
        self._notifier = Notifier()
        self._runaways = 0
        self._stop = anyio.Event()
        self._hurry = anyio.Event()
        self._reason = ""

    async def run(self) -> int:
        """Until told to stop; the exit code."""
        began_s = time.monotonic()
        log.info(LogLine.DAEMON_STARTING, version=self._version, python=platform.python_version(), pid=os.getpid())
        processors = self._find()
        await self._schema()
        settings = self._settings
        pool = await make_pool(settings.work_dsn, name="actiond work", size=settings.connections, pinned=True)
        handlers = await make_pool(
            settings.work_dsn, name="actiond handler", size=settings.handler_connections, pinned=False
        )
        try:
            clean = await self._serve(processors, pool, handlers, began_s)
        finally:
            await close_pool(handlers)
            await close_pool(pool)
        code = 0 if clean and not self._runaways else 75
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

    async def _schema(self) -> None:
        """The schema fits, or an error that says what to do. A server that does not answer is waited for."""
        pause_s = RETRY_START_S[0]
        while True:
            try:
                connection = await first_connect(self._settings.work_dsn)
                break
            except DatabaseUnreachable as down:
                if not str(down).startswith("no answer"):
                    raise
                log.warning(LogLine.CONNECTION_LOST, connection="start", error=str(down), retry_in_s=pause_s)
                self._notifier.status(str(down))
                await anyio.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_START_S[1])
        try:
            await migrate.check(connection)
            mode = "listen" if self._settings.listen else "poll"
            log.info(LogLine.CLAIM_MODE, server_version=connection.get_server_version().major, mode=mode)
        finally:
            connection.terminate()

    async def _serve(self, processors: dict[str, Processor], pool: Pool, handlers: Pool, began_s: float) -> bool:
        store, settings = ActionStore(pool, self._sql), self._settings
        hearing = Hearing(store, self._loops, self._world, socket.gethostname(), settings.listen)
        identity = Identity(socket.gethostname(), os.getpid(), self._version, sorted(processors))
        presence = PresenceThread(
            settings.presence_dsn, identity, hearing.callbacks, self._sql, blocked=self._blocked, listen=settings.listen
        )
        daemons = DaemonStore(pool, self._sql)
        self._processors = ProcessorStore(pool, self._sql)
        async with anyio.create_task_group() as calls, anyio.create_task_group() as tasks:
            self._shared = Shared(tasks=calls, handler_pool=handlers, runaway=self._runaway, **_limits(settings))
            self._store, self._presence, self._tasks = store, presence, tasks
            policy = PolicyLoop(
                self._processors, store, self._loops, self._world, settings.poll_interval_s, self._built_in
            )
            rescue = RescueLoop(daemons, hearing.look_again)
            hearing.policy, hearing.rescue = policy, rescue
            tasks.start_soon(self._signals)
            async with _started(presence, store, self._stop):
                await self._declare(processors.values())
                for processor in processors.values():
                    self._add(processor, "code")
                await policy.step()
                for loop in (
                    policy,
                    rescue,
                    ProofOfLife(self._notifier, policy, self._loops, settings.poll_interval_s),
                ):
                    tasks.start_soon(loop.run)
                took_s = round(time.monotonic() - began_s, 2)
                log.info(LogLine.DAEMON_READY, daemon_id=store.daemon, processors=sorted(self._loops), took_s=took_s)
                self._notifier.ready(f"{len(self._loops)} processors")
                await self._stop.wait()
                log.info(LogLine.DAEMON_STOPPING, reason=self._reason)
                self._notifier.stopping("finishing what runs")
                clean = await drain(self._loops, self._world, self._notifier, settings.drain_s, self._hurry)
            await self._ended(daemons, store)
            tasks.cancel_scope.cancel()
            calls.cancel_scope.cancel()
            if not clean or self._runaways:
                self._exit_at_once()
        return clean

    async def _ended(self, daemons: DaemonStore, store: ActionStore) -> None:
        with anyio.move_on_after(2):
            try:
                await daemons.end(store.daemon, "stopped")
            except Exception as error:  # the boundary of a connection: others will find this daemon dead
                log.warning(LogLine.CONNECTION_LOST, connection="stop", error=str(error), retry_in_s=0)

    def _exit_at_once(self) -> None:
        """Threads and handlers that nothing can end would keep the process alive."""
        log.info(LogLine.DAEMON_STOPPED, exit_code=75, reason="handlers were left that ignore their cancellation")
        sys.stdout.flush()
        flush = getattr(log, "flush", None)
        if flush is not None:
            flush()
        os._exit(75)

    # processors

    async def _declare(self, processors: Iterable[Processor]) -> None:
        await self._processors.declare((p.name, *p.stored()) for p in processors)

    def _add(self, processor: Processor, kind: str) -> None:
        bell = Bell()
        writer = WriteBack(self._store, processor.name)
        crew = Crew(processor, processor.policy, self._store, writer, self._shared, bell.ring)
        loop = ProcessorLoop(crew, writer, self._store, self._presence, self._world, bell)
        self._loops[processor.name] = loop
        self._tasks.start_soon(loop.run)
        log.info(LogLine.PROCESSOR_REGISTERED, processor=processor.name, source=processor.where, kind=kind)

    def _built_in(self, name: str, standing: Standing) -> None:
        """A row of actiond.processor asks for a built-in, by its registered name."""
        made_of = (str(standing.uses), str(standing.overrides.get("config")))
        if self._built.get(name) == made_of:
            return
        self._built[name] = made_of
        maker = self._makers.get(made_of[0])
        try:
            if maker is None:
                raise ActiondError(
                    f"there is no built-in {made_of[0]!r} (there are: {', '.join(sorted(self._makers))})"
                )
            processor = maker(name, standing.overrides.get("config") or {})
        except ActiondError as wrong:
            log.error(LogLine.PROCESSOR_RELOAD_FAILED, source=f"built-in of {name}", error=str(wrong))
            return
        if name in self._loops:
            self._loops[name].crew.processor = processor
        else:
            self._add(processor, made_of[0])

    async def reload(self) -> None:
        """Read processors again; what does not load leaves the old code in place, and says so."""
        began_s = time.monotonic()
        try:
            found = self._find()
            await self._declare(found.values())
        except ActiondError as broken:
            log.error(LogLine.PROCESSOR_RELOAD_FAILED, source=str(broken).split(": ")[0], error=str(broken))
            return
        for name, processor in found.items():
            loop = self._loops.get(name)
            if loop is None:
                self._add(processor, "code")
            elif loop.crew.processor is not processor:
                loop.crew.processor = processor
                loop.crew.policy = processor.policy
                log.info(LogLine.PROCESSOR_RELOADED, processor=name, source=processor.where)
        log.info(LogLine.DAEMON_RELOADED, processors=sorted(found), took_s=round(time.monotonic() - began_s, 2))

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

    def _blocked(self, for_s: float, where: str) -> None:
        log.warning(LogLine.LOOP_BLOCKED, blocked_s=round(for_s, 1), where=where.split(" < ")[0], frames=where)

    def _runaway(self) -> None:
        self._runaways += 1
        if self._runaways >= self._settings.runaways_max:
            self.stop(f"{self._runaways} handlers ignore their cancellation")


def _limits(settings: Settings) -> dict[str, Any]:
    return {
        "calls": anyio.CapacityLimiter(settings.concurrency) if settings.concurrency else None,
        "threads": anyio.CapacityLimiter(settings.threads),
        "suspects": asyncio.Lock(),
    }


@asynccontextmanager
async def _started(presence: PresenceThread, store: ActionStore, stop: anyio.Event) -> AsyncIterator[None]:
    """Presence, registered; and at the end, presence stopped last."""
    await presence.start()
    try:
        while not store.daemon and not stop.is_set():
            await anyio.sleep(0.01)
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await presence.stop()
