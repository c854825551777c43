"""batch/surroundings: what is around a call sees it, and changes no outcome, whatever it does itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from actiond import ALLOW_RETRY, KEEP_ALIVE, Action, Batch, Processor, around, batch_processor, lifespan, processor
from actiond.batch import call as call_module
from actiond.batch import surroundings
from actiond.batch.batch_run import Outcomes, run_rows
from actiond.batch.call import Call, Stop
from actiond.contract import home
from actiond.contract.hooks import enterables
from actiond.contract.resource import offered
from actiond.words.errors import ProcessorInvalid
from actiond.words.outcome import Completed, Failed, Outcome
from pure.build import a_row, a_scope, undisturbed
from support.database import eventually

LONG_S = 60.0
variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture(autouse=True)
async def _nothing_is_left_behind() -> AsyncIterator[None]:
    yield
    await undisturbed()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "AROUND_S", 0.02)


def a_call(declared: Processor, timeout_s: float = LONG_S, runaway: Callable[[Call], None] | None = None) -> Call:
    return Call(declared.handler, declared.is_async, timeout_s, runaway or (lambda _: None))


async def run(declared: Processor, *arounds: Any, rows: int = 1, call: Call | None = None) -> Outcomes:
    """One call with these around it."""
    there = [a_row(place + 1, data=str(place)) for place in range(rows)]
    around_all = home.arounds(declared, enterables(arounds))
    return await run_rows(declared, {}, there, a_scope(), call or a_call(declared), None, around_all)


def by_id(outcomes: Outcomes) -> dict[int, Outcome]:
    return {row.id: outcome for row, outcome in outcomes.decided}


def one(handler: Callable[[Any], Any]) -> Processor:
    return processor("p")(handler)


def writes(name: str, happened: list[str]) -> Any:
    async def around_it(batch: Batch[Any]) -> AsyncIterator[None]:
        happened.append(f"enter {name}")
        try:
            yield
        finally:
            happened.append(f"leave {name}")

    return around_it


# What it is for.


async def test_entered_in_order_left_in_reverse_with_the_handler_in_the_middle() -> None:
    happened: list[str] = []

    async def handler(action: Action[int]) -> str:
        happened.append("handler")
        return "done"

    outcomes = await run(one(handler), writes("a", happened), writes("b", happened))
    assert happened == ["enter a", "enter b", "handler", "leave b", "leave a"]
    assert by_id(outcomes) == {1: Completed("done")}


@pytest.mark.parametrize("in_thread", [False, True])
async def test_the_handler_sees_the_context_that_it_makes(in_thread: bool) -> None:
    async def sets(batch: Batch[Any]) -> AsyncIterator[None]:
        variable.set(f"{batch.processor} {batch.run_id} {[action.data for action in batch]}")
        yield

    async def handler(action: Action[int]) -> str:
        return variable.get()

    def handler_in_thread(action: Action[int]) -> str:
        return variable.get()

    outcomes = await run(one(handler_in_thread if in_thread else handler), sets)
    assert by_id(outcomes) == {1: Completed("mail 7 [0]")}


async def test_it_sees_the_error_of_the_handler() -> None:
    seen: list[Any] = []

    async def looks(batch: Batch[Any]) -> AsyncIterator[None]:
        try:
            yield
        except Exception as error:
            seen.append(error)
            raise

    class Plain:
        async def __aenter__(self) -> None: ...

        async def __aexit__(self, kind: Any, error: Any, frames: Any) -> None:
            seen.append(error)

    async def handler(action: Action[int]) -> None:
        raise ValueError("no")

    with capture_logs() as lines:
        outcomes = await run(one(handler), looks, lambda batch: Plain())
    assert [str(error) for error in seen] == ["no", "no"]
    assert isinstance(by_id(outcomes)[1], Failed)
    assert lines == []


async def test_an_error_that_it_forgives_is_the_outcome_all_the_same() -> None:
    async def forgives(batch: Batch[Any]) -> AsyncIterator[None]:
        try:
            yield
        except ValueError:
            return

    async def replaces(batch: Batch[Any]) -> AsyncIterator[None]:
        try:
            yield
        except ValueError:
            raise KeyError("another") from None

    async def handler(action: Action[int]) -> None:
        raise ValueError("no")

    with capture_logs() as lines:
        outcomes = await run(one(handler), forgives, replaces)
    (outcome,) = by_id(outcomes).values()
    assert isinstance(outcome, Failed)
    assert repr(outcome.error) == "ValueError('no')"
    assert [(line["event"], line["error"]) for line in lines] == [("around_failed", "KeyError: 'another'")]


async def test_it_may_mark_actions_as_the_handler_may() -> None:
    async def marks(batch: Batch[Any]) -> AsyncIterator[None]:
        batch[0].complete("before")
        yield
        batch[1].complete("after")

    async def handler(batch: Batch[int]) -> None: ...

    outcomes = by_id(await run(batch_processor("p")(handler), marks, rows=3))
    assert (outcomes[1], outcomes[2]) == (Completed("before"), Completed("after"))
    assert outcomes[3] == Failed("processor returned no outcome")


async def test_the_batch_of_a_batch_handler_is_the_one_it_gets() -> None:
    seen: list[Any] = []

    async def looks(batch: Batch[Any]) -> AsyncIterator[None]:
        seen.append(batch)
        yield

    async def handler(batch: Batch[int]) -> None:
        seen.append(batch)
        batch.complete()

    await run(batch_processor("p")(handler), looks, rows=2)
    assert seen[0] is seen[1]


async def test_it_is_around_all_calls_of_a_search_for_a_culprit() -> None:
    happened: list[str] = []

    async def handler(batch: Batch[int]) -> None:
        happened.append(f"call of {len(batch)}")
        if any(action.data == 2 for action in batch):
            raise ValueError("two")
        batch.complete()

    declared = batch_processor("p", isolate=True, idempotent=True)(handler)
    outcomes = by_id(await run(declared, writes("a", happened), rows=4))
    assert [type(outcome) for outcome in outcomes.values()].count(Failed) == 1
    assert (happened[0], happened[-1]) == ("enter a", "leave a")
    assert happened.count("enter a") == happened.count("leave a") == 1
    assert len(happened) > 4


async def test_resources_are_there() -> None:
    @lifespan
    async def bank() -> AsyncIterator[str]:
        yield "unused"

    seen: list[str] = []

    async def looks(batch: Batch[Any]) -> AsyncIterator[None]:
        seen.append(bank.value)
        yield
        seen.append(bank.value)

    async def handler(action: Action[int]) -> str:
        return bank.value

    with offered({bank: "ours"}):
        assert by_id(await run(one(handler), looks)) == {1: Completed("ours")}
    assert seen == ["ours", "ours"]


# Whatever goes wrong in it.

RAISES = [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError("stray")]
RAISES += [BaseExceptionGroup("group", [KeyboardInterrupt(), ValueError("x")]), TimeoutError("their own")]


@pytest.mark.parametrize("error", RAISES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["at once", "entering", "leaving"])
@pytest.mark.parametrize("fails", [False, True])
async def test_what_it_raises_is_told_and_changes_no_outcome(error: BaseException, where: str, fails: bool) -> None:
    happened: list[str] = []

    class Raises:
        async def __aenter__(self) -> None:
            await anyio.lowlevel.checkpoint()
            if where == "entering":
                raise error

        async def __aexit__(self, *how: object) -> None:
            await anyio.lowlevel.checkpoint()
            raise error

    def made(batch: Batch[Any]) -> Raises:
        if where == "at once":
            raise error
        return Raises()

    async def handler(action: Action[int]) -> str:
        happened.append("handler")
        if fails:
            raise LookupError("its own")
        return "done"

    with capture_logs() as lines:
        outcomes = by_id(await run(one(handler), writes("a", happened), made, writes("b", happened)))
    assert happened == ["enter a", "enter b", "handler", "leave b", "leave a"]
    if fails:
        outcome = outcomes[1]
        assert isinstance(outcome, Failed)
        assert (repr(outcome.error), outcome.behavior) == ("LookupError('its own')", ALLOW_RETRY)
    else:
        assert outcomes == {1: Completed("done")}
    (line,) = lines
    assert line["event"] == "around_failed"
    assert "made" in line["around"]
    assert type(error).__name__ in line["error"]


@pytest.mark.parametrize("where", ["entering", "leaving"])
async def test_one_that_takes_too_long_is_given_up(soon: None, where: str) -> None:
    happened: list[str] = []

    @asynccontextmanager
    async def hangs(batch: Batch[Any]) -> AsyncIterator[None]:
        if where == "entering":
            await anyio.sleep_forever()
        yield
        await anyio.sleep_forever()

    async def handler(action: Action[int]) -> str:
        await anyio.lowlevel.checkpoint()
        return "done"

    with capture_logs() as lines:
        outcomes = await run(one(handler), writes("a", happened), hangs, call=a_call(one(handler), timeout_s=0.5))
    assert by_id(outcomes) == {1: Completed("done")}
    assert happened == ["enter a", "leave a"]
    assert [line["error"] for line in lines] == ["not done within 0.02 s"]


async def test_the_time_it_takes_is_not_taken_from_the_handler() -> None:
    async def slow(batch: Batch[Any]) -> AsyncIterator[None]:
        with anyio.move_on_after(0.1):
            await anyio.sleep_forever()
        yield
        with anyio.move_on_after(0.1):
            await anyio.sleep_forever()

    async def handler(action: Action[int]) -> str:
        await anyio.lowlevel.checkpoint()
        return "done"

    outcomes = await run(one(handler), slow, call=a_call(one(handler), timeout_s=0.05))
    assert by_id(outcomes) == {1: Completed("done")}


async def test_a_handler_that_runs_out_of_its_time_is_left_properly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "BACKSTOP_S", LONG_S)
    happened: list[str] = []

    async def handler(action: Action[int]) -> None:
        await anyio.sleep_forever()

    declared = one(handler)
    with anyio.fail_after(5):
        outcomes = await run(declared, writes("a", happened), call=a_call(declared, timeout_s=0.02))
    (outcome,) = by_id(outcomes).values()
    assert isinstance(outcome, Failed)
    assert str(outcome.error).startswith("timed out after")
    assert happened == ["enter a", "leave a"]


async def test_a_coroutine_that_it_forgets_is_its_own_and_not_the_handlers() -> None:
    async def work() -> None: ...

    async def forgets(batch: Batch[Any]) -> AsyncIterator[None]:
        work()
        yield
        work()

    async def handler(action: Action[int]) -> str:
        return "done"

    with capture_logs() as lines:
        outcomes = await run(one(handler), forgets)
    assert by_id(outcomes) == {1: Completed("done")}
    assert [line["event"] for line in lines] == ["around_failed"] * 2
    assert "was never awaited" in lines[0]["error"]


async def test_a_handler_that_forgets_one_is_still_found_out() -> None:
    async def work() -> None: ...

    async def handler(action: Action[int]) -> str:
        work()
        return "done"

    outcomes = await run(one(handler), writes("a", []))
    (outcome,) = by_id(outcomes).values()
    assert isinstance(outcome, Failed)
    assert "was never awaited" in str(outcome.error)


# Stopping.


class Waits:
    """Says where it is, and waits there."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.there = anyio.Event()
        self.cancelled = False

    async def __aenter__(self) -> None:
        if self.where == "entering":
            await self._wait()

    async def __aexit__(self, *how: object) -> None:
        if self.where == "leaving":
            await self._wait()

    async def _wait(self) -> None:
        self.there.set()
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def stopped(declared: Processor, waits: Waits, why: Stop, *outside: Any) -> Outcomes:
    """The outcomes of a call that is stopped where `waits` waits."""
    call, found = a_call(declared), list[Outcomes]()

    async def one_call() -> None:
        found.append(await run(declared, *outside, lambda batch: waits, call=call))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one_call)
        await waits.there.wait()
        call.stop(why)
    return found[0]


async def test_stopped_while_it_is_entered_the_handler_is_not_called() -> None:
    happened: list[str] = []
    waits = Waits("entering")

    async def handler(action: Action[int]) -> None:
        happened.append("handler")

    with capture_logs() as lines:
        outcomes = await stopped(one(handler), waits, Stop.DRAIN, writes("a", happened))
    (outcome,) = by_id(outcomes).values()
    assert outcome == Failed(str(Stop.DRAIN), KEEP_ALIVE, after="0 s")
    assert happened == ["enter a", "leave a"]
    assert waits.cancelled
    assert lines == []


@pytest.mark.parametrize("why", [Stop.DRAIN, Stop.TIMEOUT])
async def test_stopped_while_it_is_left_what_the_handler_did_counts(why: Stop) -> None:
    happened: list[str] = []
    waits = Waits("leaving")

    async def handler(action: Action[int]) -> str:
        return "done"

    outcomes = await stopped(one(handler), waits, why, writes("a", happened))
    assert by_id(outcomes) == {1: Completed("done")}
    assert happened == ["enter a", "leave a"]
    assert waits.cancelled


async def test_cut_off_while_it_is_left_nothing_counts() -> None:
    async def handler(action: Action[int]) -> str:
        return "done"

    outcomes = await stopped(one(handler), Waits("leaving"), Stop.CUT_OFF)
    assert outcomes.decided == []
    assert [row.id for row in outcomes.dropped] == [1]


@pytest.mark.parametrize("where", ["entering", "leaving"])
async def test_one_that_ignores_its_cancellation_is_a_runaway(
    monkeypatch: pytest.MonkeyPatch, soon: None, where: str
) -> None:
    monkeypatch.setattr(call_module, "GRACE_S", 0.02)
    monkeypatch.setattr(surroundings, "BACKSTOP_S", 0.05)
    enough, collected = anyio.Event(), list[Outcomes]()

    class Clings:
        async def __aenter__(self) -> None:
            await self._cling(where == "entering")

        async def __aexit__(self, *how: object) -> None:
            await self._cling(where == "leaving")

        async def _cling(self, here: bool) -> None:
            while here and not enough.is_set():
                try:
                    await enough.wait()
                except asyncio.CancelledError:
                    continue

    async def handler(action: Action[int]) -> str:
        return "done"

    declared = one(handler)
    call = a_call(declared, runaway=lambda call: collected.append(call.collect(call.runaway())))
    async with anyio.create_task_group() as tasks:

        async def one_call() -> None:
            await run(declared, lambda batch: Clings(), call=call)

        tasks.start_soon(one_call)
        await eventually(lambda: len(collected) == 1)
        enough.set()
    assert call.abandoned
    assert len(collected) == 1
    (outcome,) = by_id(collected[0]).values()
    if where == "leaving":
        assert outcome == Completed("done")
    else:
        assert isinstance(outcome, Failed)


async def test_the_end_of_the_daemon_ends_the_call() -> None:
    waits, happened = Waits("leaving"), list[str]()

    async def handler(action: Action[int]) -> str:
        return "done"

    async with anyio.create_task_group() as tasks:

        async def one_call() -> None:
            await run(one(handler), lambda batch: waits)
            await anyio.lowlevel.checkpoint()
            happened.append("went on")

        tasks.start_soon(one_call)
        await waits.there.wait()
        tasks.cancel_scope.cancel()
    assert waits.cancelled
    assert happened == []


async def test_a_cancel_scope_may_be_entered_and_left() -> None:
    @asynccontextmanager
    async def in_a_scope(batch: Batch[Any]) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            yield
            tasks.cancel_scope.cancel()

    async def handler(action: Action[int]) -> str:
        await anyio.lowlevel.checkpoint()
        return "done"

    with capture_logs() as lines:
        assert by_id(await run(one(handler), in_a_scope)) == {1: Completed("done")}
    assert lines == []


# Declaring it.


def test_what_cannot_be_around_anything_is_refused_at_the_declaration() -> None:
    async def no_yield(batch: Batch[Any]) -> None: ...

    wrong: Any
    for wrong, said in ((no_yield, "no `yield`"), (7, "not 7"), ([7], "not 7")):
        with pytest.raises(ProcessorInvalid, match=said):
            processor("p", around=wrong)(lambda action: None)
    with pytest.raises(ProcessorInvalid, match="not 7"):
        processor("p", finalize=7)(lambda action: None)  # type: ignore[arg-type]


async def in_a_module(batch: Batch[Any]) -> AsyncIterator[None]:
    yield


def test_those_of_the_daemon_are_outermost_then_the_module_then_its_own_each_once() -> None:
    async def own(batch: Batch[Any]) -> AsyncIterator[None]:
        yield

    async def daemons(batch: Batch[Any]) -> AsyncIterator[None]:
        yield

    everywhere = around(in_a_module)
    sys.modules[__name__].__dict__["everywhere"] = everywhere
    try:
        declared = processor("p", around=[own, everywhere])(lambda action: None)
        found = home.arounds(declared, enterables(daemons))
    finally:
        del sys.modules[__name__].__dict__["everywhere"]
    assert [each.given for each in found] == [daemons, in_a_module, own]


def _typed() -> None:
    """What a type checker must accept."""

    async def generator(batch: Batch[Any]) -> AsyncIterator[None]:
        yield

    @asynccontextmanager
    async def manager(batch: Batch[Any]) -> AsyncIterator[int]:
        yield 1

    @around
    async def everywhere(batch: Batch[Any]) -> AsyncIterator[None]:
        yield

    @processor("p", around=generator)
    async def one_of(action: Action[int]) -> None: ...

    @batch_processor("q", around=(generator, manager, everywhere))
    async def many(batch: Batch[int]) -> None: ...

    waited: Awaitable[None] = one_of(None)
    assert waited
