"""rules/window: every minute around each change of the clocks, in many zones, against the clock on the wall."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actiond.rules.cron import next_change
from actiond.rules.window import Window, written

MINUTE, HOURS = timedelta(minutes=1), timedelta(hours=1)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
#: Clocks set at midnight, by half an hour, by two hours, in the other half of the year, twice for a month, never.
ZONES = (
    "UTC", "Europe/Berlin", "Europe/Lisbon", "America/New_York", "America/St_Johns", "America/Havana",
    "America/Santiago", "America/Nuuk", "Pacific/Chatham", "Pacific/Easter", "Australia/Lord_Howe", "Asia/Beirut",
    "Asia/Kathmandu", "Africa/Cairo", "Africa/Casablanca", "Antarctica/Troll",
)  # fmt: skip
TEXTS = (
    "22:00-06:00", "02:00-03:00", "02:15-02:45", "01:30-02:30", "00:00-24:00", "23:30-00:30", "03:00-02:59",
    "Sun 02:15-02:45", "Sat 22:00-06:00", "Sun 00:00-24:00", "Mon-Fri 22:00-06:00, Sat-Sun 00:00-24:00",
    "Fri-Mon 12:00-02:00, Wed 02:30-02:31", "Sun 23:00-01:00, Mon 00:30-02:00",
)  # fmt: skip


# The scan. It shares nothing with the code under test but the database of zones.


def shows(text: str) -> Callable[[datetime], bool]:
    """The rule in its simplest words: does the clock on the wall show a time within them?"""
    parts = []
    for part in text.split(", "):
        days, _, hours = part.rpartition(" ")
        first, _, last = days.partition("-")
        count = (DAYS.index(last or first) - DAYS.index(first)) % 7 + 1 if days else 7
        weekdays = [(DAYS.index(first or "Mon") + place) % 7 for place in range(count)]
        begins, ends = (tuple(map(int, each.split(":"))) for each in hours.split("-"))
        parts.append((weekdays, begins, ends))

    def shown(wall: datetime) -> bool:
        now, today, yesterday = (wall.hour, wall.minute), wall.weekday(), (wall.weekday() - 1) % 7
        for weekdays, begins, ends in parts:
            if begins < ends and today in weekdays and begins <= now < ends:
                return True
            if begins > ends and ((today in weekdays and now >= begins) or (yesterday in weekdays and now < ends)):
                return True
        return False

    return shown


def walls(name: str, start: datetime, minutes: int) -> list[datetime]:
    """What the clock shows at each of these minutes."""
    zone = ZoneInfo(name)
    return [(start + place * MINUTE).astimezone(zone) for place in range(minutes)]


def window(text: str) -> Window:
    found = Window.of(text)
    assert found is not None
    return found


def changes(name: str) -> list[datetime]:
    """When the clocks of this zone are set within a year; of one that never does, any time."""
    at, end, found = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), []
    while (change := next_change(ZoneInfo(name), at, end)) is not None:
        found.append(change)
        at = change
    return found or [datetime(2026, 5, 3, tzinfo=UTC)]


@pytest.mark.parametrize("name", ZONES)
def test_it_is_open_exactly_when_the_clock_on_the_wall_shows_it_and_says_when_it_turns(name: str) -> None:
    for change in changes(name):
        start, minutes = (change - 3 * HOURS).replace(minute=0), 30 * 60  # to the end of the day after
        seen = walls(name, start, minutes)
        for text in TEXTS:
            it, open_ = window(f"{text} {name}"), list(map(shows(text), seen))
            assert [it.open(each) for each in seen] == open_
            turns = [start + place * MINUTE for place in range(1, minutes) if open_[place] is not open_[place - 1]]
            told, at = [], start
            while (at := it.turns_at(at) or datetime.max.replace(tzinfo=UTC)) < start + minutes * MINUTE:
                told.append(at)
            assert told == turns, text


TIMES = st.integers(0, 23 * 60 + 59).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
SPANS = st.tuples(TIMES, TIMES).filter(lambda each: each[0] != each[1]).map("-".join)
OF_DAYS = st.one_of(st.just(""), st.sampled_from(DAYS), st.tuples(*[st.sampled_from(DAYS)] * 2).map("-".join))
PARTS = st.tuples(OF_DAYS, SPANS).map(lambda each: " ".join(each).strip())
DATES = st.dates(date(2026, 1, 1), date(2036, 12, 31))


@settings(deadline=None, max_examples=100)
@given(parts=st.lists(PARTS, min_size=1, max_size=3), name=st.sampled_from(ZONES), day=DATES, after=TIMES)
def test_any_hours_turn_when_the_scan_says_so(parts: list[str], name: str, day: date, after: str) -> None:
    text = ", ".join(parts)
    it = window(f"{text} {name}")
    at = datetime.combine(day, datetime.strptime(after, "%H:%M").time(), UTC)  # noqa: DTZ007 - a time of day
    turns_at = it.turns_at(at)
    minutes = 8 * 24 * 60 if turns_at is None else int((turns_at - at) / MINUTE)
    open_ = list(map(shows(text), walls(name, at, minutes + 1)))
    assert it.open(at) is open_[0]
    if turns_at is None:
        assert len(set(open_)) == 1
    else:
        assert open_ == [open_[0]] * minutes + [not open_[0]]


def test_seconds_count() -> None:
    it = window("22:00-06:00 Europe/Berlin")
    last = datetime(2026, 1, 1, 4, 59, 59, 999_999, tzinfo=UTC)
    assert (it.open(last), it.turns_at(last)) == (True, datetime(2026, 1, 1, 5, tzinfo=UTC))
    assert not it.open(datetime(2026, 1, 1, 5, tzinfo=UTC))
    assert it.turns_at(datetime(2026, 1, 1, 5, tzinfo=UTC)) == datetime(2026, 1, 1, 21, tzinfo=UTC)


def test_hours_that_the_clocks_skip_come_a_week_later() -> None:
    it = window("Sun 02:15-02:45 Europe/Berlin")
    assert it.turns_at(datetime(2026, 3, 22, 2, tzinfo=UTC)) == datetime(2026, 4, 5, 0, 15, tzinfo=UTC)


def test_what_is_always_open_never_turns() -> None:
    assert window("00:00-24:00 UTC").turns_at(datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert window("Mon-Sun 06:00-18:00, 18:00-06:00 Europe/Berlin").turns_at(datetime(2026, 3, 1, tzinfo=UTC)) is None


def test_any_clock_may_ask() -> None:
    it = window("22:00-06:00 Europe/Berlin")
    tokyo = datetime(2026, 7, 1, 5, 30, tzinfo=ZoneInfo("Asia/Tokyo"))  # 22:30 in Berlin
    assert (it.open(tokyo), it.turns_at(tokyo)) == (True, datetime(2026, 7, 1, 4, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("22:00-06:00 Europe/Berlin", "22:00-06:00 Europe/Berlin"),
        ("8:00 - 18:00", "08:00-18:00 UTC"),
        ("mon-fri 08:00-18:00,SAT  9:05-12:00   Europe/Berlin", "Mon-Fri 08:00-18:00, Sat 09:05-12:00 Europe/Berlin"),
        ("Fri - Mon 00:00-24:00 America/Argentina/Buenos_Aires", "Fri-Mon 00:00-24:00 America/Argentina/Buenos_Aires"),
        ("Sun-Sun 22:00-24:00 Etc/GMT+5", "Sun 22:00-24:00 Etc/GMT+5"),
        ("none", "none"),
    ],
)
def test_it_is_stored_as_it_is_meant(text: str, stored: str) -> None:
    assert written(text) == stored
    assert written(stored) == stored


def test_none_is_no_window() -> None:
    assert Window.of("none") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("at night", "hours as '22:00-06:00 Europe/Berlin'"),
        ("", "hours as"),
        (22, "hours as '22:00-06:00 Europe/Berlin'.*not 22"),
        (None, "hours as"),
        ("22-06", "hours as"),
        ("22:00-06:00,", "hours as"),
        ("22:00-06:00;Mon 10:00-12:00", "hours as"),
        ("24:00-06:00", "times are from 00:00 to 23:59, an end may be 24:00"),
        ("22:00-24:01", "times are from"),
        ("22:60-23:00", "times are from"),
        ("06:00-06:00", "ends when it begins: a whole day is 00:00-24:00"),
        ("Sam 22:00-06:00", "'Sam' is no day of the week: write Mon, Tue"),
        ("Monday 22:00-06:00", "'Monday' is no day"),
        ("22:00-06:00 Europe/Berlinn", r"no time zone 'Europe/Berlinn' \(did you mean Europe/Berlin\?\)"),
        ("22:00-06:00 Europe", "no time zone 'Europe'"),
        ("22:00-06:00 Europe/Berlin, Sat 10:00-12:00", "one zone, after the last hours"),
        ("22:00-06:00 " + "x" * 500, "at most 500 characters"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(text: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        written(text)
    assert "\n" not in str(refused.value)
