"""rules/retry: when again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actiond.rules.retry import RetryPolicy, delay_s, retries_left

FIXED = RetryPolicy(retries=3, interval_s=300.0)
DOUBLING = RetryPolicy(retries=10, interval_s=60.0, backoff="exponential", max_interval_s=3600.0)


def test_an_action_that_was_never_charged_has_the_retries_of_its_processor() -> None:
    assert retries_left(FIXED, None) == 3
    assert retries_left(FIXED, 0) == 0
    assert retries_left(FIXED, 7) == 7


@pytest.mark.parametrize("left", [0, 1, 3, 100])
def test_a_fixed_delay_is_the_interval(left: int) -> None:
    assert delay_s(FIXED, left, jitter=0.7) == 300.0


@pytest.mark.parametrize(("left", "delay"), [(10, 60), (9, 120), (8, 240), (5, 1920), (4, 3600), (0, 3600)])
def test_an_exponential_delay_doubles_with_every_charge_up_to_the_maximum(left: int, delay: float) -> None:
    assert delay_s(DOUBLING, left, jitter=0.0) == delay


def test_jitter_adds_up_to_a_quarter() -> None:
    assert delay_s(DOUBLING, 10, jitter=1.0) == 75.0
    assert delay_s(DOUBLING, 10, jitter=0.5) == 67.5


def test_an_action_with_more_retries_than_its_processor_gives_starts_at_the_interval() -> None:
    assert delay_s(DOUBLING, 1000, jitter=0.0) == 60.0


@given(
    retries=st.integers(0, 2_000_000_000),
    left=st.integers(0, 2_000_000_000),
    interval_s=st.floats(0, 1e7),
    longest_s=st.floats(0, 1e7),
    jitter=st.floats(0, 1),
)
def test_a_delay_is_never_negative_never_endless_and_never_early(
    retries: int, left: int, interval_s: float, longest_s: float, jitter: float
) -> None:
    policy = RetryPolicy(retries, interval_s, "exponential", longest_s)
    delay = delay_s(policy, left, jitter)
    assert min(interval_s, longest_s) <= delay <= longest_s * 1.25
    if left > 0:
        assert delay <= delay_s(policy, left - 1, jitter)
