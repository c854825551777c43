"""rules/bisect: finds exactly the bad ones, in few tries, in order."""

from __future__ import annotations

from itertools import chain, combinations
from math import ceil, log2

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actiond.rules.bisect import Bisection


def search(items: list[int], bad: set[int]) -> tuple[list[int], list[int], int]:
    """(refused alone, accepted, tries), as somebody who writes the parts would go about it."""
    bisection, accepted, tries = Bisection(items), list[int](), 0
    while (part := bisection.next()) is not None:
        assert part, "an empty part is no question"
        tries += 1
        if bad & set(part):
            bisection.refused()
        else:
            bisection.accepted()
            accepted += part
    return bisection.bad, accepted, tries


def most_tries(n: int, bad: int) -> int:
    """Halves are not always equal, so levels are counted up."""
    return bad * (2 * ceil(log2(n / bad)) + 2) - 1 if bad else 1


@pytest.mark.parametrize("n", range(1, 11))
def test_every_choice_of_bad_ones_among_a_few_is_found(n: int) -> None:
    for bad in chain.from_iterable(combinations(range(n), k) for k in range(n + 1)):
        found, accepted, tries = search(list(range(n)), set(bad))
        assert found == list(bad)
        assert sorted(found + accepted) == list(range(n))
        assert tries <= most_tries(n, len(bad))


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
@example((1, {0}))
@example((2, {0, 1}))
@example((257, {256}))
@example((300, set(range(300))))
def test_exactly_the_bad_ones_are_found_in_few_tries(case: tuple[int, set[int]]) -> None:
    n, bad = case
    found, accepted, tries = search(list(range(n)), bad)
    assert found == sorted(bad)
    assert accepted == [item for item in range(n) if item not in bad]
    assert tries <= most_tries(n, len(bad))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9, 17, 64, 65, 200])
def test_one_bad_item_costs_little_wherever_it_stands(n: int) -> None:
    assert max(search(list(range(n)), {bad})[2] for bad in range(n)) <= most_tries(n, 1)


def test_all_good_costs_one_try() -> None:
    assert search(list(range(5000)), set()) == ([], list(range(5000)), 1)


def test_nothing_costs_no_try() -> None:
    assert Bisection[int]([]).next() is None
    assert search([], set()) == ([], [], 0)


def test_one_of_five_thousand_is_found_in_27_tries() -> None:
    assert search(list(range(5000)), {4321})[2] <= 27


def test_equal_items_are_told_apart_by_their_place() -> None:
    bisection, refusals = Bisection(["a", "a", "a"]), iter([True, False, True, True, False])
    while bisection.next() is not None:
        if next(refusals):
            bisection.refused()
        else:
            bisection.accepted()
    assert bisection.bad == ["a"]


def test_the_question_stays_the_same_until_it_is_answered() -> None:
    bisection = Bisection([1, 2])
    assert bisection.next() == bisection.next() == [1, 2]
    bisection.refused()
    assert bisection.next() == bisection.next() == [1]


def test_the_list_that_was_given_is_not_changed() -> None:
    items = [1, 2, 3]
    assert search(items, {2})[0] == [2]
    assert items == [1, 2, 3]
