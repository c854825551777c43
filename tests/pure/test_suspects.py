"""batch/suspects: one run at a time, and only when nothing else of the kind is claimed or on its way."""

from __future__ import annotations

from actiond.batch.suspects import Suspects


def test_a_run_starts_when_its_own_claim_is_done() -> None:
    suspects, started = Suspects(), []
    with suspects.asking() as allowed:
        assert allowed
        assert suspects.take(1, lambda: started.append(1))
        assert started == []
    assert started == [1]


def test_a_run_waits_for_claims_that_were_on_their_way_and_for_what_they_brought() -> None:
    suspects, started = Suspects(), []
    with suspects.asking():
        with suspects.asking():
            assert suspects.take(1, lambda: started.append(1))
        assert not suspects.take(2, lambda: started.append(2))
    assert started == []
    suspects.gone()
    assert started == [1]


def test_nobody_may_claim_suspects_before_the_run_is_over_and_then_everybody_is_rung() -> None:
    suspects, rung = Suspects(), []
    suspects.rings += [lambda: rung.append("a"), lambda: rung.append("b")]
    suspects.take(1, lambda: None)
    with suspects.asking() as allowed:
        assert not allowed
    suspects.over(2)
    assert rung == []
    suspects.over(1)
    assert rung == ["a", "b"]
    with suspects.asking() as allowed:
        assert allowed


def test_a_run_that_goes_back_before_it_started_never_starts() -> None:
    suspects, started = Suspects(), []
    with suspects.asking():
        suspects.take(1, lambda: started.append(1))
        suspects.over(1)
    assert started == []
