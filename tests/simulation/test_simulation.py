"""Thousands of worlds, each from a seed; and those that were red once, for ever.

`--seed N` runs that one alone; `--seeds N` so many, as on the night before a release. A red seed prints all that
happened in its world; add it to seeds.txt together with what mends it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from simulation.world import run_seed

KEPT = [
    int(line.split()[0]) for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines() if line[:1] != "#"
]
USUAL = 100
PORTION = 50  # seeds in one test
#: What must have happened in so many worlds, or they prove nothing.
SEEN = ("claimed", "landed", "returned", "rescued", "cancel", "hold", "release", "retry", "run_now")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    one, many = (metafunc.config.getoption(name) for name in ("--seed", "--seeds"))
    if "kept" in metafunc.fixturenames:
        metafunc.parametrize("kept", KEPT if one is None else [one])
    if "first" in metafunc.fixturenames:
        metafunc.parametrize("first", range(0, many or USUAL, PORTION) if one is None else [])


def test_a_seed_that_was_red_is_green(kept: int) -> None:
    run_seed(kept)


@pytest.mark.slow
def test_in_every_world_all_rows_end_once_and_nothing_is_left(first: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(first, first + PORTION):
        seen.update(run_seed(seed).ledger.hits)
    if first < USUAL:  # of thousands of portions one may well do without
        assert [what for what in SEEN if not seen[what]] == []


def test_the_same_seed_is_the_same_world() -> None:
    first, again = (run_seed(7).trace for _ in range(2))
    assert first == again
    assert first != run_seed(8).trace


def test_no_seed_is_kept_twice() -> None:
    assert sorted(set(KEPT)) == sorted(KEPT)
