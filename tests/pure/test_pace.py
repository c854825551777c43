"""rules/pace: how many rows, from where, and how long outcomes may wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actiond.rules.pace import (
    AHEAD_S,
    BEGINNING,
    COALESCE_S,
    LEVELS,
    Speed,
    Watermark,
    flush_in_s,
    wanted_batches,
    wanted_rows,
)
from actiond.words.claimed import ClaimedRow
from pure.build import LONG_AGO, a_row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FROM_THE_BEGINNING = ([BEGINNING[0]] * 4, [0] * 4, True)


def due(minute: int, id: int, priority: int = 2) -> ClaimedRow:  # noqa: A002
    return a_row(id, priority=priority, due_s=(LONG_AGO + timedelta(minutes=minute)).timestamp())


# The watermark.


def a_used_watermark(*rows: ClaimedRow, took_s: float = 0.0) -> Watermark:
    """That has looked once at time 0."""
    mark = Watermark()
    mark.begin(0.0)
    mark.claimed(rows, took_s)
    return mark


def test_the_first_look_starts_at_the_beginning() -> None:
    assert Watermark().begin(0.0) == FROM_THE_BEGINNING


def test_the_next_look_starts_after_the_last_row_of_each_level() -> None:
    mark = a_used_watermark(due(5, 50, priority=0), due(1, 10), due(1, 11), due(3, 7))
    times, ids, whole = mark.begin(0.5)
    assert ids == [50, 0, 7, 0]
    assert times[0] == LONG_AGO + timedelta(minutes=5)
    assert times[2] == LONG_AGO + timedelta(minutes=3)
    assert times[1] == times[3] == BEGINNING[0]
    assert not whole


def test_a_claim_of_nothing_moves_nothing() -> None:
    mark = a_used_watermark(due(3, 7))
    before = mark.begin(0.2)
    mark.claimed([], 0.3)
    assert mark.begin(0.4) == before


def test_it_never_moves_back() -> None:
    mark = a_used_watermark(due(3, 7))
    mark.begin(0.2)
    mark.claimed([due(1, 900)], 0.3)
    assert mark.begin(0.4)[1] == [0, 0, 7, 0]


def test_told_to_forget_it_looks_from_the_beginning() -> None:
    mark = a_used_watermark(due(3, 7))
    mark.forget()
    assert mark.begin(0.5) == FROM_THE_BEGINNING


def test_once_a_second_it_looks_from_the_beginning_by_itself() -> None:
    mark = a_used_watermark(due(3, 7))
    assert not mark.begin(0.99)[2]
    assert mark.begin(1.0) == FROM_THE_BEGINNING


def test_a_slow_look_from_the_beginning_is_repeated_less_often() -> None:
    mark = a_used_watermark(due(3, 7), took_s=2.0)
    assert not mark.begin(21.9)[2]
    assert mark.begin(22.0)[2]


def test_a_look_from_the_beginning_that_failed_is_tried_again() -> None:
    mark = Watermark()
    assert mark.begin(0.0)[2]
    assert mark.begin(0.1)[2]
    mark.claimed([due(3, 7)], 0.2)
    assert not mark.begin(1.1)[2]
    assert mark.begin(1.2)[2]


def test_a_quick_look_from_a_mark_does_not_put_off_the_next_one_from_the_beginning() -> None:
    mark = a_used_watermark(due(3, 7))
    for tenth in range(1, 10):
        mark.begin(tenth / 10)
        mark.claimed([due(4, 8)], tenth / 10)
    assert mark.begin(1.0)[2]


@given(
    st.lists(st.tuples(st.sampled_from(LEVELS), st.integers(0, 50), st.integers(1, 1000)), max_size=30).map(sorted),
)
def test_every_claimed_row_lies_at_or_before_its_mark(rows: list[tuple[int, int, int]]) -> None:
    claimed = [due(minute, row_id, level) for level, minute, row_id in rows]
    times, ids, whole = a_used_watermark(*claimed).begin(0.1)
    assert whole == (not claimed)
    for row in claimed:
        assert (EPOCH + timedelta(seconds=row.due_s), row.id) <= (times[row.priority], ids[row.priority])


# How many.


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
