"""rules/watermark: from where a claim looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from actiond.rules.pace import LEVELS
from actiond.rules.watermark import AT_MOST_EVERY_S, BEGINNING, SHARE, SLOW_SHARE, Watermark
from actiond.words.claimed import ClaimedRow
from pure.build import LONG_AGO, a_row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FROM_THE_BEGINNING = ([BEGINNING[0]] * 4, [0] * 4, True)
QUICK_S, SLOW_S = 0.002, 0.2


def due(minute: int, id: int, priority: int = 2) -> ClaimedRow:  # noqa: A002
    return a_row(id, priority=priority, due_s=(LONG_AGO + timedelta(minutes=minute)).timestamp())


def a_used_watermark(*rows: ClaimedRow, took_s: float = 0.0, short: bool = False) -> Watermark:
    """That has looked once at time 0."""
    mark = Watermark()
    mark.begin(0.0)
    mark.claimed(rows, took_s, short=short)
    return mark


def looked(mark: Watermark, at_s: float, *rows: ClaimedRow, took_s: float = QUICK_S, short: bool = True) -> bool:
    """One look; was it from the beginning?"""
    whole = mark.begin(at_s)[2]
    mark.claimed(rows, at_s + took_s, short=short)
    return whole


def a_slow_watermark() -> Watermark:
    """Looks from the mark are quick; the last one from the beginning, at 1 s, was not."""
    mark = a_used_watermark(due(3, 7))
    assert not looked(mark, 0.5)
    mark.forget()
    assert looked(mark, 1.0, took_s=SLOW_S)
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
    mark.claimed([], 0.3, short=True)
    assert mark.begin(0.4) == before


def test_it_never_moves_back() -> None:
    mark = a_used_watermark(due(3, 7))
    mark.begin(0.2)
    mark.claimed([due(1, 900)], 0.3, short=False)
    assert mark.begin(0.4)[1] == [0, 0, 7, 0]


def test_a_look_from_the_beginning_is_due_until_it_was_made() -> None:
    mark = a_used_watermark(due(3, 7))
    assert mark.owed_in_s(0.5) is None
    mark.forget()
    assert mark.owed_in_s(0.5) == 0
    assert mark.begin(0.5) == FROM_THE_BEGINNING
    assert mark.begin(0.6) == FROM_THE_BEGINNING  # the answer of the one before was lost
    mark.claimed([], 0.6, short=True)
    assert mark.owed_in_s(0.7) is None


def test_after_it_the_looks_go_on_behind_what_was_ever_claimed() -> None:
    mark = a_used_watermark(due(3, 7), due(9, 9, priority=3))
    mark.forget()
    assert looked(mark, 0.5, due(1, 5))
    assert mark.begin(0.6)[1] == [0, 0, 7, 9]


def test_where_more_lie_at_the_beginning_the_looks_go_on_behind_these() -> None:
    mark = a_used_watermark(due(3, 7))
    mark.forget()
    assert looked(mark, 0.5, due(1, 5), short=False)
    assert mark.begin(0.6)[1] == [0, 0, 5, 0]
    mark.claimed([due(2, 6)], 0.6, short=True)  # the last of them
    assert mark.begin(0.7)[1] == [0, 0, 7, 0]


def test_once_a_second_it_looks_from_the_beginning_by_itself() -> None:
    mark = a_used_watermark(due(3, 7))
    assert not mark.begin(AT_MOST_EVERY_S - 0.01)[2]
    assert mark.begin(AT_MOST_EVERY_S) == FROM_THE_BEGINNING


def test_the_longer_that_took_the_later_it_does_so_again() -> None:
    mark = a_used_watermark(due(3, 7), took_s=2.0)
    assert not mark.begin(2.0 + SHARE * 2.0 - 0.1)[2]
    assert mark.begin(2.0 + SHARE * 2.0)[2]


def test_a_quick_look_from_a_mark_does_not_put_off_the_next_one_from_the_beginning() -> None:
    mark = a_used_watermark(due(3, 7))
    for tenth in range(1, 10):
        assert not looked(mark, tenth / 10, due(4, 8), took_s=0)
    assert mark.begin(AT_MOST_EVERY_S)[2]


def test_while_looks_from_the_beginning_are_quick_there_is_one_whenever_somebody_asks() -> None:
    mark = a_used_watermark(due(3, 7))
    for hundredth in range(10, 90, 2):
        assert not looked(mark, hundredth / 100)
        mark.forget()
        assert looked(mark, (hundredth + 1) / 100)


def test_once_they_are_slow_they_are_put_off_whoever_asks() -> None:
    mark = a_slow_watermark()
    mark.forget()
    again_s = 1.0 + SLOW_S + SLOW_SHARE * SLOW_S
    left_s = mark.owed_in_s(2.0)
    assert left_s is not None
    assert abs(left_s - (again_s - 2.0)) < 0.001
    assert not looked(mark, again_s - 0.1)
    assert looked(mark, again_s + 0.1)


def test_but_not_where_rows_are_known_to_lie_there() -> None:
    mark = a_slow_watermark()
    mark.forget(at_once=True)
    assert looked(mark, 2.0)


def test_a_first_row_that_is_due_behind_the_mark_is_one_that_lies_there() -> None:
    mark = a_slow_watermark()
    at_the_mark = (LONG_AGO + timedelta(minutes=3), 7)
    mark.forget()
    mark.due([None, None, at_the_mark, None], mark.reached)
    assert mark.owed_in_s(2.0) != 0
    mark.due([None, None, (at_the_mark[0], 6), None], [BEGINNING] * 4)  # it was no further when that was seen
    assert mark.owed_in_s(2.0) != 0
    mark.due([None, None, (at_the_mark[0], 6), None], mark.reached)
    assert mark.owed_in_s(2.0) == 0


def test_when_they_are_quick_again_nothing_is_put_off() -> None:
    mark = a_slow_watermark()
    mark.forget(at_once=True)
    assert looked(mark, 2.0)
    mark.forget()
    assert looked(mark, 2.1)


def test_many_rows_and_outcomes_are_no_slow_look() -> None:
    mark = a_used_watermark(due(3, 7))
    assert not looked(mark, 0.5)
    mark.forget()
    assert mark.begin(0.6)[2]
    mark.claimed([due(4, each) for each in range(200)], 0.8, short=True, outcomes=300)
    mark.forget()
    assert mark.owed_in_s(0.9) == 0


def test_a_first_look_is_not_slow_for_nobody_knows_what_is_usual() -> None:
    mark = a_used_watermark(took_s=5.0, short=True)
    mark.forget()
    assert mark.owed_in_s(5.1) == 0


@given(
    st.lists(st.tuples(st.sampled_from(LEVELS), st.integers(0, 50), st.integers(1, 1000)), max_size=30).map(sorted),
)
def test_every_claimed_row_lies_at_or_before_its_mark(rows: list[tuple[int, int, int]]) -> None:
    claimed = [due(minute, row_id, level) for level, minute, row_id in rows]
    times, ids, whole = a_used_watermark(*claimed).begin(0.1)
    assert whole == (not claimed)
    for row in claimed:
        assert (EPOCH + timedelta(seconds=row.due_s), row.id) <= (times[row.priority], ids[row.priority])
