"""Job results, and what they come to."""

from __future__ import annotations

from typing import Any

import pytest

from actiond import JobResult, job
from actiond.contract.job import outcome
from actiond.testing import run_batch
from actiond.words.outcome import SUDDEN_DEATH, Completed, Failed
from pure.build import an_action


@pytest.mark.parametrize(
    ("answer", "becomes"),
    [
        (JobResult.SUCCESS, Completed()),
        ((JobResult.SUCCESS, "12 rows"), Completed("12 rows")),
        (JobResult.COMPLETED, Completed(final=True)),
        ((JobResult.RETRY_LATER, "busy"), Failed("busy", after="600 s")),
        (JobResult.FAILED, Failed("the job answered FAILED", after="600 s")),
        ((JobResult.FATAL_ERROR, "gone"), Failed("gone", SUDDEN_DEATH)),
        ("SUCCESS", Completed()),
    ],
    ids=repr,
)
def test_what_a_job_answers_becomes(answer: Any, becomes: Completed | Failed) -> None:
    assert outcome(an_action(state='{"retry_every": "600 s"}'), answer) == becomes


@pytest.mark.parametrize("answer", [None, 7, "DONE", (1, 2, 3)], ids=repr)
def test_what_is_no_answer_is_a_failure_that_names_those_there_are(answer: Any) -> None:
    failed = outcome(an_action(), answer)
    assert isinstance(failed, Failed)
    assert "SUCCESS, COMPLETED, RETRY_LATER" in failed.error


async def test_a_job_handler_may_be_async_or_not() -> None:
    @job("a")
    async def in_loop(action: Any) -> JobResult:
        return JobResult.SUCCESS

    @job("b", retries=0)
    def in_thread(action: Any) -> tuple[JobResult, str]:
        return JobResult.RETRY_LATER, "busy"

    [first], [second] = await run_batch(in_loop, [{}]), await run_batch(in_thread, [{}])
    assert (first.kind, second.kind, second.error) == ("completed", "failed", "busy")
    assert (in_loop.policy.retries, in_loop.policy.retry_interval) == (4, 900.0)
