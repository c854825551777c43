"""The resources of a daemon (contract/resource): opened one after the other, closed in reverse order.

Each lives in a task of its own, which opens it, waits, and closes it: so what it enters it leaves in the same task,
whoever asks, and one can be closed without the others. A task like that ends only when it is told to; the end of the
daemon, however hurried, does not cancel it but closes one after the other, each within a few seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup

from actiond.contract.resource import Opened, Resource, offered
from actiond.host.log import get_logger
from actiond.rules.error_text import ErrorText
from actiond.words.errors import ResourceBroken
from actiond.words.log_lines import LogLine

CLOSE_S = 5.0  # for closing one; then it is cancelled
GRACE_S = 1.0  # from there to being left behind

log = get_logger()


@dataclass(slots=True, eq=False)
class Life:
    """One resource, from before it is opened until it is closed."""

    resource: Resource[Any]
    opened: anyio.Event = field(default_factory=anyio.Event)  # or failed to
    leave: anyio.Event = field(default_factory=anyio.Event)
    over: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=lambda: anyio.CancelScope(shield=True))
    error: BaseException | None = None  # why it was never open, or what went wrong later


class Lifespans:
    """`broken` hears of a resource that ended by itself. `given`: what tests have instead of some."""

    def __init__(
        self, tasks: TaskGroup, broken: Callable[[str], None] = lambda _: None, given: Opened | None = None
    ) -> None:
        self._tasks = tasks
        self._broken = broken
        self.lives: dict[Resource[Any], Life] = {}  # in the order in which they were opened
        self._values: dict[Resource[Any], Any] = dict(given or {})
        self._changing = anyio.Lock()
        self.left: list[str] = []  # that ignored their cancellation: only the end of the process ends them

    @property
    def values(self) -> Opened:
        """Those that are open; always up to date."""
        return self._values

    async def open(self, wanted: Iterable[Resource[Any]]) -> None:
        """Those of them that are not open, in this order. ResourceBroken: one cannot be, and none of them is."""
        async with self._changing:
            new = [each for each in wanted if each not in self.lives and each not in self._values]
            try:
                for resource in new:
                    await self._open(resource)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await self._close(new)
                raise

    async def close(self, resources: Iterable[Resource[Any]] | None = None) -> None:
        """These (default: all), in the reverse of the order in which they were opened."""
        async with self._changing:
            await self._close(list(self.lives) if resources is None else resources)

    async def _open(self, resource: Resource[Any]) -> None:
        began_s = time.monotonic()
        life = self.lives[resource] = Life(resource)
        self._tasks.start_soon(self._live, life)
        await life.opened.wait()
        if resource not in self._values:
            said = " ".join(ErrorText.of(life.error or "it ended at once").short.split())
            raise ResourceBroken(f"{resource.name!r} at {resource.where}: {said}")
        took_s = round(time.monotonic() - began_s, 3)
        log.info(LogLine.RESOURCE_OPENED, resource=resource.name, source=resource.where, took_s=took_s)

    async def _close(self, resources: Iterable[Resource[Any]]) -> None:
        asked = set(resources)
        for life in [life for resource, life in reversed(self.lives.items()) if resource in asked]:
            began_s, was_open = time.monotonic(), life.resource in self._values
            if was_open:
                life.leave.set()
                with anyio.move_on_after(CLOSE_S):
                    await life.over.wait()
            if not life.over.is_set():
                if was_open:
                    _failed(life, f"not closed within {CLOSE_S:g} s")
                life.scope.cancel()
                with anyio.move_on_after(GRACE_S):
                    await life.over.wait()
            elif was_open and life.error is None:
                took_s = round(time.monotonic() - began_s, 3)
                log.info(LogLine.RESOURCE_CLOSED, resource=life.resource.name, took_s=took_s)
            if not life.over.is_set():
                self.left.append(life.resource.name)
            del self.lives[life.resource]

    async def _live(self, life: Life) -> None:
        """Until it is told to leave. Whatever the author's code raises ends here."""
        resource = life.resource
        try:
            with life.scope, offered(self._values):
                async with resource.open() as value:
                    self._values[resource] = value
                    life.opened.set()
                    await life.leave.wait()
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            self._went_wrong(life, error)
        finally:
            self._values.pop(resource, None)
            life.opened.set()
            life.over.set()

    def _went_wrong(self, life: Life, error: BaseException) -> None:
        life.error = error
        if not life.opened.is_set():
            return  # whoever opens it says so
        _failed(life, error)
        if not life.leave.is_set():
            self._broken(f"resource {life.resource.name!r} ended by itself")


def _failed(life: Life, error: object) -> None:
    log.error(LogLine.RESOURCE_FAILED, resource=life.resource.name, error=ErrorText.of(error).short)


@asynccontextmanager
async def lifespans(
    tasks: TaskGroup, broken: Callable[[str], None] = lambda _: None, given: Opened | None = None
) -> AsyncIterator[Lifespans]:
    """Whatever is still open at the end is closed, also when that end is hurried or an error."""
    living = Lifespans(tasks, broken, given)
    try:
        yield living
    finally:
        with anyio.CancelScope(shield=True):
            await living.close()
