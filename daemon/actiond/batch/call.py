"""One handler call: in the event loop or in a thread, inside a deadline, and whatever it raises stays here.

A call in a worker process is one in the event loop that waits for the worker (see process_call).

A call is stopped by cancelling its task once. A handler that goes on all the same is a runaway: after a grace
time its actions are settled without it and its place is written off, because nothing can end it from outside.

Whatever a handler raises is caught here (or in isolation, which calls it again): SystemExit or KeyboardInterrupt
would tear down the whole loop, and a stray CancelledError would vanish. Our own cancellation is told apart by
`stop`, that of the daemon around us by its cancel scope.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import anyio
import anyio.to_thread

from actiond.batch import never_awaited

GRACE_S = 5.0  # from being stopped to being called a runaway


class Stop(StrEnum):
    """Why a call is stopped from outside."""

    TIMEOUT = "timeout"
    DRAIN = "the daemon stopped while it ran"
    CUT_OFF = "the daemon lost its lease while it ran"


@dataclass(slots=True)
class Ended:
    """How a call ended: exactly one of value, error, stopped counts."""

    took_s: float
    value: Any = None
    error: BaseException | None = None
    stopped: Stop | None = None
    never_awaited: list[str] = field(default_factory=list)
    runaway: bool = False  # it did not end: its actions are settled without it


class Call:
    """Create, then `run()` once, in a task of its own kind: `stop` cancels that task."""

    def __init__(
        self,
        handler: Callable[[Any], Any],
        in_loop: bool,
        timeout_s: float,
        runaway: Callable[[Call], None],
        threads: anyio.CapacityLimiter | None = None,
        *,
        is_async: bool | None = None,
    ) -> None:
        self._handler = handler
        self._in_loop = in_loop
        self._is_async = in_loop if is_async is None else is_async
        self._timeout_s = timeout_s
        self._runaway = runaway
        self._threads = threads
        self._task: asyncio.Task[Any] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._began_s = 0.0
        self._thread_runs = False
        self._names: list[str] = []  # coroutines never awaited
        self._over: Ended | None = None  # how the handler ended, while something around it has not
        self.stopped: Stop | None = None
        self.canceled = False  # stopped, or only what is around its handler, which had ended
        self.abandoned = False
        #: What became of the actions, given how the call ended. Set before the call.
        self.collect: Callable[[Ended], Any] = lambda ended: None
        #: Somebody took this action away; set where the handler cannot see that by itself.
        self.withdraw: Callable[[int], None] = lambda action_id: None

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The one that runs it; None before and after."""
        return self._task

    @property
    def running_s(self) -> float:
        """Since when."""
        return time.monotonic() - self._began_s

    async def run(self, argument: Any) -> Ended:
        """Call the handler. Raises only the cancellation of the daemon itself."""
        return await self._bounded(self.called(argument))

    async def drive(self, calls: Callable[[Call], Awaitable[Any]]) -> Ended:
        """The same for `calls`, which calls the handler as often as it likes, by `called`, within the one deadline."""
        return await self._bounded(calls(self))

    def begin(self) -> None:
        """The time of the handler counts from now: what stands around it was entered."""
        self.within(self._timeout_s)
        self._began_s, self._names = time.monotonic(), never_awaited.listen()

    def over(self, value: Any = None, error: BaseException | None = None) -> None:
        """The handler has ended so, and whatever happens from now on changes nothing of that."""
        self._over = Ended(self.running_s, value, error, self.stopped, self._names)

    def within(self, seconds: float) -> None:
        """What follows is stopped after that; or, if the call was stopped already, called a runaway after the grace."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self.abandoned:
            return
        if self.canceled:
            self._later(GRACE_S, self._out_of_grace)
        else:
            self._later(seconds, lambda: self.stop(Stop.TIMEOUT))

    def runaway(self) -> Ended:
        """How a call ended that never did."""
        return self._over or Ended(self.running_s, stopped=self.stopped, runaway=True)

    async def _bounded(self, work: Awaitable[Any]) -> Ended:
        self._task = task = asyncio.current_task()
        assert task is not None
        self._began_s = time.monotonic()
        self._later(self._timeout_s, lambda: self.stop(Stop.TIMEOUT))
        self._names = never_awaited.listen()
        value, error = None, None
        try:
            value = await work
        except BaseException as raised:
            if isinstance(raised, asyncio.CancelledError) and self.stopped is None and _daemon_is_cancelled():
                raise
            error = raised
        finally:
            for timer in self._timers:
                timer.cancel()
            if self.canceled:
                task.uncancel()
            self._task = None
        if task.cancelling() and not _daemon_is_cancelled():
            await _forget_cancellations(task)
        return self._over or Ended(self.running_s, value, error, self.stopped, self._names)

    def stop(self, why: Stop) -> None:
        """Cancel the handler, once. Without effect when it has ended; what is around it is then cut short."""
        if self._task is None or self.canceled:
            return
        if self._over is None:
            self.stopped = why
        elif why is Stop.CUT_OFF:
            self._over.stopped = why  # what it did will not count
        self.canceled = True
        self._task.cancel()
        self._later(GRACE_S, self._out_of_grace)

    async def called(self, argument: Any) -> Any:
        """Just the handler, in the loop or in a thread; raises what it raises."""
        if self._in_loop:
            given = self._handler(argument)
            return _no_coroutine(await given if self._is_async else given)
        in_thread = functools.partial(self._in_thread, argument)
        value, error = await anyio.to_thread.run_sync(in_thread, abandon_on_cancel=True, limiter=self._threads)
        if error is not None:
            raise error
        return _no_coroutine(value)

    def _in_thread(self, argument: Any) -> tuple[Any, BaseException | None]:
        # The error comes back as a value: a GeneratorExit that crosses over as one would close our own coroutines.
        self._thread_runs = True
        try:
            return self._handler(argument), None
        except BaseException as raised:
            return None, raised
        finally:
            self._thread_runs = False

    @property
    def left_a_thread(self) -> bool:
        """Stopped, but its thread still runs: nothing can end a thread."""
        return self._thread_runs

    def _later(self, delay_s: float, do: Callable[[], None]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(delay_s, do))

    def _out_of_grace(self) -> None:
        self.abandoned = True
        self._runaway(self)


def _no_coroutine(value: Any) -> Any:
    if not inspect.iscoroutine(value):
        return value
    never_awaited.heard(value.__qualname__)
    value.close()
    return None


async def _forget_cancellations(task: asyncio.Task[Any]) -> None:
    """A handler cancelled its own task and ended before that met it: it must not meet the next call instead."""
    while task.cancelling():
        task.uncancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)


def _daemon_is_cancelled() -> bool:
    return anyio.current_effective_deadline() == float("-inf")
