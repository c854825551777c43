"""rules/gate: may this processor claim; if not, every reason, the deciding one first."""

from __future__ import annotations

from itertools import product

from actiond.rules.gate import Circumstances, Shut, shut

#: What shuts it, and for which reason.
SHUTS = {
    Shut.STOPPING: {"stopping": True},
    Shut.CUT_OFF: {"cut_off": True},
    Shut.PAUSED: {"paused": True},
    Shut.DISABLED: {"enabled": False},
    Shut.UNSAVED: {"unsaved": 10, "unsaved_max": 10},
}


def test_usually_it_is_open() -> None:
    assert shut(Circumstances()) == []


def test_every_reason_has_its_circumstance() -> None:
    assert SHUTS.keys() == set(Shut)


def test_every_combination_names_all_its_reasons_in_the_order_of_their_weight() -> None:
    for chosen in product((False, True), repeat=len(Shut)):
        reasons = [reason for reason, holds in zip(Shut, chosen, strict=True) if holds]
        given: dict[str, bool | int] = {}
        for reason in reasons:
            given |= SHUTS[reason]
        assert shut(Circumstances(**given)) == reasons  # type: ignore[arg-type]


def test_the_bound_of_unsaved_outcomes_is_where_it_shuts() -> None:
    assert shut(Circumstances(unsaved=9, unsaved_max=10)) == []
    assert shut(Circumstances(unsaved=10, unsaved_max=10)) == [Shut.UNSAVED]
    assert shut(Circumstances(unsaved=11, unsaved_max=10)) == [Shut.UNSAVED]


def test_a_reason_can_be_read_by_people() -> None:
    assert all(" " in reason for reason in Shut)
