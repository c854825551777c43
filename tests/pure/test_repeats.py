"""What a handler says of a recurring action."""

from __future__ import annotations

import pytest

from actiond.rules.settlement import settle
from actiond.words.outcome import KEEP_ALIVE, SUDDEN_DEATH, Canceled, Completed, Deferred, Failed, Outcome
from pure.build import a_row, rules

RULES = rules(retries=2)


@pytest.mark.parametrize(
    ("outcome", "retries_left", "kind"),
    [
        (Completed(), None, "repeated"),
        (Completed(7), None, "repeated"),
        (Completed(final=True), None, "completed"),
        (Failed("no"), 1, "retried"),
        (Failed("no"), 0, "repeated"),
        (Failed("no", KEEP_ALIVE), 0, "retried"),
        (Failed("no", SUDDEN_DEATH), 2, "failed"),
        (Deferred("1 s"), None, "deferred"),
        (Canceled(), None, "canceled"),
    ],
    ids=repr,
)
def test_what_it_says_becomes(outcome: Outcome, retries_left: int | None, kind: str) -> None:
    settled = settle(a_row(repeats=True, retries_left=retries_left), 1, outcome, RULES, 0.0)
    assert settled.kind == kind
    assert (settled.error == "no") is isinstance(outcome, Failed)
    assert settle(a_row(retries_left=retries_left), 1, outcome, RULES, 0.0).kind != "repeated"


def test_every_execution_is_in_history_because_the_row_holds_the_next_one() -> None:
    assert settle(a_row(repeats=True), 1, Completed(), RULES, 0.0).noted
    assert not settle(a_row(), 1, Completed(), RULES, 0.0).noted
