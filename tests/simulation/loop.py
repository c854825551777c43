"""An event loop that decides what runs next by a seed, and whose clock jumps to the next timer.

Nothing here waits: no socket, no thread. What is ready at the same time runs in an order drawn from the seed: tasks
change places among themselves, plain callbacks keep theirs, because what the network brings comes in order.

A Part is a thread of an imagined process. While it is held nothing of it runs: its timers pass and wait, as those of
a stopped process do. What belongs to a part is whatever was started in its context.

`_run_once`, `_ready` and `_scheduled` are asyncio's own; test_loop.py holds what is expected of them.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any

SPINS = 20_000  # callbacks while next to no time passes: somebody asks again and again
_WORK_S = 1e-6  # what one round of callbacks takes: a clock that stands would make rounding errors last for ever


class StandsStill(Exception):
    """Nothing is ready and nothing will be: somebody waits for what never comes."""


class Spins(Exception):
    """Somebody works without end and lets no time pass."""


class Part:
    """A thread of an imagined process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.held = False
        self.waiting: list[asyncio.Handle] = []  # what would run if it were not held
        self.tasks: list[asyncio.Task[Any]] = []
        self.steps = 0  # of its tasks: each runs from one await to the next
        self.before_step: Callable[[int], None] = lambda step: None
        self.context = copy_context()
        self.context.run(PART.set, self)


#: Whose code runs; None: nobody's of a process.
PART: ContextVar[Part | None] = ContextVar("part", default=None)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Run it with `virtual`, so that the code inside sees its clock."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.now_s = 0.0
        self.errors: list[dict[str, Any]] = []  # what asyncio could tell nobody else
        self._order = random.Random(seed)
        self._numbers: dict[asyncio.Task[Any], int] = {}
        self._at_once = 0
        self.set_task_factory(self._numbered)
        self.set_exception_handler(lambda _, what: self.errors.append(what))

    def time(self) -> float:
        return self.now_s

    def call_soon_threadsafe(self, callback: Any, *arguments: Any, context: Context | None = None) -> asyncio.Handle:
        return self.call_soon(callback, *arguments, context=context)

    async def pass_time(self, seconds: float) -> None:
        """Come back so much later."""
        over = self.create_future()
        timer = self.call_later(seconds, lambda: over.done() or over.set_result(None))
        try:
            await over
        finally:
            timer.cancel()

    def hold(self, part: Part) -> None:
        """It stops between two steps."""
        part.held = True

    def release(self, part: Part) -> None:
        """It goes on, with all that came meanwhile, in the order in which it came."""
        part.held = False
        self._ready.extend(part.waiting)
        part.waiting = []

    def _numbered(self, loop: Any, work: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **more)
        self._numbers[task] = len(self._numbers)
        part = (more.get("context") or copy_context()).get(PART)
        if part is not None:
            part.tasks.append(task)
        return task

    def _run_once(self) -> None:
        handles = self._due()
        self.now_s += _WORK_S
        tasks = [place for place, handle in enumerate(handles) if self._task(handle) is not None]
        if len(tasks) > 1:
            # By number first: sets of tasks have no order of their own, and the same seed must do the same.
            mixed = sorted((handles[place] for place in tasks), key=lambda handle: self._numbers[self._task(handle)])
            self._order.shuffle(mixed)
            for place, handle in zip(tasks, mixed, strict=True):
                handles[place] = handle
        for handle in handles:
            self._run(handle)

    def _run(self, handle: asyncio.Handle) -> None:
        part = handle._context.get(PART)
        if handle._cancelled:
            return
        if part is not None:
            if part.held:  # since just now
                part.waiting.append(handle)
                return
            if self._task(handle) is not None:
                part.steps += 1
                part.before_step(part.steps)
        self._at_once += 1
        if self._at_once > SPINS:
            raise Spins(f"{SPINS} callbacks at {self.now_s:.3f} s, the last was {handle}")
        handle._run()

    def _due(self) -> list[asyncio.Handle]:
        """What can run now; if there is nothing, the clock moves on."""
        if self._timer_cancelled_count > 50:
            self._scheduled = [timer for timer in self._scheduled if not timer._cancelled]
            heapq.heapify(self._scheduled)
            self._timer_cancelled_count = 0
        while True:
            while self._scheduled and (self._scheduled[0]._cancelled or self._scheduled[0]._when <= self.now_s):
                timer = heapq.heappop(self._scheduled)
                timer._scheduled = False
                if not timer._cancelled:
                    self._ready.append(timer)
            handles = []
            for handle in self._ready:
                part = handle._context.get(PART)
                (part.waiting if part is not None and part.held else handles).append(handle)
            self._ready.clear()
            if handles:
                return handles
            if not self._scheduled:
                raise StandsStill(f"at {self.now_s:.3f} s everybody waits")
            if self._scheduled[0]._when - self.now_s > _WORK_S * 100:
                self._at_once = 0
            self.now_s = max(self.now_s, self._scheduled[0]._when)

    @staticmethod
    def _task(handle: asyncio.Handle) -> Any:
        """Whose step this is; None: a plain callback."""
        task = getattr(handle._callback, "__self__", None)
        return task if isinstance(task, asyncio.Task) else None


@contextmanager
def virtual(seed: int) -> Iterator[VirtualLoop]:
    """A loop; and until the end of the block its clock is the monotonic clock, and chance comes from the seed."""
    loop, monotonic, chance = VirtualLoop(seed), time.monotonic, random.getstate()
    time.monotonic = loop.time
    random.seed(seed)
    try:
        yield loop
    finally:
        time.monotonic = monotonic
        random.setstate(chance)
        loop.close()
