"""rules/pace: how many rows, and how long outcomes may wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actiond.rules.pace import (
    AHEAD_S,
    COALESCE_S,
    Speed,
    flush_in_s,
    wanted_batches,
    wanted_rows,
)


@pytest.mark.parametrize(
    ("in_hand", "call_s", "ahead", "wanted"),
    [
        (0, None, True, 2),
        (1, None, True, 1),
        (2, None, True, 0),
        (2, AHEAD_S / 2, True, 1),
        (2, AHEAD_S, True, 0),
        (2, AHEAD_S / 2, False, 0),
        (3, AHEAD_S / 2, True, 0),
        (9, 5.0, True, 0),
    ],
)
def test_batches_are_claimed_for_free_places_and_one_ahead_when_they_are_quick(
    in_hand: int, call_s: float | None, ahead: bool, wanted: int
) -> None:
    assert wanted_batches(2, in_hand, Speed(call_s), ahead) == wanted


@pytest.mark.parametrize(
    ("in_hand", "call_s", "ahead", "wanted"),
    [
        (0, None, True, 10),
        (4, None, True, 6),
        (10, None, True, 0),
        (0, 60.0, True, 10),
        (10, 60.0, True, 0),
        (0, 0.001, True, 200),
        (200, 0.001, True, 200),
        (350, 0.001, True, 0),
        (0, 0.001, False, 10),
        (10, 0.001, False, 0),
        (0, 0.0, True, 200),
    ],
)
def test_rows_are_claimed_for_free_places_and_ahead_when_calls_are_quick(
    in_hand: int, call_s: float | None, ahead: bool, wanted: int
) -> None:
    assert wanted_rows(10, 200, in_hand, Speed(call_s), ahead) == wanted


@given(
    concurrency=st.integers(1, 1000),
    batch_size=st.integers(1, 10_000),
    in_hand=st.integers(0, 30_000),
    call_s=st.none() | st.floats(0, 1000),
    ahead=st.booleans(),
)
def test_no_place_stays_empty_and_nothing_is_hoarded(
    concurrency: int, batch_size: int, in_hand: int, call_s: float | None, ahead: bool
) -> None:
    wanted = wanted_rows(concurrency, batch_size, in_hand, Speed(call_s), ahead)
    assert 0 <= wanted <= batch_size
    if in_hand < concurrency:
        assert wanted > 0
    if wanted and in_hand:
        assert in_hand + wanted <= concurrency + 2 * batch_size
    if call_s is None or call_s > AHEAD_S * concurrency or not ahead:
        assert in_hand + wanted <= max(concurrency, in_hand)


def test_the_first_call_sets_the_speed_and_later_ones_move_it_slowly() -> None:
    speed = Speed()
    speed.ended(1.0)
    assert speed.call_s == 1.0
    speed.ended(0.0)
    assert speed.call_s == pytest.approx(0.8)
    for _ in range(50):
        speed.ended(0.0)
    assert (speed.call_s or 0) < 0.001


# How long outcomes wait.


@pytest.mark.parametrize(
    ("outcomes", "oldest_s", "running", "wait_s"),
    [
        (0, 0.0, 5, None),
        (0, 9.0, 0, None),
        (1, 0.0, 0, 0.0),
        (200, 0.0, 5, 0.0),
        (201, 0.0, 5, 0.0),
        (1, 0.0, 5, COALESCE_S),
        (1, COALESCE_S / 2, 5, COALESCE_S / 2),
        (1, COALESCE_S, 5, 0.0),
        (199, 1.0, 5, 0.0),
    ],
)
def test_outcomes_wait_a_moment_for_others_while_calls_go_on(
    outcomes: int, oldest_s: float, running: int, wait_s: float | None
) -> None:
    waits = flush_in_s(outcomes, oldest_s, running, batch_size=200)
    assert waits == (None if wait_s is None else pytest.approx(wait_s))
