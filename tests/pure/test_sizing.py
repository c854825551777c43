"""batch_size="auto": it finds the size, keeps it, and gives up where size is not the matter. Simulated: no clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from actiond.rules.sizing import CALLS, FIRST, LESS, MORE, MOST, Sizing

TIMEOUT_S = 10.0  # so a batch is slow from 1 s on

#: rows -> seconds, share of failures
Handler = Callable[[int], tuple[float, float]]


def runs(sizing: Sizing, handler: Handler, calls: int, seed: int = 1, noise: float = 0.2) -> list[int]:
    """So many full batches; the size after each."""
    rng, sizes = random.Random(seed), []
    for _ in range(calls):
        took_s, share = handler(sizing.rows)
        took_s *= rng.uniform(1 - noise, 1 + noise)
        failed = sum(rng.random() < share for _ in range(sizing.rows))
        sizing.ended(sizing.rows, took_s, failed, TIMEOUT_S)
        sizes.append(sizing.rows)
    return sizes


def a_row_takes(each_s: float, share: float = 0.0, call_s: float = 0.0) -> Handler:
    return lambda rows: (call_s + each_s * rows, share)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("each_s", [0.1, 0.01, 0.002, 0.001])
def test_it_comes_near_the_size_that_takes_as_long_as_may_be_and_stays_there(each_s: float, seed: int) -> None:
    best = 1.0 / each_s
    sizes = runs(Sizing(), a_row_takes(each_s), 2000, seed)[800:]
    assert min(sizes) >= LESS * best / 1.2 - 1
    assert max(sizes) <= best / 0.8 + MORE
    changes = [(before, after) for before, after in pairwise(sizes) if before != after]
    assert all(after >= int(LESS * before) for before, after in changes), "no leaps"


def test_it_grows_while_batches_are_quick_to_a_bound() -> None:
    sizes = runs(Sizing(), a_row_takes(0.0), 1000)
    assert sizes[-1] == MOST
    assert all(after - before in (0, MORE) for before, after in pairwise(sizes))


def test_one_odd_call_decides_nothing() -> None:
    sizing = Sizing()
    for odd in (60.0, *[0.01] * (CALLS - 1)):
        assert sizing.ended(sizing.rows, odd, 0, TIMEOUT_S) is None
    assert sizing.rows == FIRST + MORE


def test_where_a_call_costs_the_same_whatever_its_size_batches_do_not_shrink() -> None:
    sizes = runs(Sizing(), a_row_takes(0.0, call_s=3.0), 400, noise=0.02)
    assert min(sizes) >= int(LESS * FIRST)
    assert sizes[-1] > FIRST, "few rows would only mean more calls"


def test_where_most_fail_whatever_the_size_batches_do_not_shrink_to_nothing() -> None:
    sizes = runs(Sizing(), a_row_takes(0.001, share=0.9), 400)
    assert min(sizes) >= int(LESS * FIRST)


def test_where_large_batches_fail_it_finds_the_size_that_does_not() -> None:
    sizes = runs(Sizing(), lambda rows: (0.0, 1.0 if rows > 300 else 0.0), 2000)[200:]
    assert min(sizes) >= int(LESS * 300) - 1
    assert max(sizes) <= 300 + MORE


def test_what_gets_worse_counts_again_after_a_decrease_in_vain() -> None:
    sizing = Sizing()
    runs(sizing, a_row_takes(0.0, call_s=3.0), 100, noise=0.0)
    rows = sizing.rows
    runs(sizing, a_row_takes(0.0, call_s=8.0), CALLS, noise=0.0)
    assert sizing.rows == int(LESS * rows)


def test_when_it_is_quick_again_all_is_forgotten() -> None:
    sizing = Sizing()
    runs(sizing, a_row_takes(0.0, call_s=3.0), 100, noise=0.0)
    runs(sizing, a_row_takes(0.0), CALLS, noise=0.0)
    rows = sizing.rows
    runs(sizing, a_row_takes(0.0, call_s=3.0), CALLS, noise=0.0)
    assert sizing.rows == int(LESS * rows)


@pytest.mark.parametrize("rows", [1, FIRST // 2, FIRST + 1, MOST])
def test_batches_of_another_size_say_nothing(rows: int) -> None:
    sizing = Sizing()
    for _ in range(10 * CALLS):
        assert sizing.ended(rows, 60.0, rows, TIMEOUT_S) is None
    assert sizing.rows == FIRST


def test_batches_that_are_not_full_can_shrink_it_but_not_grow_it() -> None:
    sizing = Sizing()
    for _ in range(CALLS):
        sizing.ended(FIRST - 1, 0.01, 0, TIMEOUT_S)
    assert sizing.rows == FIRST
    said = [sizing.ended(FIRST - 1, 2.0, 0, TIMEOUT_S) for _ in range(CALLS)]
    assert said[-1] == "slow"
    assert sizing.rows == int(LESS * FIRST)


def test_one_row_is_the_least() -> None:
    sizes = runs(Sizing(), lambda rows: (100.0 * rows, 0.0), 500, noise=0.0)
    assert sizes[-1] == 1
