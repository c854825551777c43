"""What the daemon makes of the news from presence. The loops are stand-ins: this is about who is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from actiond.loops import muffler
from actiond.loops.bell import Bell
from actiond.loops.world import World
from actiond.postgres.presence import POLICY, WAKE, WITHDRAWN
from actiond.rules.rate import Rate
from actiond.service.hearing import Hearing


class ALoop:
    def __init__(self, run_on_insert: bool = True) -> None:
        self.bell = Bell()
        self.from_the_beginning, self.watermark = 0, self
        self.withdrawn: list[tuple[int, int]] = []
        self.crew = SimpleNamespace(
            policy=SimpleNamespace(run_on_insert=run_on_insert),
            runs=[8],
            withdraw=lambda run, action: self.withdrawn.append((run, action)),
            running=1,
            forget=lambda: self.forgotten.append(True),
        )
        self.writer = SimpleNamespace(drop=lambda: 3, tally=SimpleNamespace(claims=0))
        self.forgotten: list[bool] = []

    def forget(self, *, at_once: bool) -> None:
        self.from_the_beginning += at_once


class APolicyLoop:
    def __init__(self) -> None:
        self.bell = Bell()
        self.wakes: list[str] = []

    def woken(self, names: list[str]) -> None:
        self.wakes += names


def hearing(**loops: ALoop) -> Hearing:
    made: Any = Hearing(SimpleNamespace(daemon=7), loops, World(), "here", True, 30.0)  # type: ignore[arg-type]
    made.policy = APolicyLoop()
    made.schedule = APolicyLoop()
    return made


async def rung(*loops: Any) -> list[bool]:
    return [await loop.bell.wait(0) for loop in loops]


async def test_when_the_session_is_back_every_processor_looks_again() -> None:
    a, b = ALoop(), ALoop()
    ears = hearing(a=a, b=b)
    ears.session(False, "gone")
    ears.session(True, "")
    assert await rung(a, b, ears.policy) == [True, True, True]
    assert a.from_the_beginning == b.from_the_beginning == 1


async def test_a_wake_rings_those_it_names_and_a_blank_one_all() -> None:
    a, b = ALoop(), ALoop()
    ears = hearing(a=a, b=b)
    ears.heard(WAKE, " b , unknown")
    assert await rung(a, b) == [False, True]
    ears.heard(WAKE, "")
    assert await rung(a, b) == [True, True]


async def test_a_bare_wake_of_a_processor_that_runs_only_when_woken_is_stored() -> None:
    ears = hearing(nightly=ALoop(run_on_insert=False), a=ALoop())
    ears.heard(WAKE, "nightly,a")
    assert ears.policy.wakes == ["nightly"]


async def test_news_that_make_no_sense_are_ignored() -> None:
    a = ALoop()
    ears = hearing(a=a)
    for payload in ("1", "7 x 9", "7 8 9 10", "7 -8 9", "\u0667 8 9", "7 " + "9" * 40 + " 1", "a" * 7999):
        ears.heard(WITHDRAWN, payload)
    ears.heard("another_channel", "7 8 9")
    ears.heard(WITHDRAWN, "6 8 9")  # for daemon 6
    ears.heard(WITHDRAWN, "7 5 9")  # of a run that is not here
    assert await rung(ears.policy) == [False]


async def test_more_withdrawals_than_are_kept_apart_are_looked_for() -> None:
    ears = hearing(a=ALoop())
    ears.heard(WITHDRAWN, "")
    assert await rung(ears.policy) == [True]


async def test_a_flood_of_wakes_and_edits_rings_only_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muffler, "VAIN", Rate(per_s=0.0001, burst=20))
    a = ALoop(run_on_insert=False)
    ears = hearing(a=a)
    heard = []
    for _ in range(1_000):
        ears.heard(WAKE, "a")
        ears.heard(WITHDRAWN, "7 8 9")
        heard.append(await rung(a, ears.policy))
        ears.heard(POLICY, "")
        heard[-1] += await rung(ears.policy, ears.schedule)
    assert [sum(each) for each in zip(*heard, strict=True)] == [20, 20 // 2, 20, 20]


async def test_that_a_row_was_withdrawn_is_believed_only_when_the_row_says_so() -> None:
    a = ALoop()
    ears = hearing(a=a)
    ears.heard(WITHDRAWN, "7 8 9")
    assert a.withdrawn == []
    assert await rung(ears.policy) == [True]


async def test_a_changed_policy_or_schedule_is_read_at_once() -> None:
    ears = hearing(a=ALoop())
    ears.heard(POLICY, "")
    assert await rung(ears.policy, ears.schedule) == [True, True]


async def test_when_the_session_is_back_schedules_are_looked_at() -> None:
    ears = hearing(a=ALoop())
    ears.session(False, "gone")
    assert await rung(ears.policy, ears.schedule) == [False, False]
    ears.session(True, "")
    assert await rung(ears.policy, ears.schedule) == [True, True]


async def test_a_daemon_that_was_declared_dead_forgets_its_work_once() -> None:
    a = ALoop()
    ears = hearing(a=a)
    ears.declared_dead(7)
    ears.declared_dead(0)
    assert a.forgotten == [True]
