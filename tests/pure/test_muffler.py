"""Rings for nothing become fewer, and none is lost. Time is told by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actiond.loops import muffler
from actiond.loops.muffler import VAIN, Muffler


class World:
    """Time, what was rung, what was found, and the timers."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.rung = self.found = 0
        self.timers: list[tuple[float, Any]] = []

    def monotonic(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, callback: Any) -> object:
        self.timers.append((self.now_s + delay_s, callback))
        return object()

    def ring(self) -> None:
        self.rung += 1

    def passes(self, for_s: float) -> None:
        until_s = self.now_s + for_s
        while due := sorted([timer for timer in self.timers if timer[0] <= until_s], key=lambda timer: timer[0]):
            self.timers.remove(due[0])
            self.now_s = due[0][0]
            due[0][1]()
        self.now_s = until_s


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(muffler, "time", made)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    return made


def test_a_burst_rings_at_once_and_a_flood_so_many_times_a_second(world) -> None:
    bell = Muffler(world.ring)
    assert all(bell.ring() for _ in range(VAIN.burst))
    assert not bell.ring()
    for _ in range(10_000):
        bell.ring()
        world.passes(0.001)
    assert world.rung == pytest.approx(VAIN.burst + 10 * VAIN.per_s, abs=2)


def test_the_last_ring_of_a_flood_is_not_lost(world) -> None:
    bell = Muffler(world.ring)
    for _ in range(VAIN.burst + 5):
        bell.ring()
    assert world.rung == VAIN.burst
    world.passes(1)
    assert world.rung == VAIN.burst + 1
    assert world.timers == []


def test_rings_that_found_something_are_free(world) -> None:
    bell = Muffler(world.ring, lambda: world.found)
    for _ in range(1_000):
        assert bell.ring()
        world.found += 1
    assert world.rung == 1_000


def test_what_was_found_is_no_credit_for_a_later_flood(world) -> None:
    bell = Muffler(world.ring, lambda: world.found)
    world.found = 1_000_000
    for _ in range(1_000):
        bell.ring()
    assert world.rung == VAIN.burst
