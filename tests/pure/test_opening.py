"""loops/opening: when a window turns, by the clock of the database, between two polls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from actiond.loops import opening as opening_module
from actiond.loops.opening import DatabaseClock, Opening
from actiond.rules.window import Window

NIGHT = Window.of("22:00-06:00 UTC")
ALWAYS = Window.of("00:00-24:00 UTC")


class Monotonic:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    """The clock of this host that never jumps."""
    host = Monotonic()
    monkeypatch.setattr(opening_module, "time", host)
    return host


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 5, 3, hour, minute, tzinfo=UTC)


def test_before_the_first_poll_and_without_a_window_nothing_is_shut(host: Monotonic) -> None:
    clock = DatabaseClock()
    assert (Opening(clock).opens_in_s(NIGHT), Opening(clock).closes_in_s(NIGHT)) == (0.0, None)
    clock.told(at(12))
    assert (Opening(clock).opens_in_s(None), Opening(clock).closes_in_s(None)) == (0.0, None)
    assert (Opening(clock).opens_in_s(ALWAYS), Opening(clock).closes_in_s(ALWAYS)) == (0.0, None)


def test_the_time_of_the_database_goes_on_between_polls(host: Monotonic) -> None:
    clock = DatabaseClock()
    assert not clock.told(at(21))
    it = Opening(clock)
    assert (it.opens_in_s(NIGHT), it.closes_in_s(NIGHT)) == (3600.0, None)
    host.now_s += 3599
    assert it.opens_in_s(NIGHT) == 1.0
    host.now_s += 1
    assert (it.opens_in_s(NIGHT), it.closes_in_s(NIGHT)) == (0.0, 8 * 3600.0)
    host.now_s += 8 * 3600
    assert (it.opens_in_s(NIGHT), it.closes_in_s(NIGHT)) == (16 * 3600.0, None)


def test_another_window_holds_at_once(host: Monotonic) -> None:
    clock = DatabaseClock()
    clock.told(at(12))
    it = Opening(clock)
    assert it.opens_in_s(NIGHT) == 10 * 3600.0
    assert it.opens_in_s(None) == 0.0
    assert it.opens_in_s(Window.of("13:00-14:00 UTC")) == 3600.0


@pytest.mark.parametrize(("off_s", "news"), [(0.0, False), (0.9, False), (-0.9, False), (1.1, True), (-7200.0, True)])
def test_a_poll_sets_the_clock_and_it_is_news_if_that_one_was_set(host: Monotonic, off_s: float, news: bool) -> None:
    clock = DatabaseClock()
    clock.told(at(12))
    it = Opening(clock)
    it.opens_in_s(NIGHT)
    host.now_s += 60
    assert clock.told(at(12, 1) + timedelta(seconds=off_s)) is news
    assert it.opens_in_s(NIGHT) == pytest.approx(10 * 3600.0 - 60 - off_s)
