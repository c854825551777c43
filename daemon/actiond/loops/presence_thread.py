"""The thread that hosts presence.

A handler that blocks the event loop must not cost the lease, so presence lives in a thread with a loop of its
own. What it hears crosses to the main loop with call_soon_threadsafe; doorbell requests cross the other way.
It also watches the main loop: when that does not answer for a second, the bells are let go, so that other
daemons hear them; and after as long as the operator wants, it is told who holds the loop, and where.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

from actiond.loops.inbox import Inbox
from actiond.postgres.connection import connect
from actiond.postgres.presence import BEAT_S, LEASE_MARGIN, WAKE, Callbacks, Connect, Identity, Presence
from actiond.postgres.statements import Statements

T = TypeVar("T")

BLOCKED_S = 1.0  # then other daemons get the bells
_FRAMES = 12  # of the blocker's stack, innermost
_REQUEST_S = 6.0  # a doorbell request


@dataclass(frozen=True, slots=True)
class Blocked:
    """The main loop runs one thing and nothing else."""

    for_s: float
    task: asyncio.Task[Any] | None  # None: a callback, or no task of Python's
    frames: tuple[str, ...]  # where it is, innermost first


class PresenceThread:
    """Start it in the main loop; its callbacks are then called in the main loop."""

    def __init__(
        self,
        dsn: str,
        identity: Identity,
        callbacks: Callbacks,
        statements: Statements,
        *,
        blocked: Callable[[Blocked], None],
        blocked_s: float = BLOCKED_S,
        listen: bool = True,
        connect: Connect = connect,
    ) -> None:
        self._callbacks = callbacks
        self._patience_s = identity.lease_s * (1 - LEASE_MARGIN)
        self._blocked = blocked
        self._blocked_s = blocked_s
        self._make: Callable[[Callbacks], Presence] = lambda crossed: Presence(
            dsn, identity, crossed, statements, listen, connect
        )
        self._thread = threading.Thread(target=self._host, name="actiond presence", daemon=True)
        self._ready = threading.Event()
        self._leaving: set[str] = set()  # asked to leave, not yet done
        self._answered_s = self._renewed_s = time.monotonic()

    async def start(self) -> None:
        """Returns when the thread runs; registering may take longer, see Callbacks.registered."""
        self._main = asyncio.get_running_loop()
        self._main_id = threading.get_ident()
        self._thread.start()
        await asyncio.to_thread(self._ready.wait)

    async def stop(self) -> None:
        """Let go of the bells and end the thread. The last thing a daemon does."""
        with contextlib.suppress(Exception):  # the connection may be gone; so are its locks then
            await self._request(self._presence.end())
        self._loop.call_soon_threadsafe(self._stopping.set)
        await asyncio.to_thread(self._thread.join, 5)

    async def take(self, processor: str) -> tuple[bool, bool]:
        """See Presence.take; (False, False) while there is no session."""
        try:
            return await self._request(self._presence.take(processor))
        except Exception:  # the boundary of a connection: it is being replaced, and its locks are gone
            return False, False

    def leave(self, processor: str) -> None:
        """See Presence.leave; nobody waits for it. From now on `holds` says no."""
        if self._presence.sleeps(processor) and processor not in self._leaving:
            self._leaving.add(processor)
            self._send(self._presence.leave(processor)).add_done_callback(lambda _: self._leaving.discard(processor))

    def holds(self, processor: str) -> bool:
        """See Presence.holds."""
        return processor not in self._leaving and self._presence.holds(processor)

    def _send(self, request: Awaitable[T]) -> asyncio.Future[T]:
        future = asyncio.run_coroutine_threadsafe(_bounded(request), self._loop)
        crossed = asyncio.wrap_future(future)
        crossed.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen: nobody may wait
        return crossed

    async def _request(self, request: Awaitable[T]) -> T:
        return await self._send(request)

    # in the thread

    def _host(self) -> None:
        asyncio.run(self._live())

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._presence = self._make(self._crossed())
        self._ready.set()
        tasks = [asyncio.create_task(self._presence.run()), asyncio.create_task(self._watch())]
        await self._stopping.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _crossed(self) -> Callbacks:
        """The callbacks, each carried over to the main loop."""
        ours = self._callbacks
        inbox = Inbox()

        def heard(channel: str, payload: str) -> None:
            if inbox.put(channel, payload):
                self._cross(deliver)

        def deliver() -> None:
            for channel, payload in inbox.take():
                ours.heard(channel, payload)

        def beaten(dead: list[int]) -> None:
            self._renewed_s = time.monotonic()
            self._cross(ours.beaten, dead)

        return replace(
            ours,
            heard=heard,
            registered=lambda daemon: self._cross(ours.registered, daemon),
            beaten=beaten,
            declared_dead=lambda daemon: self._cross(ours.declared_dead, daemon),
            session=lambda up, why: self._cross(ours.session, up, why),
        )

    def _cross(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the main loop is closed: the process is ending
            self._main.call_soon_threadsafe(callback, *arguments)

    async def _watch(self) -> None:
        """Is the main loop alive, and do we still have our lease?"""
        lost = told = left = False
        while True:
            self._cross(self._answer)
            await asyncio.sleep(min(BEAT_S, self._blocked_s) / 4)
            now_s = time.monotonic()
            silent_s = now_s - self._answered_s
            if silent_s >= self._blocked_s and not told:
                self._blocked(Blocked(silent_s, asyncio.current_task(self._main), self._frames()))
            told = silent_s >= self._blocked_s
            if silent_s >= BLOCKED_S and not left:
                with contextlib.suppress(Exception):  # the connection is being replaced, its locks are gone
                    await self._let_go()
            left = silent_s >= BLOCKED_S
            if now_s - self._renewed_s < self._patience_s:
                lost = False
            elif not lost:
                lost = True
                self._presence.renounce()
                self._cross(self._callbacks.declared_dead, 0)

    async def _let_go(self) -> None:
        """And then our own loops must look again, once they can: they fell asleep with the bells in their hands."""
        if names := await self._presence.leave_all():
            self._cross(self._callbacks.heard, WAKE, ",".join(names))

    def _answer(self) -> None:
        self._answered_s = time.monotonic()

    def _frames(self) -> tuple[str, ...]:
        """Where the main thread is now."""
        frame = sys._current_frames().get(self._main_id)
        steps = traceback.walk_stack(frame) if frame else ()
        return tuple(f"{at.f_code.co_name} ({at.f_code.co_filename}:{line})" for at, line in islice(steps, _FRAMES))


async def _bounded(request: Awaitable[T]) -> T:
    async with asyncio.timeout(_REQUEST_S):
        return await request
