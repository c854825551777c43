"""What the simulation expects of asyncio's insides, and of its own clock."""

from __future__ import annotations

import asyncio
import time

import anyio
import anyio.lowlevel
import pytest

from simulation.loop import Part, Spins, StandsStill, VirtualLoop, virtual


async def told(loop: VirtualLoop, names: str) -> str:
    """Tasks that are ready at the same time, in the order in which they ran."""
    order: list[str] = []

    async def one(name: str) -> None:
        await loop.pass_time(1.0)
        order.append(name)

    await asyncio.gather(*map(one, names))
    return "".join(order)


def test_the_clock_jumps_and_everybody_sees_it() -> None:
    async def wait() -> float:
        with anyio.move_on_after(3600.0):
            await asyncio.Event().wait()
        return time.monotonic()

    with virtual(1) as loop:
        assert 3600.0 <= loop.run_until_complete(wait()) < 3600.1
    assert time.monotonic.__module__ == "time"


def test_the_order_of_tasks_is_the_seeds() -> None:
    orders = []
    for seed in (1, 1, 2, 3):
        with virtual(seed) as loop:
            orders.append(loop.run_until_complete(told(loop, "abcdef")))
    assert orders[0] == orders[1]
    assert len(set(orders)) > 1
    assert {"".join(sorted(order)) for order in orders} == {"abcdef"}


def test_what_callbacks_bring_comes_in_order() -> None:
    async def call() -> str:
        came: list[str] = []
        for letter in "abcdef":
            asyncio.get_running_loop().call_soon(came.append, letter)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        return "".join(came)

    for seed in range(5):
        with virtual(seed) as loop:
            assert loop.run_until_complete(call()) == "abcdef"


def test_a_part_that_is_held_stands_still_and_its_timers_wait() -> None:
    async def hold() -> list[tuple[str, float]]:
        loop, part, came = asyncio.get_running_loop(), Part("p"), []
        assert isinstance(loop, VirtualLoop)

        async def work(name: str, seconds: float) -> None:
            await loop.pass_time(seconds)
            came.append((name, round(loop.now_s, 2)))

        tasks = [loop.create_task(work(name, at), context=part.context) for name, at in (("a", 1.0), ("b", 2.0))]
        loop.call_later(1.5, loop.hold, part)
        loop.call_later(5.0, loop.release, part)
        await asyncio.wait(tasks)
        return came

    with virtual(1) as loop:
        assert loop.run_until_complete(hold()) == [("a", 1.0), ("b", 5.0)]


def test_who_waits_for_ever_is_found() -> None:
    with virtual(1) as loop, pytest.raises(StandsStill):
        loop.run_until_complete(asyncio.Event().wait())


def test_who_never_lets_time_pass_is_found() -> None:
    async def spin() -> None:
        while True:
            await anyio.lowlevel.checkpoint()

    with virtual(1) as loop, pytest.raises(Spins):
        loop.run_until_complete(spin())
