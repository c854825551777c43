"""batch/batch_run: rows in, one outcome for each row out, whatever the handler does."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from pydantic import BaseModel, field_validator

from actiond import Action, Batch, Processor, batch_processor, processor
from actiond.batch.batch_run import Outcomes, run_rows
from actiond.batch.call import Call, Stop
from actiond.batch.run import BUCKETS, Run, bucket
from actiond.contract.action import Scope
from actiond.rules.settlement import NO_OUTCOME
from actiond.words.errors import BatchClosed
from actiond.words.outcome import (
    KEEP_ALIVE,
    SUDDEN_DEATH,
    Canceled,
    Completed,
    Deferred,
    Failed,
    Failure,
    Outcome,
)
from pure.build import a_row, a_scope


class Mail(BaseModel):
    to: str

    @field_validator("to")
    @classmethod
    def _moody(cls, to: str) -> str:
        if to == "broken":
            raise ZeroDivisionError("a validator of the author")
        return to


GOOD, BAD, BROKEN = '{"to": "a"}', '{"to": 7}', '{"to": "broken"}'


def a_call(declared: Processor, timeout_s: float = 60.0) -> Call:
    return Call(declared.handler, declared.is_async, timeout_s, lambda _: None)


async def run(
    declared: Processor, *data: str, scope: Scope | None = None, call: Call | None = None, timeout_s: float = 60.0
) -> Outcomes:
    """One call on rows with these payloads, ids from 1 on."""
    rows = [a_row(place, data=text) for place, text in enumerate(data or (GOOD,), 1)]
    call = call or a_call(declared, timeout_s)
    return await run_rows(declared, {"url": "x"}, rows, scope or a_scope(), call, None)


def by_id(outcomes: Outcomes) -> dict[int, Outcome]:
    assert len({row.id for row, _ in outcomes.decided}) == len(outcomes.decided)
    return {row.id: outcome for row, outcome in outcomes.decided}


def one(handler: Callable[[Action[Mail]], Any]) -> Processor:
    handler.__annotations__["action"] = Action[Mail]
    return processor("mail")(handler)


def many(handler: Callable[[Batch[Mail]], Any]) -> Processor:
    handler.__annotations__["batch"] = Batch[Mail]
    return batch_processor("mail")(handler)


# One action a call.


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (None, Completed(None)),
        ("text", Completed("text")),
        (0, Completed(0)),
        (False, Completed(False)),
        ([], Completed([])),
        (Completed(1), Completed(1)),
        (Failed("no", SUDDEN_DEATH), Failed("no", SUDDEN_DEATH)),
        (Deferred("1 s"), Deferred("1 s")),
        (Canceled("why"), Canceled("why")),
    ],
    ids=repr,
)
@pytest.mark.parametrize("in_thread", [False, True])
async def test_what_a_handler_returns_is_its_outcome(value: Any, outcome: Outcome, in_thread: bool) -> None:
    async def handler(action: Any) -> Any:
        return value

    assert by_id(await run(one((lambda action: value) if in_thread else handler))) == {1: outcome}


async def test_what_a_handler_raises_is_its_failure() -> None:
    error = ValueError("no")

    async def handler(action: Any) -> None:
        raise error

    assert by_id(await run(one(handler))) == {1: Failed(error)}


async def test_a_failure_says_what_it_costs() -> None:
    async def handler(action: Any) -> None:
        raise Failure("busy", KEEP_ALIVE, after="1 s")

    assert by_id(await run(one(handler))) == {1: Failed("busy", KEEP_ALIVE, "1 s")}


@pytest.mark.parametrize("then", ["returns", "raises", "returns another"])
async def test_a_mark_stands_whatever_comes_after_it(then: str) -> None:
    async def handler(action: Any) -> Any:
        action.cancel("not needed")
        if then == "raises":
            raise ValueError("no")
        return Completed(1) if then == "returns another" else None

    assert by_id(await run(one(handler))) == {1: Canceled("not needed")}


async def test_a_returned_mark_is_the_mark() -> None:
    async def handler(action: Any) -> Any:
        return action.defer("1 min", state={"a": 1})

    assert by_id(await run(one(handler))) == {1: Deferred("1 min", {"a": 1})}


# A batch a call.


async def test_every_row_has_the_outcome_that_the_handler_gave_it() -> None:
    async def handler(batch: Any) -> str:
        assert [action.data for action in batch] == [Mail(to="a")] * 5
        assert batch.config == {"url": "x"}
        batch[0].complete("done")
        batch[1].fail("no")
        batch[2].defer("1 s")
        batch[3].cancel()
        return "ignored"

    assert by_id(await run(many(handler), *[GOOD] * 5)) == {
        1: Completed("done"),
        2: Failed("no"),
        3: Deferred("1 s"),
        4: Canceled(),
        5: NO_OUTCOME,
    }


@pytest.mark.parametrize(
    ("raised", "failure"),
    [(Failure("busy", KEEP_ALIVE), Failed("busy", KEEP_ALIVE)), (KeyError("x"), None), (SystemExit(1), None)],
    ids=repr,
)
async def test_an_error_concerns_the_rows_that_were_not_marked(raised: BaseException, failure: Failed | None) -> None:
    async def handler(batch: Any) -> None:
        batch[0].complete()
        raise raised

    assert by_id(await run(many(handler), *[GOOD] * 3)) == {
        1: Completed(),
        2: failure or Failed(raised),
        3: failure or Failed(raised),
    }


async def test_a_batch_without_any_mark_has_failed() -> None:
    async def handler(batch: Any) -> None: ...

    assert by_id(await run(many(handler), GOOD, GOOD)) == {1: NO_OUTCOME, 2: NO_OUTCOME}


# Payloads.


async def test_a_payload_that_does_not_fit_fails_alone_and_for_good() -> None:
    seen = []

    async def handler(batch: Any) -> None:
        seen.extend(action.id for action in batch)
        batch.complete()

    outcomes = by_id(await run(many(handler), GOOD, BAD, GOOD, "{", BROKEN))
    assert seen == [1, 3]
    assert outcomes[1] == outcomes[3] == Completed()
    for place, said in ((2, "to: "), (4, "JSON"), (5, "a validator of the author")):
        failed = outcomes[place]
        assert isinstance(failed, Failed)
        assert failed.behavior is SUDDEN_DEATH
        assert said in str(failed.error)


async def test_when_no_payload_fits_there_is_no_call() -> None:
    async def handler(batch: Any) -> None:
        raise AssertionError("called")

    outcomes = await run(many(handler), BAD, BROKEN)
    assert outcomes.ended is None
    assert sorted(by_id(outcomes)) == [1, 2]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
async def test_a_validator_that_would_end_the_program_does_not(error: BaseException) -> None:
    class Deadly(BaseModel):
        to: str

        @field_validator("to")
        @classmethod
        def _deadly(cls, to: str) -> str:
            raise error

    @processor("mail")
    async def handler(action: Action[Deadly]) -> None: ...

    try:
        outcomes = await run(handler)
    except BaseException as escaped:
        pytest.fail(f"{escaped!r} escaped")
    assert by_id(outcomes)[1] == Failed(error, SUDDEN_DEATH)


# Being stopped.


async def waits(batch: Any) -> None:
    batch[0].complete("kept")
    await anyio.sleep_forever()


async def test_rows_that_were_not_marked_in_time_have_timed_out() -> None:
    outcomes = by_id(await run(many(waits), GOOD, GOOD, timeout_s=0.01))
    assert outcomes[1] == Completed("kept")
    failed = outcomes[2]
    assert isinstance(failed, Failed)
    assert failed.behavior == "ALLOW_RETRY"
    assert str(failed.error).startswith("timed out after ")


async def stopped(why: Stop) -> Outcomes:
    declared = many(waits)
    call = a_call(declared)
    asyncio.get_running_loop().call_soon(call.stop, why)
    return await run(declared, GOOD, GOOD, BAD, call=call)


async def test_rows_of_a_daemon_that_stops_come_back_at_once_uncharged() -> None:
    outcomes = by_id(await stopped(Stop.DRAIN))
    assert outcomes[1] == Completed("kept")
    assert outcomes[2] == Failed(str(Stop.DRAIN), KEEP_ALIVE, "0 s")


async def test_rows_of_a_daemon_that_lost_its_lease_are_dropped_marked_or_not() -> None:
    outcomes = await stopped(Stop.CUT_OFF)
    assert [row.id for row in outcomes.dropped] == [1, 2]


# What was never awaited; what comes too late.


async def forgotten() -> None: ...


async def test_a_completion_in_a_call_that_forgot_an_await_is_not_believed() -> None:
    async def handler(batch: Any) -> None:
        batch[0].complete()
        batch[1].fail("no")
        batch[2].defer("1 s")
        forgotten()

    outcomes = by_id(await run(many(handler), *[GOOD] * 3))
    assert outcomes[1] == Failed("coroutine 'forgotten' was never awaited: its work was not done")
    assert outcomes[2] == Failed("no")
    assert outcomes[3] == Deferred("1 s")


async def test_a_handler_that_returns_a_coroutine_has_not_done_its_work() -> None:
    outcomes = by_id(await run(one(lambda action: forgotten())))
    assert outcomes == {1: Failed("coroutine 'forgotten' was never awaited: its work was not done")}


async def test_after_the_call_nothing_can_be_marked() -> None:
    kept: list[Any] = []

    async def handler(batch: Any) -> None:
        kept.append(batch)
        batch.complete()

    scope = a_scope()
    await run(many(handler), scope=scope)
    assert scope.closed
    with pytest.raises(BatchClosed):
        kept[0].complete()


async def test_what_a_transaction_decided_is_not_decided_again() -> None:
    scope = a_scope()

    async def handler(batch: Any) -> None:
        scope.settled.add(1)

    outcomes = await run(many(handler), GOOD, GOOD, scope=scope)
    assert by_id(outcomes) == {2: NO_OUTCOME}
    assert outcomes.dropped == []


def test_handlers_of_these_tests_are_what_they_seem() -> None:
    assert inspect.iscoroutinefunction(many(waits).handler)


# The run in memory.


@pytest.mark.parametrize(
    ("amount_s", "place"),
    [(-1, 0), (0, 0), (0.0009, 0), (0.001, 1), (0.002, 2), (0.0039, 2), (0.004, 3), (1, 10), (1e9, BUCKETS - 1)],
)
def test_a_duration_has_its_bucket(amount_s: float, place: int) -> None:
    assert bucket(amount_s) == place


def test_a_run_counts_what_is_open_and_measures() -> None:
    made = Run.of(7, "mail", [a_row(1, waited_s=0.001), a_row(2, waited_s=0.001), a_row(3, waited_s=5.0)])
    assert made.open == 3
    made.ended(2, 0.0)
    made.ended(1, 0.002)
    assert made.open == 0
    closed = made.closed()
    assert (closed.id, closed.times) == (7, "{2,0,1}")
    assert closed.waits == "{0,2" + ",0" * 11 + ",1}"
    assert Run.of(8, "mail", []).closed().times == "{}"


def test_what_is_taken_from_a_run_is_seen_by_all_its_calls() -> None:
    made = Run.of(7, "mail", [a_row(1)])
    first, second = made.scope(), made.scope()
    made.withdrawn.add(1)
    assert first.withdrawn == second.withdrawn == {1}
    assert first.settled is not second.settled
