"""words/duration: what authors write, what people read."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actiond.words.duration import LONGEST_S, exactly, in_words, seconds


@pytest.mark.parametrize(
    ("written", "amount_s"),
    [
        ("5 min", 300),
        ("5min", 300),
        (" 5  Min ", 300),
        ("1 h 30 min", 5400),
        ("1h30m", 5400),
        ("0.5 s", 0.5),
        ("0 s", 0),
        ("250 ms", 0.25),
        ("10 us", 1e-5),
        ("2 d", 172_800),
        ("1 week 1 day", 691_200),
        ("1 hour 1 minute 1 second", 3661),
        (timedelta(minutes=5), 300),
        (timedelta(0), 0),
        (2, 2),
        (2.5, 2.5),
    ],
)
def test_a_duration_is_understood(written: str | timedelta | float, amount_s: float) -> None:
    assert seconds(written) == pytest.approx(amount_s)


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "5",
        "min",
        "5 minuets",
        "5 min later",
        "in 5 min",
        "-5 min",
        "5 min - 1 s",
        "1,5 h",
        "1e3 s",
        "inf s",
        "nan s",
        "9" * 400 + " s",
        "1 s " * 1_000_000,
        "1001 years",
        timedelta.max,  # Postgres could not add it to today
        LONGEST_S * 1.1,
        timedelta(seconds=-1),
        -1,
        -0.001,
        float("nan"),
        float("inf"),
        10**400,
        -(10**400),
        10**4000,
        True,
        None,
        [],
        b"5 min",
        object(),
    ],
    ids=lambda written: repr(written)[:20],
)
def test_what_is_no_duration_is_a_value_error(written: object) -> None:
    with pytest.raises(ValueError, match=r"duration"):
        seconds(written)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("amount_s", "said"),
    [
        (0, "0 ms"),
        (0.25, "250 ms"),
        (1, "1 s"),
        (1.25, "1.2 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (90, "1 min 30 s"),
        (3600, "1 h"),
        (3660, "1 h 1 min"),
        (3601, "1 h"),
        (86_400 * 3 + 3600 * 4 + 60, "3 d 4 h"),
    ],
)
def test_an_amount_is_said_in_two_units_at_most(amount_s: float, said: str) -> None:
    assert in_words(amount_s) == said


@given(st.floats(min_value=0, max_value=1e9))
def test_what_is_said_is_understood_and_nearly_what_was_meant(amount_s: float) -> None:
    assert seconds(in_words(amount_s)) == pytest.approx(amount_s, rel=0.06, abs=0.001)


@given(st.timedeltas(timedelta(0), timedelta(seconds=LONGEST_S)))
def test_a_timedelta_means_itself(distance: timedelta) -> None:
    assert seconds(distance) == distance.total_seconds()


@pytest.mark.parametrize(
    ("amount_s", "said"),
    [(90.0, "90 s"), (0, "0 s"), (0.5, "0.5 s"), (1e6, "1000000 s"), (0.00001, "0.00001 s"), (1e10, "10000000000 s")],
)
def test_an_amount_is_written_without_an_exponent(amount_s: float, said: str) -> None:
    assert exactly(amount_s) == said


@given(st.floats(0, LONGEST_S))
def test_what_is_written_exactly_is_read_exactly(amount_s: float) -> None:
    if "e-" not in repr(amount_s):  # shorter than any unit
        assert seconds(exactly(amount_s)) == amount_s


@given(st.text(max_size=20))
def test_any_text_is_an_amount_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert 0 <= seconds(text) < float("inf")
