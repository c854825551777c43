"""loops/brakes and loops/breaker_loop: what one daemon knows, and when it asks and tells."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from actiond.contract.policy import Policy
from actiond.loops import brakes as brakes_module
from actiond.loops.brakes import PROBING_S, SUSPECT_S, Brakes
from actiond.loops.breaker_loop import AGAIN_S, BreakerLoop
from actiond.loops.world import World
from actiond.postgres.action_store import Answer
from actiond.rules.breaker import Breaker, BreakerPolicy, Verdict
from actiond.words.claimed import Settlement

OPEN = Breaker("----", left_s=8.0)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(brakes_module, "time", clock)
    return clock


def test_without_anything_known_nothing_is_held_back() -> None:
    brakes = Brakes()
    assert (brakes.open, brakes.left_s) == (False, None)


def test_it_is_news_when_a_breaker_opens_or_closes_and_not_how_long(clock: Clock) -> None:
    brakes = Brakes()
    assert [brakes.told(left_s) for left_s in (None, 8.0, 5.0, -1.0, None, None)] == [
        False, True, False, False, True, False,
    ]  # fmt: skip


def test_a_pause_passes(clock: Clock) -> None:
    brakes = Brakes()
    brakes.told(8.0)
    clock.now_s += 5
    assert (brakes.open, brakes.breaker_left_s, brakes.left_s) == (True, 3.0, 3.0)
    clock.now_s += 5
    assert (brakes.open, brakes.breaker_left_s, brakes.left_s) == (True, 0.0, None)


def test_a_claim_says_when_a_token_is_there(clock: Clock) -> None:
    brakes = Brakes()
    brakes.claimed(Answer([], token_in_s=2.0), clock.now_s)
    assert (brakes.rate_left_s, brakes.left_s, brakes.open) == (2.0, 2.0, False)
    brakes.told(8.0)
    assert brakes.left_s == 8.0
    brakes.new_policy()
    assert brakes.rate_left_s == 0.0
    brakes.claimed(Answer([], token_in_s=2.0), clock.now_s)
    brakes.claimed(Answer([]), clock.now_s)
    assert brakes.rate_left_s == 0.0


def test_a_claim_says_how_the_breaker_stands_and_who_was_not_asked_says_nothing(clock: Clock) -> None:
    brakes = Brakes()
    brakes.claimed(Answer([], breaker=OPEN), clock.now_s)
    assert brakes.breaker_left_s == 8.0
    brakes.claimed(Answer([]), clock.now_s)
    assert brakes.breaker_left_s == 8.0
    brakes.claimed(Answer([], breaker=Breaker("----", left_s=-3.0, probe=7)), clock.now_s)
    assert brakes.breaker_left_s == PROBING_S
    brakes.claimed(Answer([], breaker=Breaker("++")), clock.now_s)
    assert not brakes.open


def test_what_is_suspected_is_known_as_soon_as_the_database_says_anything(clock: Clock) -> None:
    brakes = Brakes()
    for heard in (
        lambda: brakes.told(None),
        lambda: brakes.told(8.0),
        lambda: brakes.claimed(Answer([], breaker=OPEN), clock.now_s),
    ):
        brakes.suspect()
        assert (brakes.open, brakes.suspected, brakes.left_s) == (True, True, SUSPECT_S)
        heard()
        assert not brakes.suspected


def test_an_answer_that_was_asked_for_before_something_newer_was_told_is_passed_over(clock: Clock) -> None:
    brakes, asked_s = Brakes(), clock.now_s
    assert not brakes.overtaken(asked_s, None)
    clock.now_s += 1
    brakes.told(8.0)
    assert brakes.overtaken(asked_s, None)
    brakes.claimed(Answer([], breaker=Breaker()), asked_s)
    assert brakes.open
    assert not brakes.overtaken(clock.now_s, None)
    brakes.claimed(Answer([], breaker=Breaker()), clock.now_s)
    assert not brakes.open
    brakes.suspect()
    assert brakes.overtaken(clock.now_s, None)  # the database does not know yet
    assert not brakes.overtaken(clock.now_s, 8.0)


# The loop


class Store:
    """Keeps what is reported; says that nothing changes, or breaks."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, list[Verdict]]] = []
        self.before = self.after = Breaker()
        self.broken = False

    async def heard(self, name: str, policy: BreakerPolicy, verdicts: Sequence[Verdict]) -> tuple[Breaker, Breaker]:
        if self.broken:
            raise ConnectionResetError("gone")
        self.reports.append((name, list(verdicts)))
        return self.before, self.after


class Loop:
    """What of a ProcessorLoop is asked."""

    def __init__(self, policy: Policy) -> None:
        self.crew = SimpleNamespace(policy=policy)
        self.brakes = Brakes()
        self.writer = SimpleNamespace(unsaved=0)
        self.stood: list[float | str | None] = []

    def breaker_stands(self, left_s: float | None) -> None:
        self.stood.append(left_s)
        self.brakes.told(left_s)

    def suspect_breaker(self) -> None:
        self.stood.append("suspected")
        self.brakes.suspect()


def failures(count: int, run_id: int = 1) -> list[Settlement]:
    return [Settlement(id_, run_id, "retried", error="no", retries_left=1) for id_ in range(count)]


def a_loop(store: Store, **policies: Policy) -> tuple[BreakerLoop, dict[str, Any]]:
    loops: dict[str, Any] = {name: Loop(policy) for name, policy in policies.items()}
    return BreakerLoop(store, loops, World()), loops  # type: ignore[arg-type]


async def test_only_outcomes_of_processors_with_a_breaker_are_reported_all_of_them_at_once() -> None:
    store = Store()
    loop, _ = a_loop(store, p=Policy(breaker=0.5), q=Policy())
    for name in ("p", "q", "unknown", "p"):
        loop.landed(name, failures(2))
    assert await loop.step() is None
    assert store.reports == [("p", [Verdict(1, False)] * 4)]
    await loop.step()
    assert len(store.reports) == 1


async def test_a_daemon_that_stops_reports_no_more() -> None:
    store, world = Store(), World()
    loop = BreakerLoop(store, {"p": Loop(Policy(breaker=0.5))}, world)  # type: ignore[arg-type, dict-item]
    loop.landed("p", failures(1))
    world.stopping = True
    loop.landed("p", failures(10))
    await loop.step()
    assert store.reports == [("p", [Verdict(1, False)])]


async def test_what_could_not_be_reported_is_reported_later_in_order() -> None:
    store = Store()
    loop, _ = a_loop(store, p=Policy(breaker=0.5), q=Policy(breaker=0.5))
    store.broken = True
    loop.landed("p", failures(1, run_id=1))
    loop.landed("q", failures(1, run_id=2))
    assert await loop.step() == AGAIN_S
    loop.landed("p", failures(1, run_id=3))
    store.broken = False
    assert await loop.step() is None
    assert sorted(store.reports) == [("p", [Verdict(1, False), Verdict(3, False)]), ("q", [Verdict(2, False)])]


async def test_the_processor_hears_how_its_breaker_stands_after_a_report() -> None:
    store = Store()
    loop, loops = a_loop(store, p=Policy(breaker=0.5))
    for store.before, store.after in ((Breaker(), OPEN), (OPEN, OPEN), (OPEN, Breaker())):
        loop.landed("p", failures(1))
        await loop.step()
    assert loops["p"].stood == [8.0, 8.0, None]


async def test_what_this_daemon_has_seen_shuts_its_gate_until_all_of_it_is_reported() -> None:
    store = Store()
    loop, loops = a_loop(store, p=Policy(breaker=0.5, breaker_outcomes=4), q=Policy())
    p = loops["p"]
    loop.settled("q", failures(10))
    loop.settled("p", failures(3))
    assert (p.stood, loops["q"].stood) == ([], [])
    loop.settled("p", failures(1))
    assert p.stood == ["suspected"]
    loop.settled("p", failures(10))  # calls that were under way
    assert p.stood == ["suspected"]
    p.writer.unsaved = 3
    loop.landed("p", failures(4))
    await loop.step()  # there will be more reports, so it stays shut, whatever this one says
    assert p.stood == ["suspected"]
    p.writer.unsaved = 0
    loop.landed("p", failures(4))
    await loop.step()  # that was all, and others succeed
    assert p.stood == ["suspected", None]
    loop.settled("p", failures(3))  # counting begins anew
    assert p.stood == ["suspected", None]
    loop.settled("p", failures(1))
    assert p.stood == ["suspected", None, "suspected"]
    store.after, p.writer.unsaved = OPEN, 5
    loop.landed("p", failures(1))
    await loop.step()
    assert p.stood[3:] == [8.0]
