"""rules/bisect: finds exactly the bad ones, in few tries, in order."""

from __future__ import annotations

from functools import cache
from itertools import chain, combinations
from math import log2

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


def most_tries(n: int, bad: int) -> float:
    """What is promised."""
    return bad * (2 * log2(n / bad) + 2) + 1 if bad else 1


@cache
def worst(n: int, bad: int) -> int:
    """The tries when the bad ones stand where they cost most, by the halves that the search really makes."""
    if bad == 0 or n == 1:
        return 1
    search = Bisection(list(range(n)))
    search.refused()
    left = len(search.next() or ())
    right = n - left
    return 1 + max(
        worst(left, here) + worst(right, bad - here) for here in range(max(0, bad - right), min(bad, left) + 1)
    )


@pytest.mark.parametrize("n", [*range(1, 65), 100, 127, 128, 129, 200, 255, 256, 257])
def test_no_number_of_bad_ones_costs_more_than_promised(n: int) -> None:
    for bad in range(min(n, 40) + 1):
        assert worst(n, bad) <= most_tries(n, bad) + 1e-9, (n, bad)


def test_one_and_seven_of_512() -> None:
    assert (worst(512, 1), worst(512, 7)) == (19, 99)
    assert most_tries(512, 1) == 21
    assert 101 < most_tries(512, 7) < 102


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
    bisection, refusals = Bisection(["a", "a", "a"]), iter([True, True, False, True, False])
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


def search_by_marks(n: int, bad: set[int], reads: int) -> tuple[list[int], list[int], int]:
    """As somebody whose tries decide item after item and end at a bad one, in groups of `reads`."""
    bisection, decided, tries = Bisection(list(range(n))), list[int](), 0
    while (part := bisection.next()) is not None:
        tries += 1
        first = next((place for place, item in enumerate(part) if item in bad), None)
        if first is None:
            bisection.accepted()
            decided += part
        else:
            kept = part[: first // reads * reads]
            decided += kept
            bisection.refused(part[len(kept) :])
    return bisection.bad, decided, tries


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))), st.integers(1, 50))
@example((2, {1}), 1)
@example((512, {511}), 1)
def test_what_a_try_decided_by_the_way_is_not_tried_again_and_costs_no_more(
    case: tuple[int, set[int]], reads: int
) -> None:
    n, bad = case
    found, decided, tries = search_by_marks(n, bad, reads)
    assert found == sorted(bad)
    assert decided == [item for item in range(n) if item not in bad]
    assert tries <= most_tries(n, len(bad))


def test_only_what_was_tried_alone_is_bad() -> None:
    bisection = Bisection([1, 2, 3])
    bisection.refused([3])
    assert (bisection.next(), bisection.bad) == ([3], [])
    bisection.refused()
    assert (bisection.next(), bisection.bad) == (None, [3])


def test_a_try_may_decide_everything_and_be_refused_all_the_same() -> None:
    for items in ([1], [1, 2, 3]):
        bisection = Bisection(items)
        bisection.refused([])
        assert (bisection.next(), bisection.bad) == (None, [])


def test_what_is_undecided_is_told_in_order() -> None:
    bisection = Bisection(list(range(6)))
    assert bisection.undecided == list(range(6))
    bisection.refused()
    first = list(bisection.next() or ())
    bisection.refused()
    assert bisection.undecided == list(range(6))
    bisection.accepted()
    assert len(bisection.undecided) == 6 - len(first) + len(first) // 2
    while bisection.next():
        bisection.accepted()
    assert bisection.undecided == []
