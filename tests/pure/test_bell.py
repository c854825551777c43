"""One slot, and nothing rung is lost."""

from __future__ import annotations

import anyio

from actiond.loops.bell import Bell


async def test_ringing_twice_wakes_once() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    assert await bell.wait(0)
    assert not await bell.wait(0)


async def test_a_ring_during_the_look_is_not_lost() -> None:
    bell, looks = Bell(), 0
    bell.ring()
    with anyio.move_on_after(1):
        while await bell.wait(0.05):
            looks += 1
            if looks == 1:
                bell.ring()  # an insert, while the loop looks
    assert looks == 2


async def test_without_a_ring_the_time_ends_the_wait() -> None:
    assert not await Bell().wait(0.001)
