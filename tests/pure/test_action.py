"""contract/action and contract/batch: what a handler holds, and the marks it makes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from actiond.contract.batch import Batch
from actiond.rules.error_policy import ErrorPolicy
from actiond.words.errors import AuthorError, BatchClosed, NotInThisBatch, NoTransaction
from actiond.words.outcome import (
    ALLOW_RETRY,
    KEEP_ALIVE,
    SUDDEN_DEATH,
    Canceled,
    Completed,
    Deferred,
    Failed,
    Failure,
    Outcome,
    RetryBehavior,
)
from pure.build import a_batch, a_scope, an_action


def outcomes(batch: Batch[Any]) -> list[Outcome | None]:
    return [action.outcome for action in batch]


# One action.


def test_an_action_says_what_it_is() -> None:
    action = an_action(12, {"to": "a"}, related="order 7", attempts=2)
    assert (action.id, action.data, action.related, action.attempt, action.run_id) == (12, {"to": "a"}, "order 7", 2, 7)
    assert repr(action) == "<Action 12 of mail, attempt 2>"


def test_the_key_for_outside_calls_is_the_same_at_every_attempt() -> None:
    first, second = an_action(12, attempts=1), an_action(12, a_scope(run_id=8), attempts=2)
    assert first.idempotency_key == second.idempotency_key == "actiond-12"


def test_the_state_is_what_the_last_deferral_kept() -> None:
    assert an_action().state is None
    assert an_action(state='{"step": 2}').state == {"step": 2}
    assert an_action(state="null").state is None


def test_an_action_that_was_taken_away_says_so() -> None:
    scope = a_scope()
    action, other = an_action(1, scope=scope), an_action(2, scope=scope)
    assert not action.withdrawn
    scope.withdrawn.add(1)
    assert action.withdrawn
    assert not other.withdrawn


@pytest.mark.parametrize(
    ("mark", "outcome"),
    [
        (lambda action: action.complete(), Completed(None)),
        (lambda action: action.complete({"a": 1}), Completed({"a": 1})),
        (lambda action: action.fail("no"), Failed("no", ALLOW_RETRY, None)),
        (lambda action: action.fail("no", KEEP_ALIVE, after="1 min"), Failed("no", KEEP_ALIVE, "1 min")),
        (lambda action: action.fail("no", "SUDDEN_DEATH"), Failed("no", SUDDEN_DEATH, None)),
        (lambda action: action.defer("1 min"), Deferred("1 min", None)),
        (lambda action: action.defer(timedelta(0), state={"a": 1}), Deferred(timedelta(0), {"a": 1})),
        (lambda action: action.cancel(), Canceled("")),
        (lambda action: action.cancel("not needed"), Canceled("not needed")),
    ],
)
def test_a_mark_is_kept_and_returned(mark: Any, outcome: Outcome) -> None:
    action = an_action()
    assert action.outcome is None
    assert mark(action) == outcome
    assert action.outcome == outcome


def test_the_last_mark_wins() -> None:
    action = an_action()
    action.complete(1)
    action.fail("no")
    assert action.outcome == Failed("no")
    action.cancel()
    assert action.outcome == Canceled()


@pytest.mark.parametrize("after", ["soon", -1, timedelta(seconds=-1), "", True], ids=str)
def test_a_wrong_duration_is_refused_where_it_is_written_and_marks_nothing(after: Any) -> None:
    action = an_action()
    for mark in (lambda: action.fail("no", after=after), lambda: action.defer(after)):
        with pytest.raises(ValueError, match="duration"):
            mark()
    with pytest.raises(ValueError, match="duration"):
        action.defer(None)  # type: ignore[arg-type]
    assert action.outcome is None


def test_a_wrong_behavior_is_refused_where_it_is_written() -> None:
    action = an_action()
    with pytest.raises(ValueError, match="RETRY_FOREVER"):
        action.fail("no", "RETRY_FOREVER")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="RETRY_FOREVER"):
        Failure("no", "RETRY_FOREVER")  # type: ignore[arg-type]
    assert action.outcome is None


def test_an_exception_without_a_behavior_costs_what_its_class_says() -> None:
    scope = a_scope(on_error=ErrorPolicy.of(ValueError, ()))
    action, batch = an_action(scope=scope), a_batch(1, scope=scope)
    error = ValueError("no")
    assert action.fail(error) == Failed(error, SUDDEN_DEATH)
    assert action.fail(error, ALLOW_RETRY) == Failed(error, ALLOW_RETRY)
    assert action.fail("no") == Failed("no", ALLOW_RETRY)
    batch.fail(None, error)
    assert batch[0].outcome == Failed(error, SUDDEN_DEATH)


def test_the_exception_has_the_arguments_of_fail() -> None:
    action = an_action()
    for behavior in RetryBehavior:
        raised = Failure("no", behavior, after="5 s")
        assert raised.failed == action.fail("no", behavior, after="5 s")
        assert str(raised) == "no"


MARKS = [
    lambda action: action.complete(),
    lambda action: action.fail("no"),
    lambda action: action.defer("1 s"),
    lambda action: action.cancel(),
]


@pytest.mark.parametrize("mark", MARKS)
def test_after_the_handler_has_ended_nothing_can_be_marked(mark: Any) -> None:
    scope = a_scope()
    action = an_action(12, scope=scope)
    action.complete(1)
    scope.closed = True
    with pytest.raises(BatchClosed, match="action 12"):
        mark(action)
    assert action.outcome == Completed(1)


@pytest.mark.parametrize("mark", MARKS)
def test_what_a_transaction_decided_cannot_be_marked_again(mark: Any) -> None:
    scope = a_scope()
    action, other = an_action(1, scope=scope), an_action(2, scope=scope)
    scope.settled.add(1)
    with pytest.raises(AuthorError):
        mark(action)
    mark(other)
    assert action.outcome is None
    assert other.outcome is not None


# A batch.


def test_a_batch_is_a_sequence_of_its_actions() -> None:
    batch = a_batch(3)
    assert len(batch) == 3
    assert [action.id for action in batch] == [1, 2, 3]
    assert batch[0].id == 1
    assert [action.id for action in batch[1:]] == [2, 3]
    assert batch[2] in batch
    assert an_action(1) not in batch
    assert [action.id for action in reversed(batch)] == [3, 2, 1]
    assert (batch.run_id, batch.processor) == (7, "mail")


def test_a_batch_brings_the_processors_own_settings() -> None:
    assert a_batch(config={"url": "x"}).config == {"url": "x"}


def test_all_are_marked_at_once() -> None:
    batch = a_batch(2)
    batch.complete()
    assert outcomes(batch) == [Completed(), Completed()]
    batch.fail(None, "no", KEEP_ALIVE, after="1 s")
    assert outcomes(batch) == [Failed("no", KEEP_ALIVE, "1 s")] * 2


def test_some_are_marked_and_the_others_stay_unmarked() -> None:
    batch = a_batch(3)
    batch.complete(batch[:1])
    batch.fail((action for action in batch if action.id == 3), "no", SUDDEN_DEATH)
    assert outcomes(batch) == [Completed(), None, Failed("no", SUDDEN_DEATH)]
    batch.complete([])
    assert outcomes(batch)[1] is None


@pytest.mark.parametrize(
    "mark", [lambda batch, actions: batch.complete(actions), lambda batch, actions: batch.fail(actions, "no")]
)
def test_an_action_of_another_batch_is_refused_before_anything_is_marked(mark: Any) -> None:
    batch, other = a_batch(2), a_batch(2)
    with pytest.raises(NotInThisBatch, match="action 2"):
        mark(batch, [batch[0], other[1]])
    assert outcomes(batch) == [None, None]
    assert outcomes(other) == [None, None]


def test_a_closed_batch_cannot_be_marked() -> None:
    scope = a_scope()
    batch = a_batch(2, scope)
    scope.closed = True
    with pytest.raises(BatchClosed):
        batch.complete()
    with pytest.raises(BatchClosed):
        batch.fail(None, "no")


def test_what_is_no_longer_ours_leaves_the_batch() -> None:
    batch = a_batch(3)
    second = batch[1]
    batch.drop([second])
    assert [action.id for action in batch] == [1, 3]
    batch.complete()
    assert second.outcome is None
    with pytest.raises(NotInThisBatch, match="action 2"):
        batch.complete([second])


def test_a_batch_can_lose_actions_while_it_is_walked() -> None:
    batch = a_batch(3)
    for action in batch:
        batch.drop([action])
    assert len(batch) == 0


def test_without_a_database_there_is_no_transaction() -> None:
    with pytest.raises(NoTransaction, match="no database"):
        a_batch().transaction()


async def test_without_a_database_nothing_is_executed() -> None:
    with pytest.raises(NoTransaction, match="no database"):
        await a_batch().execute_each("anything", [])


async def test_execute_each_gets_the_chosen_actions_with_their_arguments() -> None:
    class Database:
        async def execute_each(self, *given: Any) -> list[Any]:
            asked.append(given)
            return []

    asked: list[Any] = []
    batch = a_batch(3, transactions=Database())
    await batch.execute_each("sql", lambda action: [action.id, "x"])
    await batch.execute_each("sql", ([n] for n in (7, 8)), batch[1:])
    assert asked == [
        (batch, "sql", [(batch[0], (1, "x")), (batch[1], (2, "x")), (batch[2], (3, "x"))]),
        (batch, "sql", [(batch[1], (7,)), (batch[2], (8,))]),
    ]
    with pytest.raises(NotInThisBatch):
        await batch.execute_each("sql", [()], [an_action(1)])


def test_a_transaction_gets_the_batch_and_the_chosen_actions() -> None:
    asked: list[Any] = []
    batch = a_batch(3, transactions=lambda *given: asked.append(given))
    batch.transaction()
    batch.transaction(batch[:1])
    assert [(each is batch, [action.id for action in actions]) for each, actions in asked] == [
        (True, [1, 2, 3]),
        (True, [1]),
    ]
    with pytest.raises(NotInThisBatch):
        batch.transaction([an_action(1)])
