"""Around one call: what its daemon, its module and its processor put around every batch (contract/hooks).

    enter the outermost ... enter the innermost -> the handler -> leave the innermost ... leave the outermost

All in the task of the call, so a context variable that is set before the handler is seen by the handler. Each of them
sees the error that the handler raised, and has a few seconds of its own for entering and for leaving, which are not
taken from the handler's. What goes wrong in them is told and changes no outcome: one that cannot be entered is left
out, and once the handler has ended, nothing changes how.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from actiond.batch import never_awaited, told
from actiond.batch.call import Call
from actiond.contract.batch import Batch
from actiond.contract.hooks import Enterable

AROUND_S = 4.0  # for entering one, and for leaving one
BACKSTOP_S = 2 * AROUND_S  # until one that ignores its cancellation is what a handler would be: a runaway

_Entered = tuple[str, AbstractAsyncContextManager[Any]]


class Surroundings:
    """Of one call."""

    def __init__(self, arounds: Sequence[Enterable], batch: Batch[Any]) -> None:
        self._arounds = arounds
        self._batch = batch
        self._entered: list[_Entered] = []

    async def run(self, handler: Callable[[], Awaitable[Any]], call: Call) -> Any:
        """What the handler gives or raises, whatever is around it."""
        try:
            for each in self._arounds:
                await self._enter(each, call)
            call.begin()
            value = await handler()
        except BaseException as raised:  # kept by the call; those around it are told
            call.over(error=raised)
            await self._leave(call, raised)
            raise
        call.over(value)
        await self._leave(call, None)
        return value

    async def _enter(self, around: Enterable, call: Call) -> None:
        opened: list[AbstractAsyncContextManager[Any]] = []

        async def enter() -> None:
            opened.append(around(self._batch))
            await opened[0].__aenter__()

        if await self._guarded(around.name, enter, call):
            self._entered.append((around.name, opened[0]))
        if call.stopped is not None:
            raise asyncio.CancelledError  # the handler is not called any more

    async def _leave(self, call: Call, raised: BaseException | None) -> None:
        how = (type(raised), raised, raised.__traceback__) if raised is not None else (None, None, None)
        while self._entered:
            name, around = self._entered.pop()

            async def leave(around: AbstractAsyncContextManager[Any] = around) -> None:
                await around.__aexit__(*how)  # whether it would forgive the error is not asked

            await self._guarded(name, leave, call)

    async def _guarded(self, name: str, step: Callable[[], Awaitable[None]], call: Call) -> bool:
        """Did it go well? A cancellation of the daemon itself ends the step and comes again at the next await."""
        call.within(BACKSTOP_S)
        forgotten = never_awaited.listen()
        limit = asyncio.timeout(AROUND_S)  # no cancel scope: what is entered may open one that outlives this
        try:
            async with limit:
                await step()
        except BaseException as raised:  # the boundary of user code, as in call
            if limit.expired():
                told.around_failed(name, f"not done within {AROUND_S:g} s")
            elif not (call.canceled and isinstance(raised, asyncio.CancelledError)):
                told.around_failed(name, raised)
            return False
        if forgotten:
            told.around_failed(name, f"coroutine {forgotten[0]!r} was never awaited")
        return True
