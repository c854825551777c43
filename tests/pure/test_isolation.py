"""batch/isolation: a batch handler that raises is called again in halves; only who makes it raise is charged."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from actiond import KEEP_ALIVE, SUDDEN_DEATH, Batch, Failure, Processor, batch_processor
from actiond.batch import call as call_module
from actiond.batch.batch_run import Outcomes, run_rows
from actiond.batch.call import Call, Stop
from actiond.contract.action import Action
from actiond.rules.settlement import NO_OUTCOME
from actiond.testing import run_batch
from actiond.words import json_text
from actiond.words.errors import BatchClosed
from actiond.words.outcome import Canceled, Completed, Deferred, Failed, Outcome
from pure.build import a_row, a_scope
from pure.test_bisect import most_tries

Handler = Callable[[Batch[Any]], Any]


def isolating(handler: Handler, **says: Any) -> Processor:
    return batch_processor("mail", isolate=True, idempotent=True, **says)(handler)


def a_call(declared: Processor, timeout_s: float = 60.0, runaway: Callable[[Call], None] = lambda _: None) -> Call:
    return Call(declared.handler, declared.is_async, timeout_s, runaway)


async def run(declared: Processor, *payloads: Any, call: Call | None = None) -> Outcomes:
    """One batch of these payloads, ids from 1 on."""
    rows = [a_row(place, data=json_text.dumps(payload)) for place, payload in enumerate(payloads, 1)]
    return await run_rows(declared, {}, rows, a_scope(), call or a_call(declared), None)


def by_id(outcomes: Outcomes) -> dict[int, Outcome]:
    ids = [row.id for row, _ in outcomes.decided]
    assert len(set(ids)) == len(ids), "one outcome for each"
    return {row.id: outcome for row, outcome in outcomes.decided}


def completed(outcomes: Outcomes) -> set[int]:
    return {id_ for id_, outcome in by_id(outcomes).items() if isinstance(outcome, Completed)}


class Sums:
    """A handler that reads all before it marks any, and so cannot say which payload was bad."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def __call__(self, batch: Batch[Any]) -> None:
        self.sizes.append(len(batch))
        sum(int(action.data) for action in batch)
        batch.complete(batch)


@pytest.mark.parametrize("bad", [{0}, {511}, {77}, {3, 4, 100, 101, 300, 444, 511}], ids=len)
async def test_of_512_only_the_bad_ones_fail_each_with_its_own_error_in_few_calls(bad: set[int]) -> None:
    sums = Sums()
    payloads = [f"no. {place}" if place in bad else place for place in range(512)]
    ended = await run_batch(isolating(sums), payloads, retries_left=0)
    for place, each in enumerate(ended):
        if place in bad:
            assert (each.kind, each.error) == (
                "failed",
                f"ValueError: invalid literal for int() with base 10: 'no. {place}'",
            )
        else:
            assert each.kind == "completed"
    assert len(sums.sizes) <= most_tries(512, len(bad))
    assert sums.sizes[0] == 512


async def test_the_counts_are_kept_for_the_log() -> None:
    sums = Sums()
    outcomes = await run(isolating(sums), 1, "x", 3, 4)
    assert outcomes.isolated is not None
    assert len(sums.sizes) == 5
    assert outcomes.isolated.told(0.0123) == {
        "calls": 5,
        "culprits": 1,
        "undecided": 0,
        "took_s": 0.012,
        "error": "ValueError: invalid literal for int() with base 10: 'x'",
    }


async def test_a_handler_that_does_not_raise_is_called_once() -> None:
    sums = Sums()
    outcomes = await run(isolating(sums), 1, 2, 3)
    assert completed(outcomes) == {1, 2, 3}
    assert sums.sizes == [3]
    assert outcomes.isolated is None


@pytest.mark.parametrize("payloads", [["x"], []], ids=len)
async def test_one_action_or_none_is_not_halved(payloads: list[str]) -> None:
    sums = Sums()
    outcomes = await run(isolating(sums), *payloads)
    assert len(sums.sizes) == len(outcomes.decided) == len(payloads)
    assert outcomes.isolated is None


async def test_without_isolate_a_handler_that_raises_is_called_once() -> None:
    sums = Sums()
    outcomes = await run(batch_processor("mail")(sums), 1, "x", 3)
    assert completed(outcomes) == set()
    assert sums.sizes == [3]


async def test_marks_made_before_the_raise_are_kept_and_their_actions_not_asked_about_again() -> None:
    seen: list[list[int]] = []

    async def handler(batch: Batch[Any]) -> None:
        seen.append([action.id for action in batch])
        for action in batch:
            match action.data:
                case "bad":
                    raise ValueError(f"{action.id} is bad")
                case "unwanted":
                    action.cancel("nobody needs it")
                case "wrong":
                    action.fail("its own reason", SUDDEN_DEATH)
                case "early":
                    action.defer("1 h")
                case _:
                    action.complete(action.id)

    outcomes = by_id(await run(isolating(handler), "good", "unwanted", "wrong", "early", "bad", "good", "bad", "good"))
    assert isinstance(outcomes[5], Failed)
    assert isinstance(outcomes[7], Failed)
    assert [str(outcomes[id_].error) for id_ in (5, 7)] == ["5 is bad", "7 is bad"]  # type: ignore[union-attr]
    assert outcomes == {
        1: Completed(1),
        2: Canceled("nobody needs it"),
        3: Failed("its own reason", SUDDEN_DEATH),
        4: Deferred("1 h"),
        5: outcomes[5],
        6: Completed(6),
        7: outcomes[7],
        8: Completed(8),
    }
    assert seen == [[1, 2, 3, 4, 5, 6, 7, 8], [5, 6], [5], [6], [7, 8], [7], [8]]


async def test_the_last_one_left_is_not_guilty_before_it_raised_alone() -> None:
    async def handler(batch: Batch[Any]) -> None:
        if len(batch) > 1:
            batch[0].complete()
            raise ValueError("two are too many")
        batch.complete()

    assert completed(await run(isolating(handler), 1, 2)) == {1, 2}


async def test_what_the_handler_does_not_mark_in_a_call_that_ends_well_has_no_outcome() -> None:
    async def handler(batch: Batch[Any]) -> None:
        if any(action.data == "bad" for action in batch):
            raise ValueError
        batch.complete(batch[:1])

    outcomes = by_id(await run(isolating(handler), "bad", 2, 3, 4))
    assert [outcome for outcome in outcomes.values() if outcome is NO_OUTCOME] == [NO_OUTCOME]
    assert len(outcomes) == 4


async def test_a_failure_speaks_of_all_its_actions() -> None:
    calls = 0

    async def handler(batch: Batch[Any]) -> None:
        nonlocal calls
        calls += 1
        raise Failure("the other side is down", KEEP_ALIVE, after="1 min")

    outcomes = await run(isolating(handler), 1, 2, 3)
    assert set(map(str, by_id(outcomes).values())) == {str(Failed("the other side is down", KEEP_ALIVE, "1 min"))}
    assert calls == 1


async def test_a_failure_in_a_half_speaks_of_that_half() -> None:
    async def handler(batch: Batch[Any]) -> None:
        if any(action.data == "bad" for action in batch):
            raise ValueError
        raise Failure("not today", KEEP_ALIVE)

    outcomes = by_id(await run(isolating(handler), 1, 2, 3, "bad"))
    assert [outcomes[id_] for id_ in (1, 2, 3)] == [Failed("not today", KEEP_ALIVE)] * 3
    assert isinstance(outcomes[4], Failed)
    assert isinstance(outcomes[4].error, ValueError)


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), ExceptionGroup("g", [OSError()])]
)
@pytest.mark.parametrize("in_thread", [False, True], ids=["in_loop", "in_thread"])
async def test_whatever_escapes_is_isolated(error: BaseException, in_thread: bool) -> None:
    def plain(batch: Batch[Any]) -> None:
        if any(action.data == "bad" for action in batch):
            raise error
        batch.complete()

    async def handler(batch: Batch[Any]) -> None:
        plain(batch)

    outcomes = await run(isolating(plain if in_thread else handler), 1, "bad", 3)
    assert completed(outcomes) == {1, 3}
    assert by_id(outcomes)[2] == Failed(error)


async def test_the_error_of_the_culprit_costs_what_its_class_says() -> None:
    outcomes = by_id(await run(isolating(Sums(), dead_on=ValueError), 1, "x", 3))
    assert isinstance(outcomes[2], Failed)
    assert outcomes[2].behavior is SUDDEN_DEATH


async def test_each_call_gets_fresh_actions_and_what_the_last_one_kept_marks_nothing() -> None:
    kept: list[Action[Any]] = []
    said: list[str] = []

    async def handler(batch: Batch[Any]) -> None:
        for action in kept:
            try:
                action.fail("too late")
            except BatchClosed:
                said.append("closed")
        kept.extend(batch)
        assert all(action.data == {"n": 1} for action in batch)
        for action in batch:
            action.data["n"] = 2  # a payload spoiled by one call is as it was in the next
        if len(batch) > 1:
            raise ValueError
        batch.complete()

    assert completed(await run(isolating(handler), {"n": 1}, {"n": 1}, {"n": 1})) == {1, 2, 3}
    assert said
    assert set(said) == {"closed"}


async def test_handlers_that_are_not_async_are_called_again_in_threads() -> None:
    threads: list[bool] = []

    def handler(batch: Batch[Any]) -> None:
        threads.append(threading.current_thread() is threading.main_thread())
        sum(action.data for action in batch)
        batch.complete()

    assert completed(await run(isolating(handler), 1, "x", 3)) == {1, 3}
    assert len(threads) == 5
    assert not any(threads)


async def never() -> None: ...


async def test_a_coroutine_forgotten_by_the_call_of_the_culprit_is_not_held_against_the_others() -> None:
    async def handler(batch: Batch[Any]) -> None:
        if any(action.data == "bad" for action in batch):
            never()
            raise ValueError
        batch.complete()

    outcomes = await run(isolating(handler), 1, "bad", 3)
    assert completed(outcomes) == {1, 3}
    assert outcomes.ended is not None
    assert set(outcomes.ended.never_awaited) == {"never"}


async def test_a_completion_in_a_call_that_forgot_an_await_is_not_believed() -> None:
    async def handler(batch: Batch[Any]) -> None:
        if len(batch) > 1:
            raise ValueError
        if batch[0].data == "forgets":
            never()
        batch.complete()

    outcomes = await run(isolating(handler), 1, "forgets", 3)
    assert completed(outcomes) == {1, 3}
    assert by_id(outcomes)[2] == Failed("coroutine 'never' was never awaited: its work was not done")


class Moody(BaseModel):
    n: int
    seen: int = 0

    @field_validator("n")
    @classmethod
    def _moody(cls, n: int) -> int:
        _seen[n] = _seen.get(n, 0) + 1
        if n == 2 and _seen[n] > 1:
            raise ValueError("not again")
        return n


_seen: dict[int, int] = {}


async def test_a_payload_that_no_longer_fits_when_it_is_read_again_fails_alone() -> None:
    _seen.clear()

    async def handler(batch: Batch[Moody]) -> None:
        if len(batch) > 1:
            raise ValueError
        batch.complete()

    handler.__annotations__["batch"] = Batch[Moody]
    outcomes = await run(isolating(handler), {"n": 1}, {"n": 2}, {"n": 3}, {"n": "x"})
    assert completed(outcomes) == {1, 3}
    assert set(by_id(outcomes)) == {1, 2, 3, 4}


# When it has to end before everything is decided.


class Stuck:
    """Raises with the bad one; among the others, those that hang do."""

    def __init__(self, sizes: set[int]) -> None:
        self.hangs = asyncio.Event()
        self.sizes = sizes

    async def __call__(self, batch: Batch[Any]) -> None:
        if len(batch) in self.sizes:
            self.hangs.set()
            await asyncio.Event().wait()
        if any(action.data == "bad" for action in batch):
            raise ValueError("one is bad")
        batch.complete()


UNCLEAR = Failed(
    "it was not yet clear which action is to blame when the call had to end: ValueError: one is bad", KEEP_ALIVE
)


async def stopped(declared: Processor, stuck: Stuck, why: Stop, *payloads: Any) -> Outcomes:
    call = a_call(declared)
    running = asyncio.create_task(run(declared, *payloads, call=call))
    await stuck.hangs.wait()
    call.stop(why)
    return await running


async def test_what_was_decided_before_the_time_was_over_is_kept_and_the_rest_is_not_charged() -> None:
    stuck = Stuck({1})
    outcomes = await stopped(isolating(stuck), stuck, Stop.TIMEOUT, 1, 2, 3, 4, 5, "bad", 7, 8)
    assert completed(outcomes) == {1, 2, 3, 4}
    assert [outcome for id_, outcome in sorted(by_id(outcomes).items()) if id_ > 4] == [UNCLEAR] * 4
    assert outcomes.isolated is not None
    assert outcomes.isolated.undecided == 4


async def test_when_nothing_was_decided_in_time_all_are_charged_with_the_error_as_without_isolation() -> None:
    stuck = Stuck({1, 2})
    outcomes = by_id(await stopped(isolating(stuck, dead_on=ValueError), stuck, Stop.TIMEOUT, "bad", 2, 3, 4))
    for outcome in outcomes.values():
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, ValueError)
        assert outcome.behavior is SUDDEN_DEATH
    assert set(outcomes) == {1, 2, 3, 4}


async def test_a_first_call_that_takes_too_long_is_a_timeout_like_any_other() -> None:
    stuck = Stuck({2})
    outcomes = await stopped(isolating(stuck), stuck, Stop.TIMEOUT, 1, 2)
    assert all("timed out" in str(outcome) for outcome in by_id(outcomes).values())
    assert outcomes.isolated is None


async def test_the_timeout_is_for_all_calls_together_also_of_handlers_that_never_wait() -> None:
    calls = 0

    async def handler(batch: Batch[Any]) -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            asyncio.get_running_loop().call_soon(deadline.stop, Stop.TIMEOUT)  # as the timer, when the loop gets to it
        raise ValueError

    declared = isolating(handler)
    deadline = a_call(declared)
    await run(declared, *range(1000), call=deadline)
    assert calls == 4


async def test_a_daemon_that_stops_gives_the_rest_back() -> None:
    stuck = Stuck({1})
    outcomes = await stopped(isolating(stuck), stuck, Stop.DRAIN, 1, 2, "bad", 4)
    assert completed(outcomes) == {1, 2}
    assert {str(by_id(outcomes)[id_]) for id_ in (3, 4)} == {str(Failed(str(Stop.DRAIN), KEEP_ALIVE, "0 s"))}


async def test_a_daemon_that_lost_its_lease_writes_nothing() -> None:
    stuck = Stuck({1})
    outcomes = await stopped(isolating(stuck), stuck, Stop.CUT_OFF, 1, 2, "bad", 4)
    assert outcomes.decided == []
    assert {row.id for row in outcomes.dropped} == {1, 2, 3, 4}


async def test_marks_of_the_call_that_is_stopped_count() -> None:
    waits = asyncio.Event()

    async def handler(batch: Batch[Any]) -> None:
        if len(batch) > 2:
            raise ValueError("one is bad")
        batch[0].complete("in time")
        waits.set()
        await asyncio.Event().wait()

    declared = isolating(handler)
    call = a_call(declared)
    running = asyncio.create_task(run(declared, 1, 2, 3, 4, call=call))
    await waits.wait()
    call.stop(Stop.TIMEOUT)
    outcomes = by_id(await running)
    assert outcomes[1] == Completed("in time")
    assert [outcomes[id_] for id_ in (2, 3, 4)] == [UNCLEAR] * 3


async def test_what_a_handler_raises_because_it_is_stopped_is_no_culprit() -> None:
    waits = asyncio.Event()

    async def handler(batch: Batch[Any]) -> None:
        if len(batch) > 1:
            raise ValueError("one is bad")
        waits.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise KeyError from None

    declared = isolating(handler)
    call = a_call(declared)
    running = asyncio.create_task(run(declared, 1, 2, call=call))
    await waits.wait()
    call.stop(Stop.DRAIN)
    assert set(map(str, by_id(await running).values())) == {str(Failed(str(Stop.DRAIN), KEEP_ALIVE, "0 s"))}


@pytest.mark.parametrize("then", ["returns", "raises"])
async def test_a_handler_that_ends_when_it_is_stopped_is_not_called_again(then: str) -> None:
    calls, waits = 0, asyncio.Event()

    async def handler(batch: Batch[Any]) -> None:
        nonlocal calls
        calls += 1
        if len(batch) > 2:
            raise ValueError("one is bad")
        waits.set()
        if calls > 2:
            return
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if then == "raises":
                raise KeyError from None
            batch.complete()

    declared = isolating(handler)
    call = a_call(declared)
    running = asyncio.create_task(run(declared, 1, 2, 3, 4, call=call))
    await waits.wait()
    call.stop(Stop.DRAIN)
    outcomes = await running
    assert calls == 2
    assert completed(outcomes) == ({1, 2} if then == "returns" else set())
    assert len(by_id(outcomes)) == 4


async def test_a_call_that_ignores_its_end_is_charged_and_the_rest_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_module, "GRACE_S", 0.01)
    found, over, waits = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(batch: Batch[Any]) -> None:
        if any(action.data == "bad" for action in batch):
            raise ValueError("one is bad")
        if any(action.data == "ignores" for action in batch):
            waits.set()
            while not over.is_set():
                try:
                    await over.wait()
                except asyncio.CancelledError:
                    continue
        batch.complete()

    declared = isolating(handler)
    call = a_call(declared, runaway=lambda _: found.set())
    running = asyncio.create_task(run(declared, 1, 2, "ignores", 4, "bad", 6, 7, 8, call=call))
    await waits.wait()
    call.stop(Stop.TIMEOUT)
    await found.wait()
    seen: Outcomes = call.collect(call_module.Ended(1.0, stopped=Stop.TIMEOUT, runaway=True))
    over.set()
    await running
    outcomes = by_id(seen)
    assert "ignored that it was stopped" in str(outcomes[3])
    assert len(outcomes) == 8
    assert all("ignored" not in str(outcomes[id_]) for id_ in (5, 6, 7, 8))


async def test_a_stray_cancellation_ends_the_search() -> None:
    calls = 0

    async def handler(batch: Batch[Any]) -> None:
        nonlocal calls
        calls += 1
        raise ValueError("one is bad") if len(batch) > 2 else asyncio.CancelledError

    outcomes = by_id(await run(isolating(handler), 1, 2, 3, 4))
    assert calls == 2
    assert all(
        isinstance(each, Failed) and isinstance(each.error, asyncio.CancelledError) for each in outcomes.values()
    )
    assert set(outcomes) == {1, 2, 3, 4}
