"""rules/settlement: one claimed row and one outcome give exactly one settlement; the whole table, then properties."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actiond.rules.settlement import NO_OUTCOME, settle, unstorable
from actiond.words.claimed import Settlement
from actiond.words.outcome import (
    ALLOW_RETRY,
    KEEP_ALIVE,
    SUDDEN_DEATH,
    Canceled,
    Completed,
    Deferred,
    Failed,
    Failure,
    Outcome,
    RetryBehavior,
)
from actiond.words.status import TRANSITIONS, Cause, Status
from pure.build import a_row, rules

HISTORY = ("all", "changes", "none")


def kept(settlement: Settlement) -> dict[str, Any]:
    """What a settlement says besides whose it is."""
    said = settlement._asdict()
    assert (said.pop("id"), said.pop("run_id")) == (1, 7)
    return {name: value for name, value in said.items() if value is not None}


def settled(outcome: Outcome, **given: Any) -> Settlement:
    row = {name: given.pop(name) for name in ("retries_left", "attempts") if name in given}
    return settle(a_row(**row), 7, outcome, rules(**given), jitter=0.0)


# A failure: behavior x retries left x history.

FAILURES = {
    # (behavior, retries left) -> (kind, retries left afterwards or None = as they are, comes back)
    (ALLOW_RETRY, 2): ("retried", 1, True),
    (ALLOW_RETRY, 1): ("retried", 0, True),
    (ALLOW_RETRY, 0): ("failed", 0, False),
    (KEEP_ALIVE, 2): ("retried", None, True),
    (KEEP_ALIVE, 1): ("retried", None, True),
    (KEEP_ALIVE, 0): ("retried", None, True),
    (SUDDEN_DEATH, 2): ("failed", None, False),
    (SUDDEN_DEATH, 1): ("failed", None, False),
    (SUDDEN_DEATH, 0): ("failed", None, False),
}


def test_the_table_of_failures_is_complete() -> None:
    assert FAILURES.keys() == set(product(RetryBehavior, (0, 1, 2)))


@pytest.mark.parametrize("history", HISTORY)
@pytest.mark.parametrize("after", [None, "5 s"])
@pytest.mark.parametrize("how", FAILURES, ids=str)
def test_a_failure_is_charged_as_its_behavior_says(
    how: tuple[RetryBehavior, int], after: str | None, history: str
) -> None:
    behavior, left = how
    kind, afterwards, comes_back = FAILURES[how]
    said = kept(settled(Failed("no", behavior, after), retries_left=left, history=history))
    expected = {"kind": kind, "error": "no", "detail": "no", "noted": history != "none"}
    if afterwards is not None:
        expected["retries_left"] = afterwards
    if comes_back:
        expected["delay_s"] = 300.0 if after is None else 5.0
    assert said == expected


def test_the_first_charge_resolves_the_retries_of_the_processor() -> None:
    assert settled(Failed("no"), retries_left=None, retries=3).retries_left == 2
    assert settled(Failed("no"), retries_left=None, retries=0)[2:7] == ("failed", "no", None, 0, None)


def test_a_failure_without_a_charge_leaves_the_retries_unresolved() -> None:
    assert settled(Failed("no", KEEP_ALIVE), retries_left=None).retries_left is None
    assert settled(Failed("no", SUDDEN_DEATH), retries_left=None).retries_left is None


def test_an_exponential_delay_is_used_for_charged_failures_only() -> None:
    doubling = {"retries": 5, "interval_s": 10.0, "backoff": "exponential"}
    assert settled(Failed("no"), retries_left=3, **doubling).delay_s == 40.0
    assert settled(Failed("no", KEEP_ALIVE), retries_left=3, **doubling).delay_s == 10.0


@pytest.mark.parametrize("behavior", RetryBehavior)
@pytest.mark.parametrize("left", [None, 0, 2])
def test_a_failure_of_a_probe_costs_nothing_unless_it_is_final(behavior: RetryBehavior, left: int | None) -> None:
    probing = replace(rules(), charged=False)
    said = settle(a_row(retries_left=left), 7, Failed("no", behavior), probing, jitter=0.0)
    as_kept_alive = settled(Failed("no", KEEP_ALIVE), retries_left=left)
    as_dead = settled(Failed("no", SUDDEN_DEATH), retries_left=left)
    assert said == (as_dead if behavior is SUDDEN_DEATH else as_kept_alive)


def test_no_outcome_is_a_charged_failure() -> None:
    said = settled(NO_OUTCOME, retries_left=1)
    assert (said.kind, said.error, said.retries_left) == ("retried", "processor returned no outcome", 0)


def test_an_exception_gives_a_short_text_to_the_row_and_frames_to_history() -> None:
    try:
        raise ValueError("three is not four")
    except ValueError as error:
        said = settled(Failed(error))
    assert said.error == "ValueError: three is not four"
    assert "test_settlement.py" in (said.detail or "")


# The other marks.


@pytest.mark.parametrize("history", HISTORY)
@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("result", [None, 0, "", {"a": [1]}], ids=repr)
def test_a_completion_is_noted_if_something_happened_before(result: Any, attempts: int, history: str) -> None:
    said = kept(settled(Completed(result), attempts=attempts, history=history))
    noted = history == "all" or (history == "changes" and attempts > 1)
    stored = {} if result is None else {"result": json.dumps(result, separators=(",", ":"))}
    assert said == {"kind": "completed", "noted": noted, **stored}


@pytest.mark.parametrize("history", HISTORY)
@pytest.mark.parametrize("state", [None, {"step": 2}, [], 0], ids=repr)
def test_a_deferral_comes_back_without_error_or_charge(state: Any, history: str) -> None:
    said = kept(settled(Deferred("1 min", state), retries_left=0, history=history))
    stored = {} if state is None else {"state": json.dumps(state, separators=(",", ":"))}
    assert said == {"kind": "deferred", "delay_s": 60.0, "noted": history != "none", **stored}


@pytest.mark.parametrize("history", HISTORY)
@pytest.mark.parametrize("reason", ["", "not needed"])
def test_a_cancellation_keeps_its_reason(reason: str, history: str) -> None:
    said = kept(settled(Canceled(reason), history=history))
    text = {"error": reason, "detail": reason} if reason else {}
    assert said == {"kind": "canceled", "noted": history != "none", **text}


@pytest.mark.parametrize("value", [Ellipsis, "\x00", float("nan"), {1, 2}, "\ud800"], ids=ascii)
@pytest.mark.parametrize("mark", [Completed, lambda value: Deferred("1 s", value)], ids=["result", "state"])
def test_what_cannot_be_stored_is_a_charged_failure_that_says_so(mark: Any, value: Any) -> None:
    said = settled(mark(value), retries_left=1)
    assert (said.kind, said.retries_left) == ("retried", 0)
    assert "cannot be stored: " in (said.error or "")
    assert said.result is said.state is None


def test_the_fallback_for_what_the_database_refuses_holds_nothing_it_could_refuse() -> None:
    said = unstorable(Settlement(1, 7, "completed", result='"\\u0000"', state="{", delay_s=1e300), "22P05: \x00")
    assert kept(said) == {
        "kind": "failed",
        "noted": True,
        "error": "outcome could not be stored: 22P05: \\x00",
        "detail": "outcome could not be stored: 22P05: \\x00",
    }


# What a handler returns or raises is not checked by marks: settling must bear it.


@pytest.mark.parametrize("after", ["soon", -1, timedelta(seconds=-5), float("nan"), Ellipsis, 10**400], ids=ascii)
@pytest.mark.parametrize("behavior", list(RetryBehavior))
def test_a_failure_that_names_no_time_is_still_settled(behavior: RetryBehavior, after: Any) -> None:
    assert settled(Failure("no", behavior, after=after).failed).kind in ("failed", "retried")


@pytest.mark.parametrize("after", ["soon", -1, timedelta(seconds=-5), None, Ellipsis], ids=ascii)
def test_a_deferral_that_names_no_time_is_a_failure_that_says_so(after: Any) -> None:
    said = settled(Deferred(after))
    assert said.kind == "retried"
    assert "duration" in (said.error or "")


@pytest.mark.parametrize("behavior", list(RetryBehavior))
def test_a_behavior_written_as_text_means_the_same(behavior: RetryBehavior) -> None:
    assert settled(Failed("no", behavior.value)) == settled(Failed("no", behavior))  # type: ignore[arg-type]


@pytest.mark.parametrize("behavior", ["RETRY", "", None, 5, []], ids=repr)
def test_a_behavior_that_nobody_knows_is_a_charged_failure_that_says_so(behavior: Any) -> None:
    said = settled(Failed("no", behavior), retries_left=1)
    assert (said.kind, said.retries_left) == ("retried", 0)
    assert (said.error or "").startswith("no (")
    assert "RetryBehavior" in (said.error or "")


def test_a_behavior_counts_also_where_the_time_is_wrong() -> None:
    assert settled(Failed("no", "SUDDEN_DEATH", "soon")).kind == "failed"  # type: ignore[arg-type]
    assert settled(Failed("no", "KEEP_ALIVE", "soon")).retries_left is None  # type: ignore[arg-type]


class Moody(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("connection closed")


def test_a_result_whose_own_code_fails_is_a_failure() -> None:
    assert settled(Completed(Moody(a=1))).kind == "retried"


# Properties.

DURATIONS = st.timedeltas(timedelta(0), timedelta(days=1000)) | st.sampled_from(["0 s", "5 min", "1 h 30 min"])
ANYTHING = st.recursive(
    st.none() | st.integers() | st.floats() | st.text() | st.just("\x00") | st.just(object()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
OUTCOMES = (
    st.builds(Completed, ANYTHING)
    | st.builds(
        Failed, ANYTHING | st.builds(ValueError, st.text()), st.sampled_from(RetryBehavior), st.none() | DURATIONS
    )
    | st.builds(Deferred, DURATIONS, ANYTHING)
    | st.builds(Canceled, st.text())
)


@given(
    outcome=OUTCOMES,
    left=st.none() | st.integers(0, 5),
    attempts=st.integers(1, 5),
    retries=st.integers(0, 5),
    history=st.sampled_from(HISTORY),
    jitter=st.floats(0, 1),
)
def test_every_outcome_gives_one_settlement_that_can_be_stored(
    outcome: Outcome, left: int | None, attempts: int, retries: int, history: str, jitter: float
) -> None:
    row, policy = a_row(retries_left=left, attempts=attempts), rules(retries, history)
    said = settle(row, 7, outcome, policy, jitter)
    before = retries if left is None else left
    assert (said.id, said.run_id) == (1, 7)
    becomes = TRANSITIONS[Status.RUNNING, Cause(said.kind)]
    assert (said.delay_s is not None) == (becomes is Status.PENDING)
    assert said.delay_s is None or said.delay_s >= 0
    assert said.retries_left is None or 0 <= said.retries_left <= before
    assert said.error is None or len(said.error) <= 1000
    assert said.detail is None or len(said.detail) <= 8192
    for text in (said.error, said.detail, said.result, said.state):
        assert text is None or "\x00" not in text.encode().decode()
    if said.kind == "retried" and said.retries_left is not None:
        assert said.retries_left == before - 1
    if said.kind == "completed":
        assert isinstance(outcome, Completed)
    if said.kind in ("completed", "deferred"):
        assert said.error is None
    assert said.noted or history != "all"
    assert not said.noted or history != "none"
    assert settle(row, 7, outcome, policy, jitter) == said
