"""batch/call: whatever a handler does stays inside its call, except the cancellation of the daemon itself."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

from actiond.batch import call as call_module
from actiond.batch.call import Call, Ended, Stop
from pure.build import undisturbed
from support.database import eventually

LONG_S = 60.0  # longer than any test
SOON_S = 0.01


def no_runaway(call: Call) -> None:
    raise AssertionError("called a runaway")


def a_call(
    handler: Callable[[Any], Any], timeout_s: float = LONG_S, runaway: Callable[[Call], None] = no_runaway
) -> Call:
    return Call(handler, inspect.iscoroutinefunction(handler), timeout_s, runaway)


async def run(handler: Callable[[Any], Any], timeout_s: float = LONG_S) -> Ended:
    return await a_call(handler, timeout_s).run("argument")


@pytest.fixture(autouse=True)
async def _nothing_is_left_behind() -> AsyncIterator[None]:
    """After each test the task is as it was: not cancelled, and able to wait."""
    yield
    await undisturbed()


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_module, "GRACE_S", SOON_S)


# Ending.


async def test_what_a_handler_returns_is_the_value() -> None:
    async def handler(argument: str) -> str:
        await anyio.lowlevel.checkpoint()
        return f"async {argument}"

    ended = await run(handler)
    assert (ended.value, ended.error, ended.stopped, ended.never_awaited) == ("async argument", None, None, [])
    assert 0 <= ended.took_s < 5


async def test_a_handler_that_is_not_async_runs_in_a_thread() -> None:
    ended = await run(lambda argument: (argument, threading.get_ident()))
    assert ended.value[0] == "argument"
    assert ended.value[1] != threading.get_ident()


async def test_context_variables_reach_a_thread() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    assert (await run(lambda _: variable.get())).value == "set"


class NoText(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


ERRORS = [
    ValueError("no"),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError("stray"),
    StopIteration(5),
    StopAsyncIteration(),
    MemoryError(),
    RecursionError(),
    TimeoutError(),
    ExceptionGroup("group", [ValueError("one"), KeyError("two")]),
    BaseExceptionGroup("group", [KeyboardInterrupt(), asyncio.CancelledError()]),
    NoText(),
    anyio.WouldBlock(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["at once", "after waiting", "in a thread"])
async def test_whatever_a_handler_raises_is_how_its_call_ended(error: BaseException, where: str) -> None:
    async def waits(_: Any) -> None:
        if where == "after waiting":
            await anyio.lowlevel.checkpoint()
        raise error

    def in_a_thread(_: Any) -> None:
        raise error

    ended = await run(in_a_thread if where == "in a thread" else waits)
    assert ended.stopped is None
    assert ended.value is None
    assert ended.error is error or ended.error.__cause__ is error  # Python itself wraps a StopIteration
    await undisturbed()


async def test_an_endless_recursion_is_an_error_like_any_other() -> None:
    def deeper(argument: Any) -> Any:
        return deeper(argument)

    async def handler(argument: Any) -> Any:
        return deeper(argument)

    assert isinstance((await run(handler)).error, RecursionError)
    assert isinstance((await run(deeper)).error, RecursionError)


async def test_a_handler_that_cannot_be_called_at_all_is_an_error() -> None:
    assert isinstance((await run(lambda: None)).error, TypeError)

    async def takes_none() -> None: ...

    assert isinstance((await run(takes_none)).error, TypeError)


async def test_an_error_of_a_group_of_tasks_is_told_whole() -> None:
    async def fails() -> None:
        raise ValueError("no")

    async def handler(_: Any) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fails())
            await anyio.sleep_forever()

    ended = await run(handler)
    assert isinstance(ended.error, ExceptionGroup)
    await undisturbed()


async def test_a_timeout_inside_a_handler_is_its_own() -> None:
    async def handler(_: Any) -> str:
        with anyio.move_on_after(0):
            await anyio.sleep_forever()
        try:
            async with asyncio.timeout(0):
                await anyio.sleep_forever()
        except TimeoutError:
            return "went on"
        return "never"

    ended = await run(handler)
    assert (ended.value, ended.stopped) == ("went on", None)


# Cancellations that are not the daemon's.


async def test_waiting_for_something_cancelled_is_an_error_of_the_handler() -> None:
    async def handler(_: Any) -> None:
        other = asyncio.ensure_future(anyio.sleep_forever())
        other.cancel()
        await other

    assert isinstance((await run(handler)).error, asyncio.CancelledError)
    await undisturbed()


async def test_a_handler_that_cancels_its_own_task_and_waits_has_failed() -> None:
    async def handler(_: Any) -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]
        await anyio.lowlevel.checkpoint()

    assert isinstance((await run(handler)).error, asyncio.CancelledError)
    await undisturbed()


@pytest.mark.parametrize("times", [1, 3])
async def test_a_handler_that_cancels_its_own_task_and_ends_harms_nobody_else(times: int) -> None:
    async def handler(_: Any) -> str:
        for _ in range(times):
            asyncio.current_task().cancel()  # type: ignore[union-attr]
        return "done"

    ended = await run(handler)
    assert ended.value == "done"
    await undisturbed()


async def test_calls_that_follow_each_other_in_one_task_do_not_disturb_each_other() -> None:
    async def cancels(_: Any) -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]
        await anyio.lowlevel.checkpoint()

    async def groups(_: Any) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fails())
            await anyio.sleep_forever()

    async def fails() -> None:
        raise ValueError("no")

    for _ in range(3):
        assert isinstance((await run(cancels)).error, asyncio.CancelledError)
        assert isinstance((await run(groups)).error, ExceptionGroup)
        assert (await run(forever, SOON_S)).stopped is Stop.TIMEOUT


# Being stopped.


async def forever(_: Any) -> None:
    await anyio.sleep_forever()


async def test_a_call_that_takes_too_long_is_stopped() -> None:
    ended = await run(forever, SOON_S)
    assert ended.stopped is Stop.TIMEOUT
    assert ended.took_s >= SOON_S
    await undisturbed()


async def test_a_thread_that_takes_too_long_is_left_alone() -> None:
    let_go, loop = threading.Event(), asyncio.get_running_loop()

    def handler(_: object) -> None:
        loop.call_soon_threadsafe(call.stop, Stop.TIMEOUT)  # not before the thread has begun
        let_go.wait(LONG_S)

    call = a_call(handler)
    ended = await call.run("argument")
    assert ended.stopped is Stop.TIMEOUT
    assert call.left_a_thread
    assert not call.abandoned
    let_go.set()
    await eventually(lambda: not call.left_a_thread)
    await undisturbed()


@pytest.mark.parametrize("why", list(Stop))
async def test_a_call_can_be_stopped_from_outside(why: Stop) -> None:
    call = a_call(forever)
    asyncio.get_running_loop().call_soon(call.stop, why)
    ended = await call.run("argument")
    assert ended.stopped is why
    await undisturbed()


async def test_the_first_reason_to_stop_counts() -> None:
    call = a_call(forever)
    loop = asyncio.get_running_loop()
    loop.call_soon(call.stop, Stop.DRAIN)
    loop.call_soon(call.stop, Stop.CUT_OFF)
    assert (await call.run("argument")).stopped is Stop.DRAIN
    await undisturbed()


async def test_a_call_that_has_not_begun_or_has_ended_is_not_stopped() -> None:
    async def handler(argument: str) -> str:
        return argument

    call = a_call(handler)
    call.stop(Stop.DRAIN)
    ended = await call.run("argument")
    call.stop(Stop.DRAIN)
    assert (ended.value, ended.stopped, call.stopped) == ("argument", None, None)
    await undisturbed()


async def test_a_call_that_ends_in_the_moment_it_is_stopped_disturbs_nobody() -> None:
    ready = asyncio.Event()

    async def handler(_: Any) -> str:
        await ready.wait()
        return "done"

    call = a_call(handler)
    loop = asyncio.get_running_loop()
    loop.call_soon(ready.set)
    loop.call_soon(call.stop, Stop.DRAIN)
    ended = await call.run("argument")
    assert ended.stopped is Stop.DRAIN
    await undisturbed()


async def test_a_stopped_handler_may_clean_up() -> None:
    cleaned = []

    async def handler(_: Any) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            cleaned.append(True)

    assert (await run(handler, SOON_S)).stopped is Stop.TIMEOUT
    assert cleaned == [True]


@pytest.mark.parametrize("how", ["returns", "raises"])
async def test_a_stopped_handler_that_ends_in_its_own_way_was_stopped_all_the_same(how: str) -> None:
    async def handler(_: Any) -> str:
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            if how == "raises":
                raise ValueError("no") from None
        return "done"

    ended = await run(handler, SOON_S)
    assert ended.stopped is Stop.TIMEOUT
    assert (ended.value == "done") == (how == "returns")
    assert isinstance(ended.error, ValueError) == (how == "raises")
    await undisturbed()


@pytest.mark.usefixtures("short_grace")
async def test_a_handler_that_ignores_its_cancellation_is_called_a_runaway_once() -> None:
    let_go, found = asyncio.Event(), asyncio.Event()
    runaways: list[Call] = []

    def runaway(call: Call) -> None:
        runaways.append(call)
        found.set()

    async def handler(_: Any) -> str:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    call = a_call(handler, SOON_S, runaway)
    running = asyncio.create_task(call.run("argument"))
    await asyncio.wait_for(found.wait(), 5)
    assert call.abandoned
    assert runaways == [call]
    call.stop(Stop.DRAIN)
    let_go.set()
    ended = await running
    assert (ended.value, ended.stopped) == ("late", Stop.TIMEOUT)
    assert runaways == [call]


@pytest.mark.usefixtures("short_grace")
async def test_a_handler_that_ends_within_the_grace_time_is_no_runaway() -> None:
    assert (await run(forever, SOON_S)).stopped is Stop.TIMEOUT
    late = asyncio.Event()
    asyncio.get_running_loop().call_later(3 * SOON_S, late.set)
    await late.wait()  # no_runaway would have been called by now


# The daemon's own cancellation.


@pytest.mark.parametrize("handler", [forever, lambda _: threading.Event().wait(0.05)], ids=["async", "thread"])
async def test_the_cancellation_of_the_daemon_passes_through(handler: Callable[[Any], Any]) -> None:
    with anyio.CancelScope() as daemon:
        asyncio.get_running_loop().call_soon(daemon.cancel)
        await run(handler)
        pytest.fail("the call went on")
    assert daemon.cancelled_caught


async def test_the_cancellation_of_a_group_of_calls_ends_all_of_them() -> None:
    ends = []

    async def one() -> None:
        try:
            ends.append(await run(forever))
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async with anyio.create_task_group() as calls:
        for _ in range(3):
            calls.start_soon(one)
        await anyio.lowlevel.checkpoint()
        calls.cancel_scope.cancel()
    assert ends == ["cancelled"] * 3


async def test_a_daemon_that_is_cancelled_while_it_stops_a_call_still_ends() -> None:
    call = a_call(forever)
    with anyio.CancelScope() as daemon:
        asyncio.get_running_loop().call_soon(call.stop, Stop.DRAIN)
        asyncio.get_running_loop().call_soon(daemon.cancel)
        await call.run("argument")
        await anyio.sleep_forever()
    assert daemon.cancelled_caught


async def test_a_handler_that_swallows_the_cancellation_of_the_daemon_does_not_keep_it() -> None:
    async def handler(_: Any) -> str:
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            return "swallowed"
        return "never"

    with anyio.CancelScope() as daemon:
        asyncio.get_running_loop().call_soon(daemon.cancel)
        await run(handler)
        await anyio.sleep_forever()
    assert daemon.cancelled_caught


# What was never awaited.


async def forgotten() -> None: ...


async def forgets(_: Any) -> str:
    forgotten()
    await anyio.lowlevel.checkpoint()
    return "done"


def forgets_in_a_thread(_: Any) -> str:
    forgotten()
    return "done"


async def returns_it(_: Any) -> Any:
    return forgotten()


def returns_it_from_a_thread(_: Any) -> Any:
    return forgotten()


@pytest.mark.parametrize("handler", [forgets, forgets_in_a_thread, returns_it, returns_it_from_a_thread])
async def test_a_coroutine_that_was_never_awaited_is_named(handler: Callable[[Any], Any]) -> None:
    ended = await run(handler)
    assert ended.never_awaited == ["forgotten"]
    assert ended.error is None
    assert ended.value in ("done", None)


async def test_every_one_of_many_is_named() -> None:
    async def handler(_: Any) -> None:
        for _ in range(3):
            forgotten()

    assert (await run(handler)).never_awaited == ["forgotten"] * 3


async def test_only_the_call_that_forgot_is_told() -> None:
    async def does_not(_: Any) -> None:
        for _ in range(5):
            await forgotten()

    guilty, innocent, thread = await asyncio.gather(run(forgets), run(does_not), run(forgets_in_a_thread))
    assert guilty.never_awaited == thread.never_awaited == ["forgotten"]
    assert innocent.never_awaited == []
    assert (await run(does_not)).never_awaited == []


async def test_what_others_forget_is_warned_about_as_before() -> None:
    def elsewhere() -> None:
        forgotten()

    with warnings.catch_warnings(record=True) as said:
        await run(forgets)
        contextvars.Context().run(elsewhere)
    assert [str(each.message) for each in said] == ["coroutine 'forgotten' was never awaited"]
