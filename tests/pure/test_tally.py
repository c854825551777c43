"""batch/tally: what was counted is what happened, and never less than before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actiond.batch.run import Run
from actiond.batch.tally import Histogram, Tally
from actiond.service.exposition import buckets
from actiond.words.claimed import Settlement
from pure.build import a_row

SECONDS = st.floats(min_value=0, max_value=10**7, allow_nan=False)


def test_a_claim_counts_once_and_each_of_its_rows_with_its_wait() -> None:
    tally = Tally()
    for run_id, waits in enumerate(([0.0, 0.5], [0.25])):
        rows = [a_row(place, waited_s=waited_s) for place, waited_s in enumerate(waits)]
        tally.brought(rows, Run.of(run_id, "p", rows).waits)
    assert (tally.claims, tally.claimed, sum(tally.waits.counts), tally.waits.sum_s) == (2, 3, 3, 0.75)


def test_outcomes_are_counted_by_their_kind() -> None:
    tally = Tally()
    tally.landed([Settlement(1, 1, "completed"), Settlement(2, 1, "failed")])
    tally.landed([Settlement(3, 1, "completed")])
    assert tally.outcomes == {"completed": 2, "failed": 1}


@given(st.lists(SECONDS, max_size=50))
def test_buckets_are_cumulative_and_none_holds_what_is_longer(amounts_s: list[float]) -> None:
    histogram = Histogram()
    for amount_s in amounts_s:
        histogram.add(amount_s)
    shown, sum_s = buckets(histogram)
    assert abs(sum_s - sum(amounts_s)) <= 1e-6 * sum_s
    counts = [count for _, count in shown]
    assert counts == sorted(counts)
    assert shown[-1] == ("+Inf", len(amounts_s))
    for bound, count in shown[:-1]:
        assert count == sum(amount_s * 1000 < float(bound) * 1000 for amount_s in amounts_s)


def test_bounds_are_powers_of_two_from_a_millisecond_to_over_an_hour() -> None:
    bounds = [bound for bound, _ in buckets(Histogram())[0]]
    assert bounds[:4] == ["0.001", "0.002", "0.004", "0.008"]
    assert bounds[-2:] == ["4194.304", "+Inf"]
