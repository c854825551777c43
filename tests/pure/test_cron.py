"""rules/cron: every slot of a year's clock changes, in many zones, against a scan of every minute."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, pairwise, takewhile
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actiond.rules.cron import ALIASES, Cron, Every, first_after, first_instant, next_change, offset_at, rule, zone

MINUTE = timedelta(minutes=1)
YEAR = 2026

#: Clocks set at midnight, at 24:00, by half an hour, in the other half of the year, twice for a month, never.
ZONES = """
UTC Europe/Berlin Europe/London Europe/Lisbon Europe/Kyiv Europe/Chisinau Europe/Istanbul Atlantic/Azores
America/New_York America/Chicago America/Denver America/Phoenix America/Los_Angeles America/Anchorage America/Adak
America/St_Johns America/Halifax America/Havana America/Santiago America/Asuncion America/Sao_Paulo America/Nuuk
America/Scoresbysund America/Caracas Pacific/Easter Pacific/Auckland Pacific/Chatham Pacific/Norfolk Pacific/Apia
Pacific/Kiritimati Australia/Sydney Australia/Lord_Howe Australia/Adelaide Australia/Eucla Asia/Beirut Asia/Gaza
Asia/Jerusalem Asia/Tehran Asia/Kolkata Asia/Kathmandu Asia/Tokyo Africa/Cairo Africa/Casablanca Africa/El_Aaiun
Antarctica/Troll
""".split()  # noqa: SIM905 - read as words
TEXTS = [
    "* * * * *", "*/7 * * * *", "0 * * * *", "30 * * * *", "*/15 2 * * *", "* 0 * * *", "59 */2 * * *",
    "*/20 0-3 * * *",
    "30 2 * * *", "0 0 * * *", "15,45 0,1,2,3 * * *", "0 2,3 * * *", "30 1 * * *", "59 23 * * *", "10 0-5/2 * * 0",
    "0 3 29-31 3,10 *", "5 2 * * 6,0", "45 1 1-7 * 0", "0 12 * * 1-5",
]  # fmt: skip


# The scan. It shares nothing with the code under test but the database of zones.


@dataclass(frozen=True)
class Minute:
    """One minute of real time, and what the clock on the wall shows."""

    at: datetime
    wall: datetime
    second_time: bool
    skipped: tuple[datetime, ...]  # wall times that the clock jumped over to show this one


def minutes_of(name: str, start: datetime, end: datetime) -> list[Minute]:
    where, found, before, at = ZoneInfo(name), [], None, start
    while at < end:
        local = at.astimezone(where)
        wall = local.replace(tzinfo=None, fold=0)
        gap = []
        if before is not None:
            missing = before + MINUTE
            while missing < wall:
                gap.append(missing)
                missing += MINUTE
        found.append(Minute(at, wall, local.fold == 1, tuple(gap)))
        before, at = wall, at + MINUTE
    return found


def values(field: str, least: int, most: int) -> set[int]:
    found = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        first = least if span == "*" else int(low)
        last = most if span == "*" else int(high or low)
        found |= set(range(first, last + 1, int(step or 1)))
    return found


def matcher(text: str) -> Any:
    minute, hour, day, month, weekday = text.split()
    spans = [(minute, 0, 59), (hour, 0, 23), (day, 1, 31), (month, 1, 12), (weekday, 0, 7)]
    minutes, hours, days, months, weekdays = (values(*span) for span in spans)
    weekdays |= {0} if 7 in weekdays else set()
    either = not day.startswith("*") and not weekday.startswith("*")

    def matches(wall: datetime) -> bool:
        if wall.minute not in minutes or wall.hour not in hours or wall.month not in months:
            return False
        by_day, by_weekday = wall.day in days, wall.isoweekday() % 7 in weekdays
        return by_day or by_weekday if either else by_day and by_weekday

    return matches


def scanned(text: str, minutes: list[Minute]) -> list[datetime]:
    """The rule in its simplest words, minute by minute."""
    matches, named = matcher(text), not any(field.startswith("*") for field in text.split()[:2])
    if not named:
        return [each.at for each in minutes if matches(each.wall)]
    return [
        each.at
        for each in minutes
        if (matches(each.wall) and not each.second_time) or any(matches(wall) for wall in each.skipped)
    ]


@cache
def changes_of(name: str) -> list[datetime]:
    """When the clocks of this zone are set within the year, found hour by hour."""
    where, at, found = ZoneInfo(name), datetime(YEAR, 1, 1, tzinfo=UTC), []
    while at.year == YEAR:
        later = at + timedelta(hours=1)
        if at.astimezone(where).utcoffset() != later.astimezone(where).utcoffset():
            found.append(later)
        at = later
    return found


def slots(text: str, name: str, start: datetime, end: datetime) -> list[datetime]:
    return list(takewhile(lambda slot: slot < end, Cron(text, name).after(start - timedelta(seconds=1))))


def test_there_are_zones_enough_and_most_of_them_set_their_clocks_twice_a_year() -> None:
    assert len(set(ZONES)) >= 40
    assert sum(len(changes_of(name)) >= 2 for name in ZONES) >= 28


@pytest.mark.parametrize("name", ZONES)
def test_around_every_clock_change_of_the_year_each_slot_is_where_a_scan_of_all_minutes_finds_it(name: str) -> None:
    moments = changes_of(name) or changes_of("Europe/Berlin")
    for moment in moments:
        start, end = moment - timedelta(hours=26), moment + timedelta(hours=26)
        minutes = minutes_of(name, start, end)
        for text in TEXTS:
            assert slots(text, name, start, end) == scanned(text, minutes), (text, moment)


@pytest.mark.slow
def test_over_a_whole_year_no_slot_is_lost_or_doubled() -> None:
    name, start, end = "Australia/Lord_Howe", datetime(YEAR, 1, 1, tzinfo=UTC), datetime(YEAR + 1, 1, 1, tzinfo=UTC)
    minutes = minutes_of(name, start, end)
    for text in TEXTS[2::6]:
        assert slots(text, name, start, end) == scanned(text, minutes), text


# Any text, any start.

numbers = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}


@st.composite
def fields(draw: st.DrawFn, least: int, most: int) -> str:
    number = st.integers(least, most)
    kind = draw(st.sampled_from(["*", "*/n", "n", "n,m", "n-m", "n-m/k"]))
    low, high = sorted((draw(number), draw(number)))
    step = draw(st.integers(1, 12))
    return {"*": "*", "*/n": f"*/{step}", "n": f"{low}", "n,m": f"{low},{high}", "n-m": f"{low}-{high}",
            "n-m/k": f"{low}-{high}/{step}" if low < high else f"{low}"}[kind]  # fmt: skip


texts = st.tuples(*(fields(*span) for span in numbers.values())).map(" ".join)
anywhere = st.sampled_from([name for name in ZONES if len(changes_of(name)) >= 2])


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(text=texts, name=anywhere, which=st.integers(0, 1), offset_h=st.integers(-30, 10))
def test_any_text_around_any_change(text: str, name: str, which: int, offset_h: int) -> None:
    start = changes_of(name)[which] + timedelta(hours=offset_h)
    end = start + timedelta(hours=40)
    minutes = minutes_of(name, start - timedelta(days=1), end)  # a day before, so that a gap is seen whole
    expected = [at for at in scanned(text, minutes) if at >= start]
    try:
        found = slots(text, name, start, end)
    except ValueError:  # "0 0 31 2 *"
        found = []
    assert found == expected


@settings(max_examples=30, deadline=None)
@given(text=st.sampled_from(TEXTS), name=anywhere, which=st.integers(0, 1), microseconds=st.integers(0, 999_999))
@example(text="30 2 * * *", name="Europe/Berlin", which=1, microseconds=1)
def test_it_makes_no_difference_whether_one_goes_on_or_begins_again_at_each_slot(
    text: str, name: str, which: int, microseconds: int
) -> None:
    start = changes_of(name)[which] - timedelta(hours=5, microseconds=microseconds)
    cron = Cron(text, name)
    at_once = list(islice(cron.after(start), 40))
    begun_again, at = [], start
    for _ in range(40):
        at = next(cron.after(at))
        begun_again.append(at)
    assert begun_again == at_once
    assert all(earlier < later for earlier, later in pairwise(at_once))


# Seconds.


@pytest.mark.parametrize("text", ["*/20 * * * * *", "0,30 59 * * * *", "10 30 2 * * ?", "*/25 30 2 * * *"])
@pytest.mark.parametrize("name", ["Europe/Berlin", "Australia/Lord_Howe", "America/Havana"])
def test_seconds_are_a_field_in_front(text: str, name: str) -> None:
    second, rest = text.split()[0], " ".join(text.split()[1:]).replace("?", "*")
    seconds = values(second, 0, 59)
    for moment in changes_of(name):
        start, end = moment - timedelta(hours=4), moment + timedelta(hours=4)
        walls = minutes_of(name, start, end)
        matches = matcher(rest)
        named = not any(field.startswith("*") for field in text.split()[:3])
        expected = []
        for each in walls:
            if named and any(matches(wall) for wall in each.skipped):
                expected.append(each.at)
            elif matches(each.wall) and not (named and each.second_time):
                expected += [each.at + timedelta(seconds=s) for s in sorted(seconds)]
        assert slots(text, name, start, end) == expected, moment


# What is written and how it is read.


def walls(text: str, name: str, after: str, many: int) -> list[str]:
    cron = Cron(text, name)
    start = datetime.fromisoformat(after)
    return [slot.astimezone(cron.zone).isoformat() for slot in islice(cron.after(start), many)]


def test_a_time_that_is_skipped_runs_right_after_the_gap_and_one_that_comes_twice_runs_once() -> None:
    assert walls("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00+01:00", 3) == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]
    assert walls("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00+02:00", 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


def test_a_day_that_a_zone_skipped_is_made_up_for_at_its_end() -> None:
    assert walls("0 9 * * *", "Pacific/Apia", "2011-12-29T12:00-10:00", 2) == [
        "2011-12-31T00:00:00+14:00",
        "2011-12-31T09:00:00+14:00",
    ]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        *ALIASES.items(),
        ("@DAILY ", "0 0 * * *"),
        ("0 9 ? * MON-FRI", "0 9 * * 1-5"),
        ("0 9 1 * ?", "0 9 1 * *"),
        ("0 9 * jan,Jul sun", "0 9 * 1,7 0"),
        ("0 9 * * 7", "0 9 * * 0"),
        ("0 30 2 * * ?", "30 2 * * *"),
        ("  5   4 * *  * ", "5 4 * * *"),
    ],
)
def test_other_ways_to_write_it(text: str, same: str) -> None:
    after = "2026-10-24T12:00+02:00"
    assert walls(text, "Europe/Berlin", after, 8) == walls(same, "Europe/Berlin", after, 8)


def test_last_days_and_nth_weekdays() -> None:
    assert walls("0 9 L * *", "UTC", "2028-02-01T00:00+00:00", 2) == [
        "2028-02-29T09:00:00+00:00",
        "2028-03-31T09:00:00+00:00",
    ]
    assert walls("0 9 LW * *", "UTC", "2026-05-01T00:00+00:00", 1) == ["2026-05-29T09:00:00+00:00"]
    assert walls("0 9 * * FRI#2", "UTC", "2026-11-01T00:00+00:00", 1) == ["2026-11-13T09:00:00+00:00"]
    assert walls("0 9 * * 5L", "UTC", "2026-11-01T00:00+00:00", 1) == ["2026-11-27T09:00:00+00:00"]


def test_the_leap_day_comes_every_four_years() -> None:
    assert walls("0 9 29 2 *", "UTC", "2026-01-01T00:00+00:00", 2) == [
        "2028-02-29T09:00:00+00:00",
        "2032-02-29T09:00:00+00:00",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields; write five"),
        ("0 0 1 1 * * 2027", "no field for years"),
        ("61 * * * *", "'61' is no minute"),
        ("* 24 * * *", "'24' is no hour"),
        ("* * 0 * *", "'0' is no day of month"),
        ("* * * 13 *", "'13' is no month"),
        ("* * * * 8", "'8' is no day of week"),
        ("? * * * *", "is no minute"),
        ("* * 31 2 *", "'31'"),
        ("*/0 * * * *", "'*/0' is no minute"),
        ("@reboot", "the names are @yearly"),
        ("٣ * * * *", "is no minute"),
        ("* " * 200, "at most 255 characters"),
    ],
)
def test_a_wrong_text_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("*", r"\*")):
        Cron(text)


@given(st.text(alphabet="0123456789*/-,?#LW JANMO@\t%", max_size=40))
@settings(max_examples=300, deadline=None)
def test_nonsense_is_an_error_of_the_text_and_nothing_else(text: str) -> None:
    try:
        cron = Cron(text)
    except ValueError:
        return
    assert cron.in_words()
    next(cron.after(datetime(2026, 1, 1, tzinfo=UTC)), None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("europe/berlin", "did you mean Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("Europe", "no time zone 'Europe'"),
        ("", "no time zone ''"),
        ("../../etc/passwd", "no time zone"),
        ("UTC\0", "no time zone"),
        ("x" * 5000, "no time zone"),
    ],
)
def test_a_wrong_zone_is_refused_with_a_right_one(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as wrong:
        zone(name)
    assert len(str(wrong.value)) < 250


def test_in_words() -> None:
    assert Cron("30 2 * * MON-FRI", "Europe/Berlin").in_words() == ("At 02:30 on Monday through Friday (Europe/Berlin)")
    assert Every(timedelta(minutes=90), datetime(2026, 1, 1, tzinfo=UTC)).in_words() == "Every 1 h 30 min"


# Intervals.

START = datetime(2026, 3, 28, 12, tzinfo=UTC)


def test_an_interval_stays_on_its_grid_whatever_the_clocks_do() -> None:
    every = Every(timedelta(hours=7), START)
    assert list(islice(every.after(START), 3)) == [START + n * timedelta(hours=7) for n in (1, 2, 3)]
    assert next(every.after(START + timedelta(days=3650, seconds=1))) - START == 12515 * timedelta(hours=7)
    assert next(every.after(START - timedelta(days=1))) == START


@given(st.integers(1, 10**7), st.integers(0, 10**14))
def test_the_slot_after_any_instant_is_the_first_of_the_grid(seconds: int, microseconds: int) -> None:
    every, at = Every(timedelta(seconds=seconds), START), START + timedelta(microseconds=microseconds)
    slot = next(every.after(at))
    assert at < slot <= at + every.every
    assert (slot - START) % every.every == timedelta(0)


@pytest.mark.parametrize("every", [timedelta(0), timedelta(milliseconds=999), timedelta(days=367), timedelta(days=-1)])
def test_an_interval_has_a_shortest_and_a_longest(every: timedelta) -> None:
    with pytest.raises(ValueError, match="from 1 second to 366 days"):
        Every(every, START)


def test_no_slot_is_before_the_start() -> None:
    later = START + timedelta(days=2)
    daily = rule("0 12 * * *", None, "UTC", later)
    assert first_after(daily, START, later) == later
    assert first_after(daily, START, START) == START + timedelta(days=1)
    assert first_after(rule(None, timedelta(hours=1), "UTC", later), START, later) == later
    with pytest.raises(ValueError, match="no time zone"):
        rule(None, timedelta(hours=1), "Mars/Olympus", later)


# The pieces.


def test_the_change_of_the_clocks_is_found_to_the_second() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    change = datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert next_change(berlin, START, START + timedelta(days=2)) == change
    assert next_change(berlin, change - timedelta(microseconds=1), change) == change
    assert next_change(berlin, change, change + timedelta(days=100)) is None
    assert next_change(berlin, START, change - timedelta(seconds=1)) is None
    assert offset_at(berlin, change) - offset_at(berlin, change - timedelta(seconds=1)) == timedelta(hours=1)


def test_a_wall_time_is_the_first_instant_that_shows_it() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert first_instant(berlin, datetime.fromisoformat("2026-10-25T02:30")) == datetime(
        2026, 10, 25, 0, 30, tzinfo=UTC
    )
    assert first_instant(berlin, datetime.fromisoformat("2026-03-29T02:30")) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
