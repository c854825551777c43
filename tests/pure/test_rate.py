"""rules/rate: a bucket of tokens; whatever claims do, over any time no more rows start than it allows."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actiond.rules.rate import Rate, doubled, whole, written


def rate_of(text: str, burst: int | None = None) -> Rate:
    rate = Rate.of(text, burst)
    assert rate is not None
    return rate


@pytest.mark.parametrize(
    ("text", "per_s"),
    [("10/s", 10.0), ("90/min", 1.5), ("1800/h", 0.5), ("43200/d", 0.5), ("300/5 min", 1.0), ("1/30 s", 1 / 30)],
)
def test_a_rate_is_read(text: str, per_s: float) -> None:
    assert rate_of(text).per_s == pytest.approx(per_s)
    assert written(text) == text


@pytest.mark.parametrize(("text", "stored"), [("100 / min", "100/min"), ("100/1 min", "100/min"), ("5/10s", "5/10 s")])
def test_it_is_stored_in_one_way(text: str, stored: str) -> None:
    assert written(text) == stored
    assert Rate.of(text) == Rate.of(stored)


@pytest.mark.parametrize(
    "text", ["", "100", "100/", "/min", "0/s", "-1/s", "1.5/s", "100/minute", "100/0 s", 100, None]
)
def test_what_is_no_rate_is_refused_with_what_would_be_one(text: object) -> None:
    with pytest.raises(ValueError, match="'100/min'"):
        written(text)


def test_none_is_no_limit() -> None:
    assert Rate.of("none") is None
    assert written("none") == "none"


def test_the_usual_burst_is_what_comes_in_a_tenth_of_a_second_and_never_nothing() -> None:
    assert rate_of("100/min").burst == 1
    assert rate_of("1000/s").burst == 100
    assert rate_of("1000/s", 7).burst == 7


def test_more_is_allowed_by_twice_the_count_in_one_word_for_a_shell() -> None:
    assert doubled("100/min") == "200/min"
    assert doubled("3/10 s") == "'6/10 s'"


def test_a_bucket_fills_up_to_its_burst_and_is_full_before_anybody_took_of_it() -> None:
    rate = Rate(2.0, 5)
    assert rate.filled(None, 0.0) == 5.0
    assert rate.filled(1.0, 1.5) == 4.0
    assert rate.filled(1.0, 100.0) == 5.0
    assert rate.filled(1.0, -100.0) == 1.0  # a clock that was set back takes nothing away
    assert Rate(2.0, 2).filled(5.0, 0.0) == 2.0  # an operator allowed less


def test_only_whole_tokens_count() -> None:
    assert [whole(tokens) for tokens in (-3.0, 0.0, 0.99, 1.0, 1.0 - 1e-12, 2.7)] == [0, 0, 0, 1, 1, 2]


def test_at_low_rates_one_waits_for_one_token_and_at_high_ones_for_several() -> None:
    assert Rate(2.0, 5).wait_s(1.0) == 0.0
    assert Rate(2.0, 5).wait_s(0.5) == 0.25
    assert Rate(1000.0, 100).wait_s(0.0) == 0.05
    assert Rate(1000.0, 1).wait_s(0.0) == 0.001  # one is all it keeps
    assert Rate(1000.0, 1).wait_s(1 - 1e-7) == 0.001  # never a wait of next to nothing


rates = st.builds(Rate, st.floats(0.001, 10_000), st.integers(1, 1000))


@given(rates, st.floats(-5, 0.999))
def test_after_the_wait_there_is_a_token(rate: Rate, tokens: float) -> None:
    assert whole(rate.filled(tokens, rate.wait_s(tokens))) >= 1


@given(rates, st.lists(st.tuples(st.floats(0, 100), st.integers(0, 2000)), max_size=30))
def test_over_any_time_no_more_rows_start_than_the_rate_allows(rate: Rate, claims: list[tuple[float, int]]) -> None:
    at_s, tokens, taken = 0.0, rate.filled(None, 0.0), [(0.0, 0)]
    for later_s, wanted in claims:
        at_s, tokens = at_s + later_s, rate.filled(tokens, later_s)
        rows = min(wanted, whole(tokens))
        tokens -= rows
        taken.append((at_s, rows))
    for first in range(len(taken)):
        rows = 0
        for end_s, more in taken[first:]:
            rows += more
            assert rows <= rate.burst + rate.per_s * (end_s - taken[first][0]) + 1e-6


@given(st.integers(1, 1000), st.sampled_from(["s", "min", "h"]))
def test_with_a_burst_of_one_never_more_than_it_says_start_within_its_period(count: int, unit: str) -> None:
    rate, period_s = rate_of(f"{count}/{unit}", 1), {"s": 1.0, "min": 60.0, "h": 3600.0}[unit]
    tokens, at_s, starts = rate.filled(None, 0.0), 0.0, list[float]()
    while len(starts) < count + 1:  # as greedy as can be
        if whole(tokens):
            tokens -= 1
            starts.append(at_s)
        wait_s = (1 - tokens) / rate.per_s
        at_s, tokens = at_s + wait_s, rate.filled(tokens, wait_s)
    assert starts[-1] >= period_s or math.isclose(starts[-1], period_s)
