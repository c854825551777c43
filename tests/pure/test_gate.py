"""rules/gate: may this processor claim, may this row be claimed; if not, every reason, the deciding one first."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from actiond.rules.gate import Circumstances, Shut, name, shut

#: What shuts it, and for which reason. Those of a row that nobody will claim stand alone.
OVER: dict[Shut, dict[str, Any]] = {
    Shut.MISSING: {"status": "missing"},
    Shut.COMPLETED: {"status": "completed"},
    Shut.FAILED: {"status": "failed"},
    Shut.CANCELED: {"status": "canceled"},
    Shut.RUNNING: {"status": "running"},
}
WAITING: dict[Shut, dict[str, Any]] = {Shut.WAITS: {"status": "held", "waits": True}}  # who waits is held, too
STANDING: dict[Shut, dict[str, Any]] = {
    Shut.HELD: {"status": "held"},
    Shut.FUTURE: {"due_in_s": 0.1},
    Shut.STOPPING: {"stopping": True},
    Shut.CUT_OFF: {"cut_off": True},
    Shut.PAUSED: {"paused": True},
    Shut.DISABLED: {"enabled": False},
    Shut.FLAG_OFF: {"flag_on": False},
    Shut.NO_DAEMON: {"served": False},
    Shut.UNSAVED: {"unsaved": 10, "unsaved_max": 10},
}
#: These count for a row whose time has come.
PASSING: dict[Shut, dict[str, Any]] = {
    Shut.WINDOW_CLOSED: {"window_left_s": 0.1},
    Shut.NOT_WOKEN: {"woken": False},
    Shut.BREAKER: {"breaker_left_s": 0.1},
    Shut.LOCKED: {"locked": True},
    Shut.RATE: {"rate_left_s": 0.1},
    Shut.GLOBAL_LIMIT: {"global_room": 0},
    Shut.CONCURRENCY: {"room": 0},
    Shut.SUSPECT: {"suspects_turn": False},
    Shut.START_DELAY: {"start_delay_s": 0.1},
    Shut.BEHIND: {"ahead": 1},
}
SHUTS = OVER | WAITING | STANDING | PASSING


def by(*reasons: Shut) -> list[Shut]:
    """What the gate says of circumstances that shut it for these."""
    given: dict[str, Any] = {}
    for reason in reasons:
        given |= SHUTS[reason]
    return shut(Circumstances(**given))


def test_usually_it_is_open() -> None:
    assert shut(Circumstances()) == []


def test_every_reason_has_its_circumstance() -> None:
    assert list(SHUTS) == [r for r in Shut if r in OVER] + [r for r in Shut if r not in OVER]


@pytest.mark.parametrize("reason", Shut, ids=name)
def test_a_reason_holds_alone(reason: Shut) -> None:
    assert by(reason) == [reason]


def test_any_number_of_reasons_are_named_in_the_order_of_their_weight() -> None:
    due = [reason for reason in (STANDING | PASSING) if reason not in (Shut.HELD, Shut.FUTURE)]
    for count in (2, 3, len(due)):
        for reasons in combinations(due, count):
            assert by(*reasons) == list(reasons)
    for reasons in combinations(STANDING, 3):
        assert by(*reasons) == list(reasons)
    assert by(*STANDING) == list(STANDING)
    assert by(*STANDING, Shut.WAITS) == [Shut.WAITS, *(each for each in STANDING if each != Shut.HELD)]


@pytest.mark.parametrize("over", OVER, ids=name)
def test_a_row_that_nobody_will_claim_has_one_reason(over: Shut) -> None:
    for other in (STANDING | PASSING).keys() - {Shut.HELD}:
        assert by(other, over) == [over]


@pytest.mark.parametrize("waits", [Shut.WAITS, Shut.HELD, Shut.FUTURE], ids=name)
def test_what_may_pass_until_its_time_has_come_is_not_named(waits: Shut) -> None:
    assert by(waits, *PASSING) == [waits]


def test_the_bound_of_unsaved_outcomes_is_where_it_shuts() -> None:
    assert shut(Circumstances(unsaved=9, unsaved_max=10)) == []
    assert shut(Circumstances(unsaved=10, unsaved_max=10)) == [Shut.UNSAVED]
    assert shut(Circumstances(unsaved=11, unsaved_max=10)) == [Shut.UNSAVED]


def test_a_row_that_is_due_this_moment_is_due() -> None:
    assert shut(Circumstances(due_in_s=0.0)) == []
    assert shut(Circumstances(room=1, global_room=1)) == []


def test_a_breaker_whose_pause_is_over_lets_one_through_and_shuts_until_that_has_an_outcome() -> None:
    assert shut(Circumstances(breaker_left_s=0.0)) == []
    assert shut(Circumstances(breaker_left_s=-1.0, probing=True)) == [Shut.BREAKER]


def test_a_reason_can_be_read_by_people_and_by_programs() -> None:
    assert all(" " in reason for reason in Shut)
    assert name(Shut.NO_DAEMON) == "no_daemon"
