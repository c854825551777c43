"""contract/resource, contract/home, batch/lifespans: what is opened, in which order, and that it is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from actiond import Processor, Resource, lifespan, processor
from actiond.batch import lifespans as lifespans_module
from actiond.batch.lifespans import Lifespans, lifespans
from actiond.contract import home
from actiond.contract.resource import offer, offered
from actiond.words.errors import ResourceBroken, ResourceInvalid, ResourceNotOpen


def a_resource(name: str, happened: list[str], needs: Resource[Any] | None = None) -> Resource[str]:
    """Writes down when it is opened and closed."""

    async def make() -> AsyncIterator[str]:
        said = f"{name} of {needs.value}" if needs else name
        happened.append(f"open {said}")
        yield name
        happened.append(f"close {name}")

    make.__name__ = name
    return lifespan(make)


# Declaring one.


async def no_yield() -> None: ...


async def with_argument(dsn: str) -> AsyncIterator[str]:
    yield dsn


def not_async() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("made", "said"),
    [(no_yield, "one `yield`"), (not_async, "one `yield`"), (with_argument, "without arguments"), (7, "one `yield`")],
    ids=["no yield", "with an argument", "not async", "no function"],
)
def test_what_cannot_be_opened_is_refused_where_it_stands(made: Any, said: str) -> None:
    with pytest.raises(ResourceInvalid, match=said) as refused:
        lifespan(made)
    assert made == 7 or "test_resources.py:" in str(refused.value)


async def default_argument(dsn: str = "x") -> AsyncIterator[str]:
    yield dsn


def test_a_default_is_no_argument() -> None:
    assert lifespan(default_argument).name == "default_argument"


# Its value.


def test_it_has_no_value_where_nobody_opened_it() -> None:
    bank = a_resource("bank", [])
    with pytest.raises(ResourceNotOpen, match=r"'bank' at .*test_resources.py:"):
        _ = bank.value


async def test_it_has_the_value_it_was_given_in_its_task_and_threads() -> None:
    bank = a_resource("bank", [])
    seen: list[str] = []
    with offered({bank: "ours"}):
        seen.append(bank.value)
        await asyncio.to_thread(lambda: seen.append(bank.value))
        async with anyio.create_task_group() as tasks:

            async def within() -> None:
                seen.append(bank.value)

            tasks.start_soon(within)
    assert seen == ["ours"] * 3
    with pytest.raises(ResourceNotOpen):
        _ = bank.value


async def test_two_tasks_have_each_their_own() -> None:
    bank = a_resource("bank", [])

    async def sees(value: str) -> str:
        offer({bank: value})
        await anyio.lowlevel.checkpoint()
        return bank.value

    assert await asyncio.gather(sees("one"), sees("two")) == ["one", "two"]


# Which ones a processor needs.


def declared_in(names: dict[str, Any]) -> Processor:
    """A processor, declared in a module with these names."""
    code = """
@processor("p")
async def p(action):
    pass
"""
    names |= {"processor": processor}
    exec(compile(code, "a_module.py", "exec"), names)
    found: Processor = names["p"]
    return found


def test_those_of_its_module_in_the_order_of_the_module() -> None:
    first, second = a_resource("first", []), a_resource("second", [])
    assert home.resources([declared_in({"a": first, "b": second})]) == [first, second]
    assert home.resources([declared_in({"b": second, "a": first})]) == [second, first]


def test_each_once_and_none_without_a_processor() -> None:
    bank = a_resource("bank", [])
    assert home.resources([declared_in({"a": bank}), declared_in({"b": bank})]) == [bank]
    assert home.resources([]) == []
    assert home.resources([declared_in({})]) == []


MODULE = """
from actiond import lifespan

@lifespan
async def later():
    yield {needed!r} in globals() and earlier.value

@lifespan
async def earlier():
    yield 1

@lifespan
async def of_nobody():
    yield 2
"""


def test_what_one_names_comes_before_it_and_what_it_does_not_name_is_left_alone() -> None:
    names: dict[str, Any] = {}
    exec(compile(MODULE.format(needed="earlier"), "other.py", "exec"), names)
    assert home.resources([declared_in({"later": names["later"]})]) == [names["earlier"], names["later"]]


CIRCLE = """
from actiond import lifespan

@lifespan
async def one():
    yield two.value

@lifespan
async def two():
    yield one.value
"""


async def test_two_that_need_each_other_cannot_be_opened_and_one_says_so() -> None:
    names: dict[str, Any] = {}
    exec(compile(CIRCLE, "other.py", "exec"), names)
    found = home.resources([declared_in(names)])
    assert set(found) == {names["one"], names["two"]}
    async with Living() as resources:
        with pytest.raises(ResourceBroken, match="is not open here"):
            await resources.open(found)


class Picky:
    """A lazy object that does not like to be looked at."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("not now")


def test_a_lazy_object_in_the_module_is_left_alone() -> None:
    bank = a_resource("bank", [])
    assert home.resources([declared_in({"lazy": Picky(), "a": bank})]) == [bank]


# Opening and closing.


class Living:
    """`async with`: Lifespans whose tasks end with the block."""

    def __init__(self, broken: Callable[[str], None] = lambda _: None) -> None:
        self._broken = broken

    async def __aenter__(self) -> Lifespans:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._lifespans = lifespans(self._tasks, self._broken)
        return await self._lifespans.__aenter__()

    async def __aexit__(self, *how: Any) -> None:
        await self._lifespans.__aexit__(*how)
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)


async def test_opened_in_order_closed_in_reverse() -> None:
    happened: list[str] = []
    one = a_resource("one", happened)
    two = a_resource("two", happened, needs=one)
    async with Living() as resources:
        await resources.open([one, two])
        assert dict(resources.values) == {one: "one", two: "two"}
        await resources.open([two, one])  # they are open
        assert happened == ["open one", "open two of one"]
    assert happened == ["open one", "open two of one", "close two", "close one"]
    assert dict(resources.values) == {}


async def test_closed_in_reverse_also_when_everything_around_is_cancelled_or_raises() -> None:
    happened: list[str] = []
    one, two = a_resource("one", happened), a_resource("two", happened)
    with anyio.CancelScope() as scope:
        async with Living() as resources:
            await resources.open([one, two])
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert happened[2:] == ["close two", "close one"]
    happened.clear()
    with suppress(ValueError):
        async with Living() as resources:
            await resources.open([one, two])
            raise ValueError("in the middle")
    assert happened[2:] == ["close two", "close one"]


async def test_some_can_be_closed_and_opened_again() -> None:
    happened: list[str] = []
    one, two, three = (a_resource(name, happened) for name in ("one", "two", "three"))
    async with Living() as resources:
        await resources.open([one, two, three])
        await resources.close({one, three})
        assert happened[3:] == ["close three", "close one"]
        assert set(resources.lives) == {two}
        await resources.open([one])
    assert happened[5:] == ["open one", "close one", "close two"]


class Refused(Exception):
    pass


def failing(how: BaseException, happened: list[str]) -> Resource[str]:
    async def fails() -> AsyncIterator[str]:
        happened.append("tried")
        raise how
        yield "never"

    return lifespan(fails)


@pytest.mark.parametrize(
    "how",
    [Refused("nobody there"), SystemExit(3), asyncio.CancelledError("stray"), ExceptionGroup("g", [ValueError("x")])],
    ids=lambda how: type(how).__name__,
)
async def test_one_that_cannot_be_opened_is_told_in_a_line_and_the_new_ones_are_closed(how: BaseException) -> None:
    happened: list[str] = []
    before, new = a_resource("before", happened), a_resource("new", happened)
    async with Living() as resources:
        await resources.open([before])
        with pytest.raises(ResourceBroken, match=f"'fails' at .*test_resources.py:.*{type(how).__name__}") as broken:
            await resources.open([new, failing(how, happened), a_resource("never", happened)])
        assert "\n" not in str(broken.value)
        assert happened == ["open before", "open new", "tried", "close new"]
        assert set(resources.lives) == {before}
    assert happened[-1] == "close before"


async def test_one_that_yields_nothing_or_twice_is_told() -> None:
    async def nothing() -> AsyncIterator[int]:
        if anyio.current_time() < 0:
            yield 1

    async def twice() -> AsyncIterator[int]:
        yield 1
        yield 2

    async with Living() as resources:
        with pytest.raises(ResourceBroken, match="didn't yield"):
            await resources.open([lifespan(nothing)])
        await resources.open([lifespan(twice)])
        with capture_logs() as lines:
            await resources.close()
    assert [(line["event"], line["error"]) for line in lines] == [
        ("resource_failed", "RuntimeError: generator didn't stop")
    ]


async def test_a_stop_ends_the_wait_for_one_that_does_not_open() -> None:
    happened: list[str] = []

    async def hangs() -> AsyncIterator[str]:
        try:
            await anyio.sleep_forever()
        finally:
            happened.append("cancelled")
        yield "never"

    async with Living() as resources:
        with anyio.move_on_after(0.05):
            await resources.open([a_resource("one", happened), lifespan(hangs)])
        assert happened == ["open one", "cancelled", "close one"]
        assert not resources.lives


async def test_one_that_does_not_close_is_cancelled_and_the_others_are_closed(monkeypatch: Any) -> None:
    monkeypatch.setattr(lifespans_module, "CLOSE_S", 0.02)
    happened: list[str] = []

    async def clings() -> AsyncIterator[str]:
        yield "here"
        try:
            await anyio.sleep_forever()
        finally:
            happened.append("cancelled")

    async with Living() as resources:
        await resources.open([a_resource("one", happened), lifespan(clings), a_resource("two", happened)])
        with capture_logs() as lines:
            await resources.close()
    assert happened[2:] == ["close two", "cancelled", "close one"]
    assert [(line["resource"], line["error"]) for line in lines if line["event"] == "resource_failed"] == [
        ("clings", "not closed within 0.02 s")
    ]
    assert resources.left == []


async def test_one_that_ignores_its_cancellation_is_left_behind_and_named(monkeypatch: Any) -> None:
    monkeypatch.setattr(lifespans_module, "CLOSE_S", 0.02)
    monkeypatch.setattr(lifespans_module, "GRACE_S", 0.02)
    happened: list[str] = []
    enough = anyio.Event()

    async def clings() -> AsyncIterator[str]:
        yield "here"
        while not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                happened.append("ignored")

    async with Living() as resources:
        await resources.open([a_resource("one", happened), lifespan(clings)])
        await resources.close()
        enough.set()
    assert resources.left == ["clings"]
    assert [each for each in happened if each != "ignored"] == ["open one", "close one"]
    assert "ignored" in happened


async def test_one_that_ends_by_itself_is_heard_of_and_has_no_value_any_more() -> None:
    heard: list[str] = []
    fall = anyio.Event()

    async def fragile() -> AsyncIterator[str]:
        async with anyio.create_task_group() as tasks:

            async def breaks() -> None:
                await fall.wait()
                raise ConnectionError("gone")

            tasks.start_soon(breaks)
            yield "here"

    resource = lifespan(fragile)
    async with Living(heard.append) as resources:
        await resources.open([resource])
        with capture_logs() as lines:
            fall.set()
            await resources.lives[resource].over.wait()
            with offered(resources.values), pytest.raises(ResourceNotOpen):
                _ = resource.value
    assert heard == ["resource 'fragile' ended by itself"]
    assert [line["event"] for line in lines] == ["resource_failed"]
    assert "gone" in lines[0]["error"]


async def test_what_it_enters_it_leaves_in_the_same_task() -> None:
    tasks_seen: list[Any] = []

    async def bound() -> AsyncIterator[None]:
        tasks_seen.append(asyncio.current_task())
        with anyio.CancelScope():
            yield
        tasks_seen.append(asyncio.current_task())

    async with Living() as resources:
        await resources.open([lifespan(bound)])
        await asyncio.create_task(resources.close())
    assert tasks_seen[0] is tasks_seen[1]


def test_a_handler_of_another_module_brings_its_own() -> None:
    bank = a_resource("bank", [])
    code = "async def handler(action):\n    return bank.value\n"
    names: dict[str, Any] = {"bank": bank}
    exec(compile(code, "handlers.py", "exec"), names)
    assert home.resources([processor("p")(names["handler"])]) == [bank]
