"""rules/breaker: when it opens, how long it waits, what a probe decides; in any order of outcomes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actiond.rules.breaker import Breaker, BreakerPolicy, Verdict, verdict
from actiond.words.claimed import Settlement

POLICY = BreakerPolicy(share=0.5, outcomes=4, pause_s=10.0, max_pause_s=60.0)
OPEN = Breaker("++--", left_s=10.0)


def said(signs: str, run_id: int = 1) -> list[Verdict]:
    """One outcome for each sign; a blank says nothing."""
    return [Verdict(run_id, {"+": True, "-": False, " ": None}[sign]) for sign in signs]


def heard(*reports: str, policy: BreakerPolicy = POLICY) -> Breaker:
    """A closed breaker after these."""
    breaker = Breaker()
    for report in reports:
        breaker = breaker.heard(policy, said(report))
    return breaker


# What an outcome says


@pytest.mark.parametrize(
    ("kind", "more", "good"),
    [
        ("completed", {}, True),
        ("repeated", {}, True),
        ("repeated", {"error": "no"}, False),
        ("retried", {"error": "no", "retries_left": 2}, False),
        ("retried", {"error": "busy"}, False),  # KEEP_ALIVE
        ("failed", {"error": "no", "retries_left": 0}, False),
        ("failed", {"error": "card declined"}, None),  # SUDDEN_DEATH
        ("deferred", {}, None),
        ("waiting", {}, None),
        ("canceled", {}, None),
    ],
)
def test_what_an_outcome_says_of_the_other_side(kind: str, more: dict[str, Any], good: bool | None) -> None:
    assert verdict(Settlement(7, 3, kind, **more)) == Verdict(3, good)


# Closed


def test_it_opens_when_the_share_of_failures_among_the_latest_outcomes_is_reached() -> None:
    assert heard("++-").left_s is None
    assert heard("++--") == Breaker("++--", left_s=10.0)
    assert heard("----").left_s == 10.0
    assert heard("++++-").left_s is None


def test_it_stays_closed_before_there_are_enough_outcomes() -> None:
    assert heard("---") == Breaker("---")
    assert heard("---", "-").left_s == 10.0


def test_it_remembers_the_latest_and_no_more() -> None:
    assert heard("-", "++", "+++").recent == "++++"
    assert heard("--++", "").left_s == 10.0
    assert heard("-" * 100).recent == "----"


def test_a_report_is_judged_as_a_whole() -> None:
    assert heard("----++++") == Breaker("++++")  # whoever failed at first: the other side answers now


def test_outcomes_that_say_nothing_are_not_counted() -> None:
    assert heard("-- ", " ", "-") == Breaker("---")
    closed = heard("--")
    assert closed.heard(POLICY, said("   ")) is closed
    assert closed.heard(POLICY, []) is closed


def test_outcomes_that_change_nothing_need_not_be_written() -> None:
    healthy = heard("++++")
    assert healthy.heard(POLICY, said("+++")) is healthy


@pytest.mark.parametrize(("share", "failures"), [(0.1, 1), (0.3, 3), (0.7, 7), (1.0, 10)])
def test_a_share_is_reached_exactly(share: float, failures: int) -> None:
    policy = BreakerPolicy(share, 10, 1.0, 1.0)
    assert heard("+" * (11 - failures) + "-" * (failures - 1), policy=policy).left_s is None
    assert heard("+" * (10 - failures) + "-" * failures, policy=policy).left_s == 1.0


def test_an_operator_who_wants_fewer_outcomes_does_not_open_it_without_a_new_one() -> None:
    before = heard("--+", policy=replace(POLICY, outcomes=10))
    assert before.heard(replace(POLICY, outcomes=2), said(" ")).left_s is None
    assert before.heard(replace(POLICY, outcomes=2), said("-")).left_s == 10.0


# Open


def test_an_open_one_lets_nothing_through_until_its_pause_is_over_and_then_one_row() -> None:
    assert Breaker("++").room is None
    assert OPEN.room == 0
    assert replace(OPEN, left_s=0.0).room == replace(OPEN, left_s=-5.0).room == 1
    probing = replace(OPEN, left_s=-5.0).probed_by(7)
    assert (probing.room, probing.probing) == (0, True)


def test_a_probe_that_nobody_will_hear_of_is_followed_by_another() -> None:
    lost = replace(OPEN, left_s=-5.0, probe=7, probe_is_lost=True)
    assert (lost.room, lost.probing) == (1, False)
    assert lost.probed_by(8) == replace(OPEN, left_s=-5.0, probe=8)


def test_outcomes_of_calls_that_began_before_change_nothing() -> None:
    for breaker in (OPEN, replace(OPEN, left_s=-1.0), replace(OPEN, left_s=-1.0, probe=7)):
        assert breaker.heard(POLICY, said("+-+-", run_id=1)) is breaker


def test_a_probe_that_succeeds_closes_it_and_everything_is_forgotten() -> None:
    assert replace(OPEN, left_s=-1.0, failed_probes=3, probe=7).heard(POLICY, said("+", run_id=7)) == Breaker()


def test_a_probe_that_fails_opens_it_for_twice_the_pause_up_to_a_bound() -> None:
    breaker, pauses = OPEN, []
    for run_id in range(7, 77):
        breaker = replace(breaker, left_s=-1.0).probed_by(run_id).heard(POLICY, said("-", run_id))
        assert (breaker.room, breaker.probe, breaker.recent) == (0, None, "++--")
        pauses.append(breaker.left_s)
    assert pauses == [20.0, 40.0] + [60.0] * 68


def test_a_probe_that_says_nothing_is_followed_by_another_at_once() -> None:
    breaker = replace(OPEN, left_s=-1.0, failed_probes=2, probe=7).heard(POLICY, said(" ", run_id=7))
    assert (breaker.room, breaker.failed_probes, breaker.left_s) == (1, 2, -1.0)


def test_the_first_pause_is_bounded_too() -> None:
    assert heard("----", policy=replace(POLICY, max_pause_s=3.0)).left_s == 3.0


# Whatever happens


class AnyLife(RuleBasedStateMachine):
    """Outcomes, time and probes in any order, beside a plain list of what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.signs: list[bool] = []  # since it closed
        self.failed_probes = 0
        self.runs = 100

    @rule(signs=st.text("+- ", max_size=6), run_id=st.integers(1, 99))
    def others_report(self, signs: str, run_id: int) -> None:
        was_open, before = self.breaker.left_s is not None, self.breaker
        self.breaker = self.breaker.heard(POLICY, said(signs, run_id))
        if was_open:
            assert self.breaker is before
            return
        self.signs += [sign == "+" for sign in signs if sign != " "]
        latest = self.signs[-4:]
        news = bool(signs.replace(" ", ""))
        opens = news and len(latest) == 4 and latest.count(False) >= 2
        assert (self.breaker.left_s is not None) == opens
        self.failed_probes = 0

    @precondition(lambda self: self.breaker.left_s is not None)
    @rule(passes_s=st.floats(0.1, 100))
    def time_passes(self, passes_s: float) -> None:
        assert self.breaker.left_s is not None
        self.breaker = replace(self.breaker, left_s=self.breaker.left_s - passes_s)

    @precondition(lambda self: self.breaker.room == 1)
    @rule()
    def a_daemon_claims(self) -> None:
        self.runs += 1
        self.breaker = self.breaker.probed_by(self.runs)
        assert self.breaker.room == 0

    @precondition(lambda self: self.breaker.probing)
    @rule()
    def its_daemon_dies(self) -> None:
        self.breaker = replace(self.breaker, probe_is_lost=True)
        assert self.breaker.room == 1

    @precondition(lambda self: self.breaker.probing)
    @rule(sign=st.sampled_from("+- "))
    def the_probe_reports(self, sign: str) -> None:
        self.breaker = self.breaker.heard(POLICY, said(sign, self.runs))
        if sign == "+":
            assert self.breaker == Breaker()
            self.signs, self.failed_probes = [], 0
        elif sign == "-":
            self.failed_probes += 1
            assert self.breaker.left_s == min(60.0, 10.0 * 2**self.failed_probes)

    @invariant()
    def nothing_but_a_probe_passes_an_open_one(self) -> None:
        assert self.breaker.room == (None if self.breaker.left_s is None else self.breaker.room)
        assert self.breaker.room in (None, 0, 1)
        assert len(self.breaker.recent) <= 4
        assert self.breaker.failed_probes == self.failed_probes


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


@given(st.lists(st.text("+-", max_size=5), max_size=10))
def test_how_outcomes_are_reported_does_not_matter_as_long_as_it_stays_closed(reports: list[str]) -> None:
    never = replace(POLICY, share=1.1)
    assert heard(*reports, policy=never) == heard("".join(reports), policy=never)
