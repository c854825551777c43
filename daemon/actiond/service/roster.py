"""Which processors this daemon serves: found in code, or made of a built-in by a row; read again on reload.

What they need is there before they are served: their resources are open, the roles that they run as can be taken. The
resources of code that was replaced are closed when the last call of it has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import anyio
from anyio.abc import TaskGroup

from actiond.batch.crew import Crew
from actiond.batch.shared import Shared
from actiond.batch.write_back import WriteBack
from actiond.contract import home
from actiond.contract.processor import Processor
from actiond.contract.resource import Resource
from actiond.host import discovery
from actiond.host.log import get_logger
from actiond.loops.bell import Bell
from actiond.loops.processor_loop import Doorbell, ProcessorLoop
from actiond.loops.world import World
from actiond.postgres import role
from actiond.postgres.action_store import ActionStore
from actiond.postgres.connection import in_words
from actiond.postgres.processor_store import ProcessorStore, Standing
from actiond.words.errors import ActiondError, OperatorError
from actiond.words.log_lines import LogLine

LOOK_S = 0.1  # between looks for calls of code that was replaced

log = get_logger()

#: Finds the processors of the code, at the start and at each reload.
Find = Callable[[], dict[str, Processor]]


class Roster:
    """Makes a loop for each processor and starts it."""

    def __init__(
        self,
        find: Find,
        loops: dict[str, ProcessorLoop],
        world: World,
        store: ActionStore,
        processors: ProcessorStore,
        doorbell: Doorbell,
        shared: Shared,
        tasks: TaskGroup,
        allowed: str = "",
    ) -> None:
        self._find = find
        self._loops = loops
        self._world = world
        self._store = store
        self._processors = processors
        self._doorbell = doorbell
        self._shared = shared
        self._lifespans = shared.lifespans
        self._tasks = tasks
        self._makers = discovery.built_ins()
        self._allowed = {each.strip() for each in allowed.split(",")} - {""} or set(self._makers)
        self._made_of: dict[str, tuple[str, str]] = {}  # name -> (built-in, config)

    async def declare(self, found: dict[str, Processor]) -> None:
        """What the code says, for all to see; then serve it. ResourceBroken, RoleRefused: nothing has changed."""
        await self._make_ready(found.values())
        await self._processors.declare((p.name, *p.stored()) for p in found.values())
        for processor in found.values():
            self._serve(processor, "code")

    async def reload(self) -> None:
        """Read processors again; what does not load, or not open, leaves the old code in place, and says so."""
        began_s = time.monotonic()
        self._made_of.clear()  # secrets, programs and packages may be there now, or be others
        try:
            found = self._find()
            await self.declare(found)
        except ActiondError as broken:
            source = str(broken.args[0]).split(": ")[0] if broken.args else ""
            log.error(LogLine.PROCESSOR_RELOAD_FAILED, source=source, error=str(broken))
            return
        except Exception as error:  # the boundary of a connection: the old code goes on
            log.error(LogLine.PROCESSOR_RELOAD_FAILED, source="the database", error=in_words(error))
            return
        finally:
            self._tasks.start_soon(self._close_unused)
        log.info(LogLine.DAEMON_RELOADED, processors=sorted(found), took_s=round(time.monotonic() - began_s, 2))

    async def built_in(self, name: str, standing: Standing) -> None:
        """A row of actiond.processor is made of a built-in, which it names by its registered name."""
        config = standing.overrides.get("config") or {}
        made_of = (str(standing.uses), str(config))
        if self._made_of.get(name) == made_of:
            return
        try:
            processor = self._maker(made_of[0])(name, config)
            await self._make_ready([processor])
        except ActiondError as wrong:  # the others go on, and so does this one as it was
            log.error(LogLine.PROCESSOR_RELOAD_FAILED, source=f"processor {name}", error=str(wrong))
            self._made_of[name] = made_of
            return
        self._serve(processor, made_of[0])
        await self._processors.declare([(name, *processor.stored())])
        self._made_of[name] = made_of

    async def _make_ready(self, processors: Iterable[Processor]) -> None:
        listed = list(processors)
        await self._lifespans.open(home.resources(listed))
        await role.check(self._shared.handler_pool, listed)

    async def _close_unused(self) -> None:
        """Resources that nothing is served with, once the calls that may hold one have ended."""
        began = {call for loop in self._loops.values() for call in loop.crew.calls}
        unused = self._unused()
        while unused and any(not began.isdisjoint(loop.crew.calls) for loop in self._loops.values()):
            await anyio.sleep(LOOK_S)
        await self._lifespans.close(unused & self._unused())

    def _unused(self) -> set[Resource[Any]]:
        return set(self._lifespans.lives) - set(home.resources(loop.crew.processor for loop in self._loops.values()))

    def _maker(self, uses: str) -> discovery.Maker:
        if uses not in self._makers:
            raise OperatorError(f"there is no built-in {uses!r} (there are: {', '.join(sorted(self._makers))})")
        if uses not in self._allowed:
            raise OperatorError(f"{uses!r} is not among those that ACTIOND_BUILT_INS allows on this host")
        return self._makers[uses]

    def _serve(self, processor: Processor, kind: str) -> None:
        loop = self._loops.get(processor.name)
        if loop is not None:
            if loop.crew.processor is not processor:
                loop.crew.take(processor)
                loop.policy_known = False  # nothing is claimed until the next poll brings the overrides
                log.info(LogLine.PROCESSOR_RELOADED, processor=processor.name, source=processor.where)
            return
        bell = Bell()
        writer = WriteBack(self._store, processor.name, self._shared.landed)
        crew = Crew(processor, processor.policy, self._store, writer, self._shared, bell.ring)
        loop = ProcessorLoop(crew, writer, self._store, self._doorbell, self._world, bell)
        self._loops[processor.name] = loop
        self._tasks.start_soon(loop.run)
        log.info(LogLine.PROCESSOR_REGISTERED, processor=processor.name, source=processor.where, kind=kind)
