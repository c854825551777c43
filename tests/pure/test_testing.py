"""actiond.testing: an author's test sees what the daemon would write, without a database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from actiond import KEEP_ALIVE, Action, Batch, Failure, batch_processor, processor
from actiond.testing import run_batch


class Mail(BaseModel):
    to: str


@processor("mail", retries=2, retry_interval="1 min")
async def mail(action: Action[Mail]) -> str:
    if action.data.to == "nobody":
        raise ValueError("nobody is there")
    if action.data.to == "busy":
        raise Failure("busy", KEEP_ALIVE, after="5 s")
    return f"{action.data.to} {action.related} {action.attempt}"


@batch_processor("mails")
async def mails(batch: Batch[Mail]) -> None:
    for action in batch:
        action.defer("1 s", state={"seen": len(batch), "before": action.state, "url": batch.config.get("url")})


async def test_each_payload_has_its_outcome_in_order() -> None:
    sent, refused, failed, busy = await run_batch(mail, [{"to": "a"}, {"to": 7}, {"to": "nobody"}, {"to": "busy"}])
    assert (sent.kind, sent.result, sent.error) == ("completed", "a None 1", None)
    assert (refused.kind, refused.retry_in_s) == ("failed", None)
    assert "to: " in (refused.error or "")
    assert (failed.kind, failed.error, failed.retries_left) == ("retried", "ValueError: nobody is there", 1)
    assert failed.retry_in_s == 60.0
    assert (busy.kind, busy.retry_in_s, busy.retries_left) == ("retried", 5.0, None)


async def test_the_last_retry_is_the_last() -> None:
    (failed,) = await run_batch(mail, [{"to": "nobody"}], retries_left=0, attempt=3)
    assert (failed.kind, failed.retries_left) == ("failed", 0)


async def test_a_row_brings_what_it_would_bring() -> None:
    first, second = await run_batch(mail, [{"to": "a"}, {"to": "b"}], related=["order 7", None], attempt=2)
    assert (first.result, second.result) == ("a order 7 2", "b None 2")


async def test_a_batch_is_one_call_with_its_states_and_its_config() -> None:
    ended = await run_batch(mails, [{"to": "a"}, {"to": "b"}], states=[{"step": 1}, None], config={"url": "x"})
    assert [each.kind for each in ended] == ["deferred"] * 2
    assert [each.state for each in ended] == [
        {"seen": 2, "before": {"step": 1}, "url": "x"},
        {"seen": 2, "before": None, "url": "x"},
    ]


async def test_nothing_to_do_is_no_call() -> None:
    assert await run_batch(mails, []) == []
    assert await run_batch(mail, []) == []


async def test_a_handler_that_may_be_called_again_is_as_in_the_daemon() -> None:
    sizes: list[int] = []

    @batch_processor("sums", isolate=True, idempotent=True, dead_on=TypeError)
    async def sums(batch: Batch[Any]) -> None:
        sizes.append(len(batch))
        sum(action.data for action in batch)
        batch.complete()

    ended = await run_batch(sums, [1, 2, "three", 4])
    assert [each.kind for each in ended] == ["completed", "completed", "failed", "completed"]
    assert ended[2].error == "TypeError: unsupported operand type(s) for +: 'int' and 'str'"
    assert sizes == [4, 2, 2, 1, 1]


@pytest.mark.parametrize("executor", ["loop", "thread", "process"])
async def test_a_handler_runs_in_the_process_of_the_test_whatever_its_executor(executor: str) -> None:
    seen: list[int] = []

    @processor("counts", executor=executor)
    def counts(action: Action[int]) -> int:
        seen.append(action.data)
        return action.data * 2

    assert [each.result for each in await run_batch(counts, [1, 2])] == [2, 4]
    assert seen == [1, 2]


async def test_an_empty_config_is_a_config() -> None:
    @batch_processor("configured", config={"url": "declared"})
    async def configured(batch: Batch[Any]) -> None:
        batch[0].complete(dict(batch.config))

    assert (await run_batch(configured, [{}]))[0].result == {"url": "declared"}
    assert (await run_batch(configured, [{}], config={}))[0].result == {}


async def test_a_payload_that_is_no_json_is_the_mistake_of_the_test() -> None:
    with pytest.raises(TypeError):
        await run_batch(mail, [{"to": datetime(2026, 1, 1, tzinfo=UTC)}])
    with pytest.raises(ValueError, match="NUL"):  # jsonb could not hold it
        await run_batch(mail, [{"to": "\x00"}])


async def test_a_transaction_needs_a_database() -> None:
    @batch_processor("writes")
    async def writes(batch: Batch[Any]) -> None:
        async with batch.transaction():
            batch.complete()

    (failed,) = await run_batch(writes, [{}])
    assert failed.kind == "retried"
    assert "no database" in (failed.error or "")


async def test_a_deadline_around_it_is_kept() -> None:
    @processor("slow")
    async def slow(action: Action[Any]) -> None:
        await anyio.sleep_forever()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await run_batch(slow, [{}])
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.01):
            await run_batch(slow, [{}])
