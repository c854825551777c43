"""rules/slots and rules/forecast: which slot fires, how many were missed, what its texts say, what is to come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actiond.rules import slots
from actiond.rules.cron import Cron, Every
from actiond.rules.forecast import changes, next_fires
from actiond.rules.slots import Due, Missed, due, filled

NOON = datetime(2026, 5, 5, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
HOURLY = Every(HOUR, NOON)


def at(hours: float) -> datetime:
    return NOON + hours * HOUR


@pytest.mark.parametrize("missed", Missed)
def test_a_slot_that_is_due_alone_fires_whatever_the_policy(missed: Missed) -> None:
    now = NOON + timedelta(seconds=2)
    assert due(HOURLY, NOON, now, missed, None) == Due(NOON, 0, at(1))
    assert due(HOURLY, NOON, NOON, missed, timedelta(0)) == Due(NOON, 0, at(1))


def test_once_fires_the_last_of_many_however_late() -> None:
    assert due(HOURLY, NOON, at(5.5), Missed.ONCE, None) == Due(at(5), 5, at(6))
    assert due(HOURLY, NOON, NOON + timedelta(days=30, minutes=59), Missed.ONCE, None).fires == at(720)
    assert due(HOURLY, NOON, at(5.5), Missed.ONCE, 20 * MINUTE) == Due(None, 6, at(6))


def test_skip_fires_none_that_is_late() -> None:
    assert due(HOURLY, NOON, at(5.5), Missed.SKIP, None) == Due(None, 6, at(6))
    assert due(HOURLY, NOON, at(5) + MINUTE, Missed.SKIP, None) == Due(at(5), 5, at(6))
    assert due(HOURLY, NOON, at(5) + 2 * MINUTE, Missed.SKIP, 5 * MINUTE) == Due(at(5), 5, at(6))


def test_all_fires_each_within_the_grace_oldest_first() -> None:
    assert due(HOURLY, NOON, at(5.5), Missed.ALL, None) == Due(NOON, 0, at(1))
    assert due(HOURLY, NOON, at(5.5), Missed.ALL, 2 * HOUR) == Due(at(4), 4, at(5))
    assert due(HOURLY, NOON, at(5.5), Missed.ALL, MINUTE) == Due(None, 6, at(6))


@given(
    st.sampled_from(Missed),
    st.one_of(st.none(), st.integers(0, 10**5)),
    st.integers(0, 5 * 3600),
    st.integers(1, 1800),
    st.integers(1, 60),
)
def test_every_slot_is_fired_or_counted_as_missed(
    missed: Missed, grace_s: int | None, late_s: int, every_s: int, counted: int
) -> None:
    grace = None if grace_s is None else timedelta(seconds=grace_s)
    every, now = Every(timedelta(seconds=every_s), NOON), NOON + timedelta(seconds=late_s)
    next_at, fired, lost = NOON, [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slots, "COUNTED", counted)  # so that counting in parts is met
        while next_at <= now:
            done = due(every, next_at, now, missed, grace)
            assert done.next_at is not None
            assert done.next_at > next_at
            fired += [] if done.fires is None else [done.fires]
            lost += done.missed
            next_at = done.next_at
    total = late_s // every_s + 1
    assert len(fired) + lost == total
    assert next_at == NOON + total * every.every
    assert fired == sorted(set(fired))
    longest = slots.GRACE[missed] if grace is None else grace
    assert all(longest is None or now - slot <= longest for slot in fired)
    if missed is Missed.ALL:
        assert len(fired) == sum(longest is None or now - (NOON + n * every.every) <= longest for n in range(total))
    else:
        assert len(fired) <= 1
        assert all(slot == NOON + (total - 1) * every.every for slot in fired)


def test_a_rule_that_ends_has_no_next_slot() -> None:
    class Ends:
        def after(self, instant: datetime):
            return iter(())

        def in_words(self) -> str:
            return "Once"

    assert due(Ends(), NOON, at(1), Missed.ONCE, None) == Due(NOON, 0, None)


# What the texts say.


def test_placeholders_are_filled_in_texts_and_nothing_else_is() -> None:
    slot = datetime(2026, 3, 29, 1, tzinfo=UTC).astimezone(ZoneInfo("Europe/Berlin"))
    fire_at = slot + timedelta(seconds=2, microseconds=7)
    data = {"for {slot}": ["{slot}", "at {fire_at}!", 7, None, True, {"x": "{slot}/{slot}"}], "b": "{other} {{slot} {"}
    assert filled(data, slot, fire_at) == {
        "for {slot}": [
            "2026-03-29T03:00:00+02:00",
            "at 2026-03-29T03:00:02+02:00!",
            7,
            None,
            True,
            {"x": "2026-03-29T03:00:00+02:00/2026-03-29T03:00:00+02:00"},
        ],
        "b": "{other} {2026-03-29T03:00:00+02:00 {",
    }
    assert filled(None, slot, fire_at) is None


# What is to come.


def test_the_next_fires_and_both_changes_of_the_clocks() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    cron = Cron("30 2 * * *", "Europe/Berlin")
    assert [fire.isoformat() for fire in next_fires(cron, NOON, berlin, 2)] == [
        "2026-05-06T02:30:00+02:00",
        "2026-05-07T02:30:00+02:00",
    ]
    autumn, spring = changes(cron, NOON, berlin)
    assert (autumn.before, autumn.after) == ("2026-10-25T03:00:00+02:00", "2026-10-25T02:00:00+01:00")
    assert autumn.fires == ["2026-10-25T02:30:00+02:00"]
    assert (spring.before, spring.after) == ("2027-03-28T02:00:00+01:00", "2027-03-28T03:00:00+02:00")
    assert spring.fires == ["2027-03-28T03:00:00+02:00"]
    hourly = changes(Cron("0 * * * *", "Europe/Berlin"), NOON, berlin)
    assert "2026-10-25T02:00:00+02:00" in hourly[0].fires
    assert "2026-10-25T02:00:00+01:00" in hourly[0].fires
    noon = changes(Cron("0 12 * * *", "Europe/Berlin"), NOON, berlin)
    assert noon[0].fires == ["2026-10-25T12:00:00+01:00"]
    assert changes(HOURLY, NOON, UTC) == []
